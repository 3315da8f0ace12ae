"""Pictures of one trial, taken by time.

In: a path of any video or still image that FFmpeg reads, and times in seconds from its first frame. Out: square frames,
what is known about the file, or a copy that a browser plays. Delegated to PyAV: decoding, in as many threads as FFmpeg
likes, in one pass; to Pillow: resizing with a filter that does not alias. Only wanted frames are converted to RGB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import av
import numpy as np
from PIL import Image

from eavdash.data.recording import stamp, unreadable
from eavdash.errors import RecordingError

#: The last frame stands for this much more than its own time (seconds); what is asked for beyond it is missing.
END_TOLERANCE = 0.5
_SAME_TIME = 1e-4  # seconds: less than any two frames are apart, more than a container rounds
_SEEK_FROM = 4.0  # seconds: before this, decoding from the start is as fast as seeking
_SEEK_MARGIN = 1.0
_SEEKABLE = ("mp4", "matroska")  # containers with an index of their key frames


@dataclass(frozen=True)
class VideoInfo:
    """What a video holds: ``duration`` in seconds (0 for a still image), mean rate, pixels, number of frames."""

    duration: float
    frames_per_second: float
    width: int
    height: int
    frames: int

    @property
    def still(self) -> bool:
        """Whether it is a single picture, which stands for all times."""
        return self.duration == 0


def video_info(path: str) -> VideoInfo:
    """Duration and size, from the file's packets: headers of real files are too often wrong. Nothing is decoded.

    Raises:
        RecordingError: it cannot be opened, has no picture, or ends more than half a second before its header says.
    """
    return _info(path, stamp(path))


def read_frames(path: str, times: Sequence[float], size: int) -> np.ndarray:
    """The frames shown at ``times`` (seconds from the first frame, any order): (frame, size, size, 3) uint8 RGB.

    A frame is shown until the next one begins; times before the first give the first. Each is the largest centred
    square, resized.

    Raises:
        RecordingError: the file cannot be decoded, or ends more than half a second before the last time asked for.
    """
    stamp(path)
    frames = np.zeros((len(times), size, size, 3), dtype=np.uint8)
    order = sorted(range(len(times)), key=lambda n: times[n])
    if not order:
        return frames
    with open_video(path) as (container, stream):
        for frame, places in _shown(path, container, stream, [times[n] for n in order]):
            picture = _square(frame, size)
            for place in places:
                frames[order[place]] = picture
    return frames


@contextmanager
def open_video(path: str) -> Iterator[tuple[Any, Any]]:
    """The PyAV container and its first video stream, closed afterwards; what fails inside is a RecordingError."""
    try:
        with av.open(path) as container:
            # A stream without a decoder is what is left of one whose description was cut off.
            if not container.streams.video or container.streams.video[0].codec_context is None:
                raise RecordingError.at(
                    path, expected="a video", found="no picture that can be decoded", remedy="copy the file again"
                )
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield container, stream
    except (av.error.FFmpegError, UnicodeDecodeError) as error:
        raise unreadable(path, "a video that can be decoded", error) from error


def is_still(container: Any) -> bool:
    """Whether FFmpeg reads the file as an image rather than a video."""
    return bool(container.format.name.endswith("_pipe") or container.format.name == "image2")


@lru_cache(maxsize=1024)
def _info(path: str, _stamp: tuple[int, int]) -> VideoInfo:
    with open_video(path) as (container, stream):
        width, height = stream.codec_context.width, stream.codec_context.height
        if is_still(container):
            return VideoInfo(0.0, 0.0, width, height, 1)
        promised = float(stream.duration * stream.time_base) if stream.duration else 0.0
        first, last, count = _extent(container, stream)
    if not count or last <= first:
        raise RecordingError.at(path, expected="a video", found="one without a frame", remedy="copy it again")
    if promised > last - first + END_TOLERANCE:
        raise _cut_short(path, f"{promised:.2f} s as its header says", last - first)
    return VideoInfo(last - first, count / (last - first), width, height, count)


def _extent(container: Any, stream: Any) -> tuple[float, float, int]:
    """Time of the first frame, end of the last one (seconds), and how many there are."""
    usual = float(1 / (stream.average_rate or stream.guessed_rate or 25))
    first, last, count = float("inf"), float("-inf"), 0
    for packet in container.demux(stream):
        stamped = packet.pts if packet.pts is not None else packet.dts
        if packet.size and stamped is not None:
            begin = float(stamped * packet.time_base)
            length = float(packet.duration * packet.time_base) if packet.duration else usual
            first, last, count = min(first, begin), max(last, begin + length), count + 1
    return first, last, count


def _shown(path: str, container: Any, stream: Any, times: list[float]) -> Iterator[tuple[Any, list[int]]]:
    """Each frame that is shown at some of the sorted ``times``, with the places of those times."""
    still = is_still(container)
    current, end, done = None, 0.0, 0
    for begin, length, frame in _decode(container, stream, times[0]):
        upto = done
        while current is not None and upto < len(times) and times[upto] + _SAME_TIME < begin:
            upto += 1
        if upto > done:
            yield current, list(range(done, upto))
            done = upto
        if done == len(times):
            return
        current, end = frame, begin + length
    if current is None or (not still and times[-1] > end + END_TOLERANCE):
        raise _cut_short(path, f"a frame at {times[-1]:.2f} s", end)
    yield current, list(range(done, len(times)))


def _decode(container: Any, stream: Any, from_time: float) -> Iterator[tuple[float, float, Any]]:
    """(time from the first frame, duration, frame) in order of presentation, from ``from_time`` or earlier."""
    usual = float(1 / (stream.average_rate or stream.guessed_rate or 25))
    decoded = container.decode(stream)
    frame = next(decoded, None)
    if frame is None:
        return
    origin = float(frame.time or 0.0)
    if from_time > _SEEK_FROM and any(name in container.format.name for name in _SEEKABLE):
        target = origin + from_time - _SEEK_MARGIN
        container.seek(int(target / stream.time_base), stream=stream)
        decoded = container.decode(stream)
        frame = next(decoded, None)
        if frame is None or frame.time is None or frame.time > target + _SEEK_MARGIN:
            container.seek(int(origin / stream.time_base), stream=stream)
            decoded = container.decode(stream)
            frame = next(decoded, None)
    begin = 0.0
    while frame is not None:
        # A frame without a time stamp follows the one before it.
        begin = float(frame.time) - origin if frame.time is not None else begin
        length = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else usual
        yield begin, length, frame
        begin += length
        frame = next(decoded, None)


def _square(frame: Any, size: int) -> np.ndarray:
    """The centre square of a decoded frame, (size, size, 3) uint8 RGB, upright."""
    picture = frame.to_ndarray(format="rgb24")
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(np.ascontiguousarray(picture[top : top + side, left : left + side]))
    small = square.resize((size, size), Image.Resampling.BILINEAR)
    return np.rot90(np.asarray(small), round(frame.rotation / 90) % 4)


def _cut_short(path: str, expected: str, end: float) -> Exception:
    return RecordingError.at(
        path,
        expected=expected,
        found=f"the end after {end:.2f} s",
        remedy="copy the file again if it was cut short, or mend start and stop in the trial table",
    )
