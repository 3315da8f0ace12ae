"""Frames of a video by time, as FFmpeg decodes them.

In: a path and times in seconds from the first frame. Out: decoded frames in order, not yet converted to RGB; the open
file itself for access to its packets. Delegated to PyAV: decoding, in one pass, with FFmpeg's choice of threads. In
H.264, frames that neither the caller nor another frame needs are not decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av
import numpy as np
from av.stream import Disposition

from eavdash.config.limits import FRAME_PIXELS, PICTURE_PIXELS
from eavdash.data.recording import per_file, refuse_beyond, unreadable
from eavdash.errors import RecordingError
from eavdash.store.readable import check_readable

#: Seconds for which the last frame is used beyond its own time; a later time is an error.
END_TOLERANCE = 0.5
#: Seconds: less than the interval of any two frames, more than a container's rounding.
SAME_TIME = 1e-4
SEEK_FROM = 4.0  # seconds: before this, decoding from the start is as fast as seeking
SEEK_MARGIN = 1.0
#: Formats that name other files or addresses, and devices.
_SEVERAL_FILES = {"concat", "dash", "hls", "imf", "lavfi", "rtp", "rtp_mpegts", "rtsp", "sap", "sdp", "vobsub"}
_SEVERAL_FILES |= {
    "webm_dash_manifest",
    "alsa",
    "fbdev",
    "kmsgrab",
    "oss",
    "video4linux2,v4l2",
    "x11grab",
}  # or devices
_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
_ONE_FILE = ",".join(sorted(av.formats_available - _SEVERAL_FILES))
#: Codecs in which non-reference frames are marked as such; in HEVC and VP9 that depends on temporal layers.
_SKIPPABLE = ("h264",)


def shown_frames(path: str, times: list[float]) -> Iterator[tuple[Any, list[int]]]:
    """Yield each frame shown at some of the sorted ``times`` (seconds), as decoded, with the indices of those times.

    A frame is shown until the next one begins; times before the first frame give the first.

    Raises:
        RecordingError: the file cannot be decoded, or ends more than half a second before the last time.
    """
    done, index = 0, _index(path)
    if index is not None:
        begins, step = index
        after = np.searchsorted(begins, begins[0] + (np.array(times) + SAME_TIME) / step, side="right")
        expected = begins[np.maximum(after - 1, 0)]
        for frame, positions in _shown(path, times, {int(begins[0]), *expected.tolist()}):
            if any(expected[position] != frame.pts for position in positions):
                break  # The packets' times differ from the frames': read the rest without them.
            yield frame, positions
            done = positions[-1] + 1
    if done < len(times):
        for frame, positions in _shown(path, times[done:]):
            yield frame, [done + position for position in positions]


def _shown(path: str, times: list[float], needed: set[int] | None = None) -> Iterator[tuple[Any, list[int]]]:
    """Yield as :func:`shown_frames`; frames whose time stamps are known and not ``needed`` may be skipped."""
    with open_video(path) as (container, stream):
        still = is_still(container)
        current, end, done = None, 0.0, 0
        for begin, length, frame in _decode(container, stream, times[0], needed):
            upto = done
            while current is not None and upto < len(times) and times[upto] + SAME_TIME < begin:
                upto += 1
            if upto > done:
                yield current, list(range(done, upto))
                done = upto
            if done == len(times):
                return
            current, end = frame, begin + length
        if current is None or (not still and times[-1] > end + END_TOLERANCE):
            raise truncated(path, f"a frame at {times[-1]:.2f} s", end)
        yield current, list(range(done, len(times)))


def key_frames(path: str, count: int) -> Iterator[Any]:
    """Yield ``count`` of a video's key frames, evenly spread, in order, without decoding others; none if it has fewer.

    Raises:
        RecordingError: the file cannot be decoded.
    """
    with open_video(path) as (container, stream):
        packets = container.demux(stream)
        stamps = [p.pts for p in packets if p.is_keyframe and p.pts is not None and not p.is_discard]
    if len(stamps) < count:
        return
    chosen = {stamps[int((k + 0.5) * len(stamps) / count)] for k in range(count)}
    with open_video(path) as (container, stream):
        stream.codec_context.skip_frame = "NONKEY"
        yield from (frame for frame in container.decode(stream) if frame.pts in chosen)


def timed_frames(path: str, start: float) -> Iterator[tuple[float, Any]]:
    """Yield (seconds from the first picture, frame) of a video, from ``start`` or earlier.

    Raises:
        RecordingError: the file cannot be decoded.
    """
    with open_video(path) as (container, stream):
        yield from ((begin, frame) for begin, _, frame in _decode(container, stream, start, None))


def packet_times(container: Any, stream: Any = None) -> Iterator[tuple[Any, float, float]]:
    """Yield the packets of a stream (None: of all) that have content and a time: with begin and length in seconds.

    The length is 0 if it is unknown. Packets that are decoded but not shown, as before a cut, are left out.
    """
    for packet in container.demux(*((stream,) if stream is not None else ())):
        stamped = packet.pts if packet.pts is not None else packet.dts
        if packet.size and stamped is not None and not packet.is_discard:
            yield packet, float(stamped * packet.time_base), float((packet.duration or 0) * packet.time_base)


def usual_interval(stream: Any) -> float:
    """Seconds between two frames, by the header."""
    return float(1 / (stream.average_rate or stream.guessed_rate or 25))


def seekable(container: Any) -> bool:
    """True for a container with an index of its key frames."""
    return any(name in container.format.name for name in ("mp4", "matroska"))


@contextmanager
def open_video(path: str) -> Iterator[tuple[Any, Any]]:
    """Open the PyAV container and its first video stream; errors inside the block become RecordingErrors."""
    try:
        with open_container(path) as container:
            if container.format.name == "tty":  # FFmpeg renders any text file as a video
                raise RecordingError.at(path, expected="a video", found="text", remedy="fix the path")
            stream = first_video(container)
            if stream is None:
                cover = any(s.disposition & _PICTURES for s in container.streams.video)
                found = "a cover picture alone" if cover else "no decodable picture"
                raise RecordingError.at(path, expected="a video", found=found, remedy="copy the file again")
            most = PICTURE_PIXELS if is_still(container) else FRAME_PIXELS
            pixels = stream.codec_context.width * stream.codec_context.height
            if not pixels and is_still(container):
                expected = f"a picture of at most {most:,} pixels"
                raise RecordingError.at(
                    path, expected=expected, found="none, or a larger one", remedy="export it again, or leave it out"
                )
            refuse_beyond(path, "pixels in a frame", pixels, most)
            stream.codec_context.options = {"max_pixels": str(most)}  # also if the size changes
            stream.thread_type = "AUTO"
            yield container, stream
    except (av.error.FFmpegError, UnicodeDecodeError) as error:
        raise unreadable(path, "a decodable video", error) from error


@contextmanager
def open_container(path: str, pixels: int = PICTURE_PIXELS) -> Iterator[Any]:
    """Open a file of any format that has its content in itself: playlists would have FFmpeg open other files.

    ``pixels``: the most in a frame, which FFmpeg decodes to open some files.

    Raises:
        OutsideError: the file may not be read, or was replaced by a link to such a file.
        av.error.FFmpegError: it cannot be opened.
    """
    check_readable(path)
    with av.open(path, options={"format_whitelist": _ONE_FILE, "max_pixels": str(pixels)}) as container:
        if container.format.name == "image2" and "%" in path:  # names a sequence of files
            raise RecordingError.at(path, expected="a name without %", found="one", remedy="rename the image")
        yield container
        check_readable(path)


def first_video(container: Any) -> Any:
    """The first video stream that is no cover or thumbnail; None if there is none, or its header is cut short."""
    streams = [stream for stream in container.streams.video if not stream.disposition & _PICTURES]
    # A stream without a decoder has a truncated header.
    return streams[0] if streams and streams[0].codec_context is not None else None


def is_still(container: Any) -> bool:
    """True if FFmpeg reads the file as an image rather than a video."""
    return bool(container.format.name.endswith("_pipe") or container.format.name == "image2")


@per_file(8)
def _index(path: str) -> tuple[np.ndarray, float] | None:
    """Sorted time stamps of all frames, and their unit in seconds; None if they are incomplete or not needed."""
    with open_video(path) as (container, stream):
        if stream.codec_context.name not in _SKIPPABLE or not seekable(container):
            return None
        try:
            stamps = [packet.pts for packet in container.demux(stream) if packet.size and not packet.is_discard]
        except av.error.FFmpegError:
            return None  # Decoding reports the error.
        if not stamps or None in stamps or len(set(stamps)) < len(stamps):
            return None
        return np.sort(np.array(stamps, dtype=np.int64)), float(stream.time_base)


def _decode(
    container: Any, stream: Any, from_time: float, needed: set[int] | None
) -> Iterator[tuple[float, float, Any]]:
    """(time from the first frame, duration, frame) in order of presentation, from ``from_time`` or earlier."""
    usual = usual_interval(stream)
    decoded = _frames(container, stream, needed)
    frame = next(decoded, None)
    if frame is None:
        return
    origin = float(frame.time or 0.0) if needed is None else float(min(needed) * stream.time_base)
    if from_time > SEEK_FROM and seekable(container):
        target = origin + from_time - SEEK_MARGIN
        container.seek(int(target / stream.time_base), stream=stream)
        decoded = _frames(container, stream, needed)
        frame = next(decoded, None)
        if frame is None or frame.time is None or frame.time > target + SEEK_MARGIN:
            container.seek(int(origin / stream.time_base), stream=stream)
            decoded = _frames(container, stream, needed)
            frame = next(decoded, None)
    begin = 0.0
    while frame is not None:
        # A frame without a time stamp follows the one before it.
        begin = float(frame.time) - origin if frame.time is not None else begin
        length = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else usual
        yield begin, length, frame
        begin += length
        frame = next(decoded, None)


def _frames(container: Any, stream: Any, needed: set[int] | None) -> Iterator[Any]:
    """The following frames, except those that are neither ``needed`` nor referenced by others."""
    for packet in container.demux(stream):
        if needed is not None:
            stream.codec_context.skip_frame = "DEFAULT" if packet.pts is None or packet.pts in needed else "NONREF"
        yield from packet.decode()


def truncated(path: str, expected: str, end: float) -> Exception:
    """The error for a video that ends too early, after ``end`` seconds."""
    return RecordingError.at(
        path,
        expected=expected,
        found=f"the end after {end:.2f} s",
        remedy="copy the file again if it was cut short, or correct start and stop in the trial table",
    )
