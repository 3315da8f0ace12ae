"""Places in a video's frame from which the pictures of an encoder were cropped.

In: a video, times and the settings of vision. Out: a box per picture. The frames are read and the face is followed as
when the windows were made (reading.py, faces.py), so the boxes are those of the windows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eavdash.config.schema import VisionConfig
from eavdash.data.video import faces, reading


def crop_boxes(path: str, times: Sequence[float], vision: VisionConfig) -> np.ndarray:
    """Return the box of the picture shown at each time (seconds of the file): (picture, 4) float64.

    Left, top, right and bottom are fractions of the upright frame's width and height; pictures that were cropped before
    (published pickles) are whole: 0, 0, 1, 1. Give all times of a trial: the face is followed from the first on.

    Raises:
        RecordingError: the file cannot be decoded.
    """
    recorder = _Recorder(faces.Tracker(vision) if vision.crop == "face" else None)
    reading.read_frames(path, times, 1, recorder)
    if not recorder.boxes:
        return np.tile([0.0, 0.0, 1.0, 1.0], (len(times), 1))
    return np.array(recorder.boxes)[np.searchsorted(recorder.times, times, side="right") - 1]


class _Recorder:
    """Passes on the squares of a tracker, or the central ones, and keeps them."""

    def __init__(self, tracker: faces.Tracker | None) -> None:
        self.tracker = tracker
        self.times: list[float] = []
        self.boxes: list[tuple[float, ...]] = []

    def steps(self, pictures: Sequence[np.ndarray], times: Sequence[float]) -> list[reading.Square]:
        squares = (
            self.tracker.steps(pictures, times) if self.tracker else [reading.centre_square(each) for each in pictures]
        )
        for picture, (left, top, side) in zip(pictures, squares, strict=True):
            height, width = picture.shape[:2]
            self.boxes.append((left / width, top / height, (left + side) / width, (top + side) / height))
        self.times.extend(times)
        return squares
