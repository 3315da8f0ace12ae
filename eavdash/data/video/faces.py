"""Face tracking: the square crop around the face in each frame of a video.

In: upright frames of one trial in temporal order. Out: a square per frame (:class:`Tracker`), or the share of a few
frames with a face (:func:`face_share`). Delegated to facenet-pytorch: MTCNN (Zhang et al. 2016,
https://doi.org/10.1109/LSP.2016.2603342), whose weights ship with the package; it is applied to a downscaled picture.

Tracking is causal: a detection affects the crop from that frame on. If no face is found, the last good crop is kept;
before the first face, the crop is the largest centred square, exactly as with ``crop="centre"``. A face away from the
track (another person, a false detection) must be detected twice in a row before the crop moves.

Differences from the published crop (the preset ``paper``: detection in every frame, no margin, no smoothing, the last
crop if no face is found): the published code took MTCNN's box unchanged, scaled it to 56 x 56 pixels and enlarged the
result to 224; here the box is made square, which preserves the face's aspect ratio, full-resolution pixels are resized
directly to ``size``, and a face elsewhere is accepted only at its second detection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from eavdash.config.schema import VisionConfig
from eavdash.data.video import reading as video
from eavdash.data.video.reading import Square, centre_square, resized
from eavdash.errors import DataError

#: Increment it when the same frames and settings give different squares: old caches are then not used.
VERSION = 1
_PACKAGE = "facenet-pytorch"
_WIDTH = 240  # pixels of the downscaled picture's longer side
_SMALLEST = 24  # pixels of the smallest face in it: a tenth of the picture; MTCNN rejects narrower pictures
_SAME_FACE = 0.2  # minimum overlap (intersection over union) of two squares of the same face
_TAKEOVER = 2.0  # factor by which a face elsewhere must outweigh one that continues the track to replace it
_EARLY = 1e-3  # seconds by which a detection may be early, as times are rounded


@dataclass(frozen=True)
class Face:
    """A detected face: centre and side (pixels) of the square around its box, and the detector's probability."""

    x: float
    y: float
    side: float
    probability: float

    @property
    def weight(self) -> float:
        """Its weight among several faces in one picture."""
        return self.side * self.probability

    def overlap(self, other: Face) -> float:
        """Intersection over union of the two squares, 0 to 1."""
        reach = (self.side + other.side) / 2
        across, down = (
            min(max(reach - abs(a - b), 0.0), self.side, other.side) for a, b in ((self.x, other.x), (self.y, other.y))
        )
        common = across * down
        return common / (self.side**2 + other.side**2 - common)


#: Faces in each of some pictures.
Detector = Callable[[Sequence[np.ndarray]], Sequence[Sequence[Face]]]


def find_faces(pictures: Sequence[np.ndarray]) -> list[list[Face]]:
    """Detect the faces in upright pictures (height, width, 3) uint8; per picture, heaviest first, in its own pixels.

    Raises:
        DataError: the detector's package is not installed.
    """
    import torch

    detector = _detector()
    if len({picture.shape for picture in pictures}) > 1:
        return [found for picture in pictures for found in find_faces([picture])]
    if not pictures:
        return []
    height, width = pictures[0].shape[:2]
    scale = min(1.0, _WIDTH / max(height, width))
    low, narrow = max(1, round(scale * height)), max(1, round(scale * width))
    if min(low, narrow) < _SMALLEST:
        return [[] for _ in pictures]
    with torch.inference_mode():
        boxes, probabilities = detector.detect(np.stack([resized(picture, low, narrow) for picture in pictures]))
    return [_faces(*found, scale) for found in zip(boxes, probabilities, strict=True)]


