"""Spectrograms of windows, and what else encoders of sound hear."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from eavdash.config.schema import StudyConfig
from eavdash.data.audio import reading as audio
from eavdash.data.audio.front_ends import front_end
from eavdash.data.readers.base import Reader, Reading, Span, TrialRow
from eavdash.data.windows import tile

_WORKING = 96 * 2**20  # bytes: a block of samples during decoding and resampling, and a window's filter bank


class AudioReader(Reader):
    """Reader of sound through the configured encoder's front end: windows of (step, band)."""

    modality, dtype = "audio", np.float32

    def __init__(self, config: StudyConfig) -> None:
        super().__init__(config)
        self.front_end, self.channel = front_end(config.audio), config.audio.channel

    @property
    def settings(self) -> dict[str, Any]:
        return {**self.meta, "channel": self.channel}

    @property
    def meta(self) -> dict[str, Any]:
        return self.front_end.meta

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.steps, self.front_end.bands)

    @property
    def steps(self) -> int:
        return max(1, self.front_end.steps(self.window))

    def read(self, row: TrialRow, spans: list[Span]) -> Reading:
        front, rate = self.front_end, self.front_end.rate
        wave = front.of_trial(audio.read_audio(row.path, row.start, row.stop, rate, self.channel))
        values = np.full((len(spans), *self.shape), front.fill, dtype=self.dtype)
        mask = np.zeros((len(spans), self.steps), dtype=bool)
        for k, (begin, end) in enumerate(spans):
            made = front.values(wave[round(begin * rate) : round(end * rate)])[: self.steps]
            values[k, : len(made)], mask[k, : len(made)] = made, True
        return Reading(values, mask)

    def bytes_of(self, seconds: float) -> int:
        """The waveform, twice while its pieces are joined, and the windows made from it."""
        windows = len(tile(seconds, self.window)) * prod(self.shape) * np.dtype(self.dtype).itemsize
        return _WORKING + 2 * round(seconds * self.front_end.rate) * 4 + windows
