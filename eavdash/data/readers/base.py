"""What a modality must be able to do for its recordings to become the arrays of windows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from eavdash.config import StudyConfig

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


class Reader(ABC):
    """How one modality's recordings become windows."""

    modality: str
    dtype: Any

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
    def read(self, row: TrialRow, spans: list[Span]) -> tuple[np.ndarray, np.ndarray]:
        """Values (window, *shape) and mask (window, steps) of a trial's windows."""