class Tracker:
    """Follows one face through one trial; a new trial needs a new tracker.

    ``checked`` counts the frames searched, ``found`` those whose face was used for the crop. ``detect`` replaces
    :func:`find_faces` in tests.
    """

    def __init__(self, settings: VisionConfig, detect: Detector = find_faces) -> None:
        self.settings, self.detect = settings, detect
        self.checked = self.found = 0
        self._next_check = float("-inf")  # time of the next detection
        self._face: Face | None = None  # last detection
        self._rival: Face | None = None  # face elsewhere in the last detection
        self._smoothed = (0.0, 0.0, 0.0)  # smoothed centre and side
        self._shape: tuple[int, ...] = ()

    def steps(self, pictures: Sequence[np.ndarray], times: Sequence[float]) -> list[Square]:
        """Return the squares to crop from the next frames (height, width, 3) uint8, upright, at ``times`` (seconds).

        They are detected as a batch; the result is the same as frame by frame.

        Raises:
            DataError: the detector's package is not installed.
        """
        due = [self._needs_check(time) for time in times]
        checks = iter(self.detect([picture for picture, check in zip(pictures, due, strict=True) if check]))
        squares = []
        for picture, check in zip(pictures, due, strict=True):
            if picture.shape != self._shape:
                self._face, self._rival, self._shape = None, None, picture.shape
            if check:
                self._update(next(checks))
            squares.append(self._square(picture))
        return squares

    def _needs_check(self, time: float) -> bool:
        if time < self._next_check - _EARLY:
            return False
        self._next_check = time + self.settings.detect_every
        return True

    def _square(self, rgb: np.ndarray) -> Square:
        if self._face is None:
            return centre_square(rgb)
        height, width = rgb.shape[:2]
        x, y, side = self._smoothed
        whole = max(1, min(round(side * (1 + 2 * self.settings.margin)), height, width))
        left = min(max(round(x - whole / 2), 0), width - whole)
        top = min(max(round(y - whole / 2), 0), height - whole)
        return left, top, whole

    def _update(self, faces: Sequence[Face]) -> None:
        """Update the track with one detection's faces."""
        self.checked += 1
        before = self._face
        if before is None:
            self._follow(max(faces, key=lambda face: face.weight, default=None), smoothing=0.0)
            return
        same = [face for face in faces if face.overlap(before) >= _SAME_FACE]
        here = max(same, key=lambda face: face.overlap(before), default=None)
        others = [face for face in faces if here is None or face.weight >= _TAKEOVER * here.weight]
        rival = max((face for face in others if face not in same), key=lambda face: face.weight, default=None)
        if rival is not None and self._rival is not None and rival.overlap(self._rival) >= _SAME_FACE:
            self._follow(rival, smoothing=0.0)
        else:
            self._follow(here, self.settings.smoothing)
            self._rival = rival

    def _follow(self, face: Face | None, smoothing: float) -> None:
        """Move to a face; without one, keep the crop."""
        if face is None:
            return
        self.found += 1
        self._face, self._rival = face, None
        now = (face.x, face.y, face.side)
        x, y, side = (smoothing * old + (1 - smoothing) * new for old, new in zip(self._smoothed, now, strict=True))
        self._smoothed = x, y, side


def face_share(path: str, checks: int = 5) -> tuple[int, int]:
    """Count the faces in a few frames spread over a recording: (frames with a face, frames checked).

    Key frames are used if there are enough of them, as other frames need not be decoded then. A still image is checked
    once, pictures that are already cropped (published pickles) not at all.

    Raises:
        DataError: the detector's package is not installed.
        RecordingError: the recording cannot be read.
    """
    if video.holds_faces(path):
        return 0, 0
    found = find_faces(list(video.spread_pictures(path, checks)))
    return sum(map(bool, found)), len(found)


def detector_name() -> str:
    """Name and version of the detector, as part of the arrays' provenance.

    Raises:
        DataError: its package is not installed.
    """
    try:
        return f"MTCNN, {_PACKAGE} {version(_PACKAGE)}"
    except PackageNotFoundError as error:
        raise _missing() from error


@lru_cache(maxsize=1)
def _detector() -> Any:
    """The one detector of this process."""
    import torch

    try:
        from facenet_pytorch.models.mtcnn import MTCNN
    except ImportError as error:
        raise _missing() from error
    # Its layers draw initial weights before loading their own, which must not affect training's random numbers.
    with torch.random.fork_rng(devices=[]):
        return MTCNN(keep_all=True, min_face_size=_SMALLEST, device=torch.device("cpu")).eval()


def _faces(boxes: Any, probabilities: Any, scale: float) -> list[Face]:
    """Convert MTCNN's boxes (face, 4), None without a face, of a picture downscaled by ``scale``."""
    faces = []
    for box, probability in zip(boxes if boxes is not None else [], probabilities, strict=False):
        x0, y0, x1, y1 = (float(edge) / scale for edge in box)
        faces.append(Face((x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0), float(probability)))
    return sorted(faces, key=lambda face: (-face.weight, face.x, face.y))


def _missing() -> Exception:
    return DataError.at(
        "vision.crop=face",
        expected=f"the package {_PACKAGE} for face detection",
        found="that it is not installed",
        remedy=f"install it with `pip install {_PACKAGE}==2.5.3`, or use --set vision.crop=centre",
    )
