"""The face in a video, found now and then and followed in between, as a square to cut out.

In: upright frames of one trial in order of time. Out: a square per frame (:class:`Tracker`), or in how many of a few
looks a face was found (:func:`face_share`). Delegated to facenet-pytorch: MTCNN (Zhang et al. 2016,
https://doi.org/10.1109/LSP.2016.2603342), whose weights ship inside the package; it looks at a reduced picture.

The track is causal: a look goes into the crop from that frame on. Where no face is found, the last good crop stays;
before the first face, the crop is the largest centred square, exactly as with ``crop="centre"``. A face that is not
where the track was (another person, a false detection) must be seen at two looks in a row before the crop moves.

Against the published crop (the preset ``paper``: a look at every frame, no margin, no smoothing, the last crop where no
face is found): that one took MTCNN's box as it was, stretched it to 56 x 56 pixels and enlarged the result to 224; here
the box is made square, so that nobody's face changes shape, full-resolution pixels are resized to ``size`` at once, and
a face elsewhere is held back by one look.
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

#: Raise it when the same frames and settings give other squares than before: old caches are then not used.
VERSION = 1
_PACKAGE = "facenet-pytorch"
_WIDTH = 240  # pixels of the reduced picture's longer side
_SMALLEST = 24  # pixels of the smallest face in it: a tenth of the picture; MTCNN refuses narrower pictures
_SAME_FACE = 0.2  # overlap (intersection over union) from which two squares show one face
_TAKEOVER = 2.0  # times as heavy must a face elsewhere be to replace one that continues the track
_EARLY = 1e-3  # seconds: a look may come this much early, times are rounded


@dataclass(frozen=True)
class Face:
    """A detected face: centre and side (pixels) of the square around its box, and the detector's probability."""

    x: float
    y: float
    side: float
    probability: float

    @property
    def weight(self) -> float:
        """How much it counts among several faces in one picture."""
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
    """The faces in each of some upright pictures (height, width, 3) uint8, heaviest first, in the picture's own pixels.

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

    ``checked`` counts the looks, ``found`` those whose face the crop went by. ``detect`` stands in for
    :func:`find_faces` in tests.
    """

    def __init__(self, settings: VisionConfig, detect: Detector = find_faces) -> None:
        self.settings, self.detect = settings, detect
        self.checked = self.found = 0
        self._due = float("-inf")  # time of the next look
        self._face: Face | None = None  # as last seen
        self._rival: Face | None = None  # seen elsewhere at the last look
        self._smoothed = (0.0, 0.0, 0.0)  # smoothed centre and side
        self._shape: tuple[int, ...] = ()

    def step(self, rgb: np.ndarray, time: float) -> Square:
        """The square to cut out of the next frame (height, width, 3) uint8, upright, at ``time`` (seconds)."""
        return self.steps([rgb], [time])[0]

    def steps(self, pictures: Sequence[np.ndarray], times: Sequence[float]) -> list[Square]:
        """The squares of the next frames, which are looked at together; the same as one after the other.

        Raises:
            DataError: the detector's package is not installed.
        """
        due = [self._is_due(time) for time in times]
        looks = iter(self.detect([picture for picture, look in zip(pictures, due, strict=True) if look]))
        squares = []
        for picture, look in zip(pictures, due, strict=True):
            if picture.shape != self._shape:
                self._face, self._rival, self._shape = None, None, picture.shape
            if look:
                self._choose(next(looks))
            squares.append(self._square(picture))
        return squares

    def _is_due(self, time: float) -> bool:
        if time < self._due - _EARLY:
            return False
        self._due = time + self.settings.detect_every
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

    def _choose(self, faces: Sequence[Face]) -> None:
        """Take one look's faces into the track."""
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
        """Move to a face; without one, stay."""
        if face is None:
            return
        self.found += 1
        self._face, self._rival = face, None
        now = (face.x, face.y, face.side)
        x, y, side = (smoothing * old + (1 - smoothing) * new for old, new in zip(self._smoothed, now, strict=True))
        self._smoothed = x, y, side


def face_share(path: str, looks: int = 5) -> tuple[int, int]:
    """In how many of a few looks spread over a recording a face was found: (found, looked).

    Key frames are looked at where there are enough of them, other frames are then not decoded. A still image is looked
    at once, pictures that were cut out by others (published pickles) not at all.

    Raises:
        DataError: the detector's package is not installed.
        RecordingError: the recording cannot be read.
    """
    if video.holds_faces(path):
        return 0, 0
    found = find_faces(list(video.spread_pictures(path, looks)))
    return sum(map(bool, found)), len(found)


def available() -> bool:
    """Whether the detector's package is installed."""
    try:
        version(_PACKAGE)
    except PackageNotFoundError:
        return False
    return True


def detector_name() -> str:
    """Name and version of the detector, for the record of what arrays were made with.

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
    # Its layers draw initial weights before they load their own: training's random numbers must not notice.
    with torch.random.fork_rng(devices=[]):
        return MTCNN(keep_all=True, min_face_size=_SMALLEST, device=torch.device("cpu")).eval()


def _faces(boxes: Any, probabilities: Any, scale: float) -> list[Face]:
    """MTCNN's boxes (face, 4), None without one, in a picture reduced by ``scale``."""
    faces = []
    for box, probability in zip(boxes if boxes is not None else [], probabilities, strict=False):
        x0, y0, x1, y1 = (float(edge) / scale for edge in box)
        faces.append(Face((x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0), float(probability)))
    return sorted(faces, key=lambda face: (-face.weight, face.x, face.y))


def _missing() -> Exception:
    return DataError.at(
        "vision.crop=face",
        expected=f"the package {_PACKAGE}, which finds faces",
        found="that it is not installed",
        remedy=f"install it with `pip install {_PACKAGE}==2.5.3`, or use --set vision.crop=centre",
    )
