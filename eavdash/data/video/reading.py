"""Frames of one trial by time.

In: a path of any video or still image that FFmpeg reads (``x.pkl#41``: one of EAV's published pickles, whose pictures
are already cropped to the face), and times in seconds from its first frame. Out: square frames, and the file's
properties. Delegated to decoding.py: the frames; to torch: antialiased resizing (within a grey level of Pillow's, in a
fifth of the time); to the caller's tracker: the square to crop. Only requested frames are converted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import av
import numpy as np

from eavdash.config.limits import SECONDS
from eavdash.data.recording import check_item, per_file, refuse_beyond, split_item, stamp
from eavdash.data.video.decoding import (
    END_TOLERANCE,
    SAME_TIME,
    is_still,
    key_frames,
    open_video,
    packet_times,
    shown_frames,
    truncated,
    usual_interval,
)
from eavdash.data.video.upright import display_of, upright
from eavdash.errors import RecordingError

#: Frames, or bytes of frames, given to a tracker as one batch, which halves the time of face detection.
BATCH_FRAMES = 16
BATCH_BYTES = 64_000_000
_FRAMES_ALONE = {"av1", "h264", "hevc", "m4v", "mjpeg", "mpegvideo", "vvc"}

Square = tuple[int, int, int]  # left, top, side in pixels


class CropTracker(Protocol):
    """Chooses the square to crop from each frame; :class:`eavdash.data.video.faces.Tracker` follows a face."""

    def steps(self, pictures: Sequence[np.ndarray], times: Sequence[float], /) -> list[Square]:
        """Return the squares of the next upright frames (height, width, 3) uint8, in order of ``times`` (seconds)."""


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video: ``duration`` in seconds (0 for a still image), mean rate, pixels, number of frames.

    ``width`` and ``height`` are those of square pixels, before the picture is turned.
    """

    duration: float
    frames_per_second: float
    width: int
    height: int
    frames: int

    @property
    def still(self) -> bool:
        """True for a single picture, which is shown at all times."""
        return self.duration == 0


@per_file(16384)
def video_info(path: str) -> VideoInfo:
    """Read duration and size from the file's packets: headers of real files are too often wrong. Nothing is decoded.

    Raises:
        RecordingError: it cannot be opened, has no picture, or ends more than half a second before the time in its
            header.
    """
    if holds_faces(path):
        return _pickle_info(path)
    shown = display_of(path)
    width, height = shown.width, shown.height
    with open_video(path) as (container, stream):
        if is_still(container):
            return VideoInfo(0.0, 0.0, width, height, 1)
        # A file of frames alone states no length: FFmpeg guesses one from the bit rate.
        guessed = container.format.name in _FRAMES_ALONE
        promised = float(stream.duration * stream.time_base) if stream.duration and not guessed else 0.0
        # Matroska states only the length of the whole file.
        whole = (container.duration or 0) / av.time_base if "matroska" in container.format.name else 0.0
        first, last, count = _extent(container, stream)
    if not count or last <= first:
        raise RecordingError.at(path, expected="a video", found="no frames", remedy="copy it again")
    refuse_beyond(path, "seconds", last - first, SECONDS)
    if promised > last - first + END_TOLERANCE:
        raise truncated(path, f"{promised:.2f} s as in its header", last - first)
    if whole > last + END_TOLERANCE and whole > _latest(path) + END_TOLERANCE:
        raise truncated(path, f"{whole:.2f} s as in its header", last)
    return VideoInfo(last - first, count / (last - first), width, height, count)


def read_frames(path: str, times: Sequence[float], size: int, tracker: CropTracker | None = None) -> np.ndarray:
    """Read the frames shown at ``times`` (seconds from the first frame, any order): (frame, size, size, 3) uint8 RGB.

    A frame is shown until the next one begins; times before the first frame give the first. The square chosen by
    ``tracker`` is cropped from each frame at full resolution and resized; without a tracker, and for pickled faces, the
    largest centred one. The tracker gets each requested frame once, in temporal order, with the first time requested
    for it. At most :data:`BATCH_FRAMES` frames, or :data:`BATCH_BYTES`, are in memory for it at a time; without it,
    one.

    Raises:
        RecordingError: the file cannot be decoded, or ends more than half a second before the last requested time.
    """
    stamp(path)
    frames = np.zeros((len(times), size, size, 3), dtype=np.uint8)
    order = sorted(range(len(times)), key=lambda n: times[n])
    if not order:
        return frames
    wanted = [times[n] for n in order]
    faces_already = holds_faces(path)
    follower = None if faces_already else tracker
    shown = (_pickled if faces_already else _upright)(path, wanted)
    for some in _batched(shown, BATCH_FRAMES if follower else 1):
        pictures = [picture for picture, _ in some]
        if follower is None:
            squares = [centre_square(picture) for picture in pictures]
        else:
            squares = follower.steps(pictures, [wanted[positions[0]] for _, positions in some])
        for (picture, positions), square in zip(some, squares, strict=True):
            frames[[order[position] for position in positions]] = crop(picture, square, size)
    return frames


