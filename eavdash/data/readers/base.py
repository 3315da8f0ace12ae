"""The interface of the readers, one per modality."""

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
    """The windows of one trial: ``values`` (window, *shape), ``mask`` (window, steps) bool, and ``facts`` about it.

    Facts, JSON-ready, are what the arrays do not contain: in how many frames a face was found, which channels were
    interpolated. They are stored in the window set's ``meta["facts"]``.
    """

    values: np.ndarray
    mask: np.ndarray
    facts: dict[str, Any] = field(default_factory=dict)


class Reader(ABC):
    """Reads the recordings of one modality into windows.

    A reader keeps no state between trials: trials are read in any order, in several processes at once. Another process
    makes the same reader from :attr:`study` and :attr:`channels`.
    Its output depends on the file's content, the trial's segment and item number, and :attr:`settings`; not on names,
    labels or paths, which are not part of a window set's key.
    """

    modality: str
    dtype: type[np.generic]
    #: Threads for reading one trial, used if several processes do not fit into memory.
    threads: int = 1
    #: The names of the channels to read, chosen by :meth:`prepare`.
    channels: tuple[str, ...] = ()

    def __init__(self, config: StudyConfig) -> None:
        self.study = config
        self.window = config.window

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The settings that the arrays depend on, JSON-ready."""

    def prepare(self, rows: list[TrialRow]) -> None:
        """Read all recordings' headers before the first recording is read."""
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
        """The description of the axes."""

    @abstractmethod
    def read(self, row: TrialRow, spans: list[Span]) -> Reading:
        """Read the windows of one trial at ``spans`` (seconds from the trial's start), in their order."""

    def bytes_of(self, seconds: float) -> int:
        """Peak memory (bytes) for reading a trial of ``seconds``, without the libraries themselves.

        It limits the number of trials read at once. A modality whose recordings are larger than their windows overrides
        it.
        """
        windows = max(1, ceil(seconds / self.window))
        return 6 * windows * (prod(self.shape) * np.dtype(self.dtype).itemsize + self.steps)
