"""EEG of windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from eavdash.config import StudyConfig
from eavdash.data import eeg, electrodes
from eavdash.data.readers.base import Reader, Span, TrialRow


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
