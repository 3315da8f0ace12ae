"""Pictures of one trial, taken by time.

In: a path of any video or still image that FFmpeg reads, and times in seconds from its first frame. Out: square frames,
what is known about the file, or a copy that a browser plays. Delegated to PyAV: decoding, in as many threads as FFmpeg
likes, in one pass; to Pillow: resizing with a filter that does not alias. Only wanted frames are converted to RGB.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from eavdash.data.recording import stamp, unreadable
from eavdash.errors import DataError, RecordingError

#: The last frame stands for this much more than its own time (seconds); what is asked for beyond it is missing.
END_TOLERANCE = 0.5
_SAME_TIME = 1e-4  # seconds: less than any two frames are apart, more than a container rounds
_SEEK_FROM = 4.0  # seconds: before this, decoding from the start is as fast as seeking
_SEEK_MARGIN = 1.0
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES)
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


def browser_video(path: str, cache: Path) -> Path:
    """A file of the same pictures and sound that every browser plays: ``path`` itself, or an H.264 copy in ``cache``.

    The copy is made once, under a temporary name. Still images are returned as they are.

    Raises:
        RecordingError: the file cannot be decoded.
        DataError: the copy cannot be written.
    """
    folder = cache / "videos"
    copy = folder / f"{hashlib.sha256(repr((path, stamp(path))).encode()).hexdigest()[:32]}.mp4"
    with open_video(path) as (container, stream):
        if is_still(container) or _plays(container, stream):
            return Path(path)
        if copy.exists():
            return copy
        temporary = copy.with_name(f".{copy.stem}.{os.getpid()}-{threading.get_ident()}.mp4")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _transcode(container, stream, temporary)
            temporary.replace(copy)
        except OSError as error:  # FFmpeg's errors are OSErrors where the system has a number for them
            if isinstance(error, av.error.FFmpegError) and error.errno not in _CANNOT_WRITE:
                raise
            raise DataError.at(
                copy,
                expected="a file that can be written",
                found=error.strerror or str(error),
                remedy="free some disk space or mend the permissions",
            ) from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    return copy


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


def _plays(container: Any, stream: Any) -> bool:
    sound = {s.codec_context.name for s in container.streams.audio if s.codec_context is not None}
    if Path(container.name).suffix.lower() == ".webm":
        return stream.codec_context.name in ("vp8", "vp9", "av1") and sound <= {"opus", "vorbis"}
    h264 = stream.codec_context.name == "h264" and stream.codec_context.pix_fmt in ("yuv420p", "yuvj420p")
    return "mp4" in container.format.name and h264 and sound <= {"aac", "mp3", "mp3float"}


def _transcode(container: Any, stream: Any, path: Path) -> None:
    """Write the video and its first sound track as H.264 and AAC, times counted from the first frame."""
    sound = next((s for s in container.streams.audio if s.codec_context is not None), None)
    origin: float | None = None
    clock: int | None = None  # samples of sound written; they follow one another without a gap
    with av.open(str(path), "w", options={"movflags": "faststart"}) as out:
        # yuv420p halves the colour planes: both sides must be even.
        width, height = stream.codec_context.width // 2 * 2, stream.codec_context.height // 2 * 2
        rate = stream.average_rate or stream.guessed_rate or 25
        # Without B-frames the copy begins at its first frame and lasts as long as they do.
        picture = out.add_stream("libx264", rate=rate, options={"crf": "21", "preset": "veryfast", "bf": "0"})
        picture.width, picture.height, picture.pix_fmt = max(2, width), max(2, height), "yuv420p"
        picture.codec_context.time_base = stream.time_base
        voice = None
        if sound is not None:
            voice = out.add_stream("aac", rate=48000, layout="stereo")
            resampler = av.AudioResampler(format="fltp", layout="stereo", rate=48000)
        for packet in container.demux(*filter(None, (stream, sound))):
            for frame in packet.decode():
                if origin is None and packet.stream is stream:
                    origin = float(frame.time or 0.0)
                begin = (frame.time or 0.0) - (origin or 0.0)
                if packet.stream is stream:
                    frame = frame.reformat(width=picture.width, height=picture.height, format="yuv420p")
                    frame.pts, frame.time_base = round(begin / stream.time_base), stream.time_base
                    frame.pict_type = av.video.frame.PictureType.NONE
                    out.mux(picture.encode(frame))
                elif voice is not None and begin >= 0:
                    for part in resampler.resample(frame):
                        part.pts = clock = round(begin * 48000) if clock is None else clock
                        clock += part.samples
                        out.mux(voice.encode(part))
        out.mux(picture.encode(None))
        if voice is not None:
            out.mux(voice.encode(None))


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
