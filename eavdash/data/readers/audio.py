"""Spectrograms of windows."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from eavdash.config.schema import StudyConfig
from eavdash.data.audio import reading as audio
from eavdash.data.readers.base import Reader, Reading, Span, TrialRow
from eavdash.data.windows import tile

_WORKING = 96 * 2**20  # bytes: a block of samples during decoding and resampling, and a window's filter bank


class AudioReader(Reader):
    """The log-mel spectrogram of each window."""

    modality, dtype = "audio", np.float32

    def __init__(self, config: StudyConfig) -> None:
        super().__init__(config)
        self.rate, self.mels, self.channel = config.audio.rate, config.audio.mels, config.audio.channel

    @property
    def settings(self) -> dict[str, Any]:
        return {**self.meta, "channel": self.channel}

    @property
    def meta(self) -> dict[str, Any]:
        return {"rate": self.rate, "mels": self.mels}

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.steps, self.mels)

    @property
    def steps(self) -> int:
        return max(1, audio.frames_of(self.window, self.rate))

    def read(self, row: TrialRow, spans: list[Span]) -> Reading:
        wave = audio.read_audio(row.path, row.start, row.stop, self.rate, self.channel)
        values = np.full((len(spans), *self.shape), audio.SILENCE, dtype=self.dtype)
        mask = np.zeros((len(spans), self.steps), dtype=bool)
        for k, (begin, end) in enumerate(spans):
            energies = audio.logmel(wave[round(begin * self.rate) : round(end * self.rate)], self.rate, self.mels)
            energies = energies[: self.steps]
            values[k, : len(energies)], mask[k, : len(energies)] = energies, True
        return Reading(values, mask)

    def bytes_of(self, seconds: float) -> int:
        """The waveform, twice while its pieces are joined, and the windows made from it."""
        windows = len(tile(seconds, self.window)) * prod(self.shape) * np.dtype(self.dtype).itemsize
        return _WORKING + 2 * round(seconds * self.rate) * 4 + windows
