"""Frames of windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from eavdash.config import StudyConfig
from eavdash.data import video
from eavdash.data.readers.base import Reader, Span, TrialRow


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