def spread_pictures(path: str, count: int) -> Iterator[np.ndarray]:
    """Yield about ``count`` pictures spread over a video, (height, width, 3) uint8 RGB, upright; one for a still image.

    Cheaper than :func:`read_frames`: it uses key frames, if there are enough of them.

    Raises:
        RecordingError: the file cannot be decoded.
    """
    info, given = video_info(path), 0
    if not info.still:
        for frame in key_frames(path, count):
            given += 1
            yield upright(frame, display_of(path))
    if not given:
        middles = [0.0] if info.still else [(k + 0.5) / count * info.duration for k in range(count)]
        yield from (picture for picture, _ in _upright(path, middles))


def centre_square(rgb: np.ndarray) -> Square:
    """The largest centred square of a picture (height, width, 3)."""
    height, width = rgb.shape[:2]
    side = min(height, width)
    return (width - side) // 2, (height - side) // 2, side


def crop(rgb: np.ndarray, square: Square, size: int) -> np.ndarray:
    """Crop a square from a picture (height, width, 3) uint8 and resize it to (size, size, 3) uint8."""
    left, top, side = square
    return resized(rgb[top : top + side, left : left + side], size, size)


def resized(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a picture (any, any, 3) uint8, bilinear with antialiasing, to (height, width, 3) uint8."""
    import torch

    if rgb.shape[:2] == (height, width):
        return rgb
    if min(rgb.strides) < 0 or not rgb.flags.writeable:
        rgb = rgb.copy()  # torch accepts neither negative strides nor read-only arrays
    pixels = torch.from_numpy(rgb).permute(2, 0, 1)[None]  # (1, 3, height, width)
    small = torch.nn.functional.interpolate(pixels, size=(height, width), mode="bilinear", antialias=True)
    return np.asarray(small[0].permute(1, 2, 0).numpy())


def _latest(path: str) -> float:
    """The end (seconds) of the last packet of any stream."""
    with open_video(path) as (container, _):
        return max((begin + length for _, begin, length in packet_times(container)), default=0.0)


def _extent(container: Any, stream: Any) -> tuple[float, float, int]:
    """Time of the first frame, end of the last one (seconds), and the number of frames."""
    usual = usual_interval(stream)
    spans = [(begin, begin + (length or usual)) for _, begin, length in packet_times(container, stream)]
    first, last = min((s[0] for s in spans), default=0.0), max((s[1] for s in spans), default=0.0)
    return first, last, len(spans)


def _upright(path: str, times: list[float]) -> Iterator[tuple[np.ndarray, list[int]]]:
    """Each frame shown at some sorted times, (height, width, 3) uint8 RGB, with the indices of those times."""
    display = display_of(path)
    for frame, positions in shown_frames(path, times):
        yield upright(frame, display), positions


def _batched(shown: Iterator[tuple[np.ndarray, list[int]]], most: int) -> Iterator[list[tuple[np.ndarray, list[int]]]]:
    """Up to ``most`` pictures at a time, fewer if they are large."""
    some: list[tuple[np.ndarray, list[int]]] = []
    for item in shown:
        some.append(item)
        if len(some) >= most or sum(picture.nbytes for picture, _ in some) >= BATCH_BYTES:
            yield some
            some = []
    if some:
        yield some


def holds_faces(path: str) -> bool:
    """True if the pictures are already cropped to the face, as in EAV's published pickles."""
    file, number = split_item(path)
    return number is not None and file.lower().endswith(".pkl")


def _pickle_info(path: str) -> VideoInfo:
    from eavdash.data.formats import eav_pickle as eav_pickles

    file, number = split_item(path)
    check_item(path, number, eav_pickles.windows_in(file, "vis"), "window")
    count, height, width = eav_pickles.SHAPES["vis"][:3]
    return VideoInfo(count / eav_pickles.FRAMES_PER_SECOND, eav_pickles.FRAMES_PER_SECOND, width, height, count)


def _pickled(path: str, times: list[float]) -> Iterator[tuple[np.ndarray, list[int]]]:
    """Yield as :func:`_upright`, from a published pickle."""
    from eavdash.data.formats import eav_pickle as eav_pickles

    file, number = split_item(path)
    pictures, rate = eav_pickles.frames(file, number or 0), eav_pickles.FRAMES_PER_SECOND
    end = len(pictures) / rate
    if times[-1] > end + END_TOLERANCE:
        raise truncated(path, f"a frame at {times[-1]:.2f} s", end)
    for position, time in enumerate(times):
        yield pictures[min(max(int((time + SAME_TIME) * rate), 0), len(pictures) - 1)], [position]
