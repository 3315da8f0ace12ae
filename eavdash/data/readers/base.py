"""What a modality must be able to do for its recordings to become the arrays of windows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from math import ceil, prod
from typing import Any

import numpy as np

from eavdash.config.schema import StudyConfig

Span = tuple[float, float]


@dataclass(frozen=True)
class TrialRow:
    """One trial in one modality; start and stop in seconds, None for the file's own."""

    subject: str
    trial: str
    group: str
    label: str
    path: str
    start: float | None
    stop: float | None


@dataclass(frozen=True)
class Reading:
    """What one trial gave: ``values`` (window, *shape), ``mask`` (window, steps) bool, and ``facts`` about it.

    Facts, JSON-ready, are what the arrays can no longer tell: in how many frames a face was found, which channels were
    interpolated. They end up in the window set's ``meta["facts"]``.
    """

    values: np.ndarray
    mask: np.ndarray
    facts: dict[str, Any] = field(default_factory=dict)


class Reader(ABC):
    """How one modality's recordings become windows.

    A reader is picklable and remembers nothing from one trial to the next: trials are read in any order, in several
    processes at once. What it gives depends on the file's content, the trial's stretch and number, and
    :attr:`settings`; not on names, labels or paths, which are no part of a window set's key.
    """

    modality: str
    dtype: Any
    #: Threads that the reading of one trial may use, where several processes do not fit into memory.
    threads: int = 1

    def __init__(self, config: StudyConfig) -> None:
        self.window = config.window

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What of the configuration the arrays depend on, JSON-ready."""

    def prepare(self, rows: list[TrialRow]) -> None:
        """Look at all recordings' headers before the first is read."""
        return

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one window's values."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """Length of one window's mask."""

    @property
    @abstractmethod
    def meta(self) -> dict[str, Any]:
        """What the axes are."""

    @abstractmethod
    def read(self, row: TrialRow, spans: list[Span]) -> Reading:
        """The windows of one trial at ``spans`` (seconds from the trial's start), in their order."""

    def bytes_of(self, seconds: float) -> int:
        """Memory (bytes) that reading a trial of ``seconds`` takes at its peak, beyond the libraries themselves.

        The number of trials that are read at once follows from it. A modality whose recordings are larger than their
        windows says so by overriding it.
        """
        windows = max(1, ceil(seconds / self.window))
        return 6 * windows * (prod(self.shape) * np.dtype(self.dtype).itemsize + self.steps)
