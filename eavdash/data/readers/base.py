"""The interface of the readers, one per modality."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from math import ceil, prod
from typing import Any

import numpy as np

from eavdash.config.limits import WINDOW_BYTES
from eavdash.config.schema import StudyConfig
from eavdash.errors import ConfigError
from eavdash.text import size

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
    #: How the length of a recording is counted, where that is a setting; part of the name of a remembered length.
    counting: str = ""
    #: The names of the channels (or columns) to read, chosen by :meth:`prepare`.
    channels: tuple[str, ...] = ()
    #: True if a trial may have windows without any data, as long as one of them has some.
    gaps: bool = False

    def __init__(self, config: StudyConfig) -> None:
        self.study = config
        self.window = config.window

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The settings that the arrays depend on, JSON-ready."""

    def beside(self, path: str) -> str:
        """Text of what the arrays depend on beside the recording's own files and :attr:`settings`; "": nothing."""
        return ""

    def prepare(self, rows: list[TrialRow]) -> None:
        """Read all recordings' headers before the first recording is read."""
        return

    def check_size(self) -> None:
        """Check the size of one window's values, before any is made.

        Raises:
            ConfigError: it exceeds :data:`~eavdash.config.limits.WINDOW_BYTES`.
        """
        # EEG and tables have no channels before prepare().
        shape = tuple(max(1, length) for length in self.shape)
        if (found := prod(shape) * np.dtype(self.dtype).itemsize) > WINDOW_BYTES:
            what = f"{size(found)} of {self.modality}: {' x '.join(f'{length:,}' for length in shape)} numbers"
            remedy = f"set a shorter window, or smaller sizes and rates under {self.modality}"
            raise ConfigError.at("window", expected=f"at most {size(WINDOW_BYTES)}", found=what, remedy=remedy)

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
