"""Frames of windows: the face, or the centre of the frame."""

from __future__ import annotations

from math import ceil, prod
from typing import Any

import numpy as np

from eavdash.config.schema import StudyConfig
from eavdash.data.readers.base import Reader, Reading, Span, TrialRow
from eavdash.data.video import faces
from eavdash.data.video import reading as video

_DETECTOR = 110_000_000  # bytes, while running
_DECODED = 60  # frames held by FFmpeg at once, of 1.5 bytes per pixel


class VisionReader(Reader):
    """Frames at fixed offsets from each window's start, cropped as configured.

    Facts of a trial read with ``crop="face"``: ``looked`` and ``found``, how often a face was searched for and found.
    """

    modality, dtype = "vision", np.uint8

    def __init__(self, config: StudyConfig) -> None:
        super().__init__(config)
        self.vision = config.vision
        self.rate, self.size = config.vision.frames_per_second, config.vision.size
        self.pixels = 640 * 480  # of the largest frame, known after prepare()

    @property
    def meta(self) -> dict[str, Any]:
        return {"frames_per_second": self.rate, "size": self.size, "crop": self.vision.crop}

    @property
    def settings(self) -> dict[str, Any]:
        if self.vision.crop != "face":
            return self.meta
        return {
            **self.meta,
            "margin": self.vision.margin,
            "detect_every": self.vision.detect_every,
            "smoothing": self.vision.smoothing,
            "detector": faces.detector_name(),
            "tracker": faces.VERSION,
        }

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.steps, self.size, self.size, 3)

    @property
    def steps(self) -> int:
        return max(1, round(self.window * self.rate))

    def prepare(self, rows: list[TrialRow]) -> None:
        infos = [video.video_info(row.path) for row in rows]
        self.pixels = max(info.width * info.height for info in infos)

    def bytes_of(self, seconds: float) -> int:
        """The windows, three times; frames during decoding and face detection; the detector."""
        windows = 3 * max(1, ceil(seconds / self.window)) * prod(self.shape)
        together = min(video.BATCH_FRAMES * 3 * self.pixels, video.BATCH_BYTES + 3 * self.pixels)
        looking = _DETECTOR + together if self.vision.crop == "face" else 3 * self.pixels
        return windows + int(_DECODED * 1.5 * self.pixels) + looking

    def read(self, row: TrialRow, spans: list[Span]) -> Reading:
        first = np.array([begin for begin, _ in spans])[:, None]
        length = np.array([end - begin for begin, end in spans])[:, None]
        offsets = (np.arange(self.steps) + 0.5) / self.rate
        times, mask = first + offsets, offsets < length
        # A window that ends before its first frame's time is read at its middle, so that none is without a frame.
        blind = ~mask.any(axis=1)
        times[blind, 0], mask[blind, 0] = (first + length / 2)[blind, 0], True
        tracker = faces.Tracker(self.vision) if self.vision.crop == "face" else None
        values = np.zeros((len(spans), *self.shape), dtype=self.dtype)
        wanted = [(row.start or 0.0) + t for t in times[mask]]
        values[mask] = video.read_frames(row.path, wanted, self.size, tracker)
        checked = tracker.checked if tracker is not None else 0
        return Reading(values, mask, {"found": tracker.found, "looked": checked} if tracker and checked else {})
