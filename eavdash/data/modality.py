"""How each modality's recordings become the arrays of windows.

In: one trial's file and the windows' spans; the settings of the modality. Out: values and mask of those windows, in the
shapes of :class:`~eavdash.data.windows.WindowSet`. Padding is zero for frames and EEG, and silence for spectrograms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from eavdash.config import StudyConfig
from eavdash.data import audio, eeg, electrodes, video

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


class VisionReader(Reader):
    """Frames at fixed offsets from each window's start."""

    modality, dtype = "vision", np.uint8

    def __init__(self, config: StudyConfig) -> None:
        super().__init__(config)
        self.rate, self.size = config.vision.frames_per_second, config.vision.size
        self.offsets = (np.arange(max(1, round(self.window * self.rate))) + 0.5) / self.rate

    @property
    def settings(self) -> dict[str, Any]:
        return {"frames_per_second": self.rate, "size": self.size}

    meta = settings

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.offsets), self.size, self.size, 3)

    @property
    def steps(self) -> int:
        return len(self.offsets)

    def read(self, row: TrialRow, spans: list[Span]) -> tuple[np.ndarray, np.ndarray]:
        first = np.array([begin for begin, _ in spans])[:, None]
        length = np.array([end - begin for begin, end in spans])[:, None]
        times, mask = first + self.offsets, self.offsets < length
        # A stretch that ends before its first frame's time is seen in its middle: no window is without a frame.
        blind = ~mask.any(axis=1)
        times[blind, 0], mask[blind, 0] = (first + length / 2)[blind, 0], True
        values = np.zeros((len(spans), *self.shape), dtype=self.dtype)
        values[mask] = video.read_frames(row.path, [(row.start or 0.0) + t for t in times[mask]], self.size)
        return values, mask


class AudioReader(Reader):
    """The log-mel spectrogram of each window."""

    modality, dtype = "audio", np.float32

    def __init__(self, config: StudyConfig) -> None:
        super().__init__(config)
        self.rate, self.mels = config.audio.rate, config.audio.mels

    @property
    def settings(self) -> dict[str, Any]:
        return {"rate": self.rate, "mels": self.mels}

    meta = settings

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.steps, self.mels)

    @property
    def steps(self) -> int:
        return max(1, audio.frames_of(self.window, self.rate))

    def read(self, row: TrialRow, spans: list[Span]) -> tuple[np.ndarray, np.ndarray]:
        wave = audio.read_audio(row.path, row.start, row.stop, self.rate)
        values = np.full((len(spans), *self.shape), audio.SILENCE, dtype=self.dtype)
        mask = np.zeros((len(spans), self.steps), dtype=bool)
        for k, (begin, end) in enumerate(spans):
            energies = audio.logmel(wave[round(begin * self.rate) : round(end * self.rate)], self.rate, self.mels)
            energies = energies[: self.steps]
            values[k, : len(energies)], mask[k, : len(energies)] = energies, True
        return values, mask


class EegReader(Reader):
    """The trial's filtered EEG, cut into windows."""

    modality, dtype = "eeg", np.float32

    def __init__(self, config: StudyConfig) -> None:
        super().__init__(config)
        self.config = config.eeg
        self.channels: tuple[str, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        wanted = [electrodes.canonical(name) for name in self.config.channels]
        return {"rate": self.config.rate, "low": self.config.low, "high": self.config.high, "channels": wanted}

    def prepare(self, rows: list[TrialRow]) -> None:
        self.channels = eeg.common_channels([row.path for row in rows], self.config.channels)

    @property
    def meta(self) -> dict[str, Any]:
        return {"channels": list(self.channels), "rate": self.config.rate}

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.channels), self.steps)

    @property
    def steps(self) -> int:
        return max(1, round(self.window * self.config.rate))

    def read(self, row: TrialRow, spans: list[Span]) -> tuple[np.ndarray, np.ndarray]:
        signal = eeg.prepare_eeg(eeg.read_eeg(row.path, row.start, row.stop).pick(self.channels), self.config)
        values = np.zeros((len(spans), *self.shape), dtype=self.dtype)
        mask = np.zeros((len(spans), self.steps), dtype=bool)
        for k, (begin, end) in enumerate(spans):
            part = signal.data[:, round(begin * signal.rate) : round(end * signal.rate)][:, : self.steps]
            values[k, :, : part.shape[1]], mask[k, : part.shape[1]] = part, True
        return values, mask


READERS: dict[str, type[Reader]] = {"vision": VisionReader, "audio": AudioReader, "eeg": EegReader}
