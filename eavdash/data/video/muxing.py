"""Videos for browsers: pictures from one file and sound from another, cut and synchronised.

In: :class:`Cut`, a trial's segment of a file. Out: packets of a file that every browser plays. Delegated to PyAV:
decoding, encoding, and copying packets if the pictures need no re-encoding.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np

from eavdash.config.choices import MIX
from eavdash.data.audio import reading as audio
from eavdash.data.recording import split_item
from eavdash.data.video import reading as video
from eavdash.data.video.decoding import open_video, seekable, timed_frames
from eavdash.data.video.upright import browsers_show, display_of, upright_frame
from eavdash.errors import RecordingError

RATE = 48000  # Hz, of the sound in the videos
CLOCK = Fraction(1, 90000)  # seconds: time base of the videos
_ITEM_SIZE = 224  # pixels: side of pictures from arrays
SAME_TIME = 1e-3  # seconds: more than a container's rounding
CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES)


@dataclass(frozen=True)
class Cut:
    """The segment of ``duration`` seconds from ``start`` on of a recording; of a sound, as ``channel`` is heard."""

    path: str
    start: float
    duration: float
    channel: str = MIX

    @property
    def stop(self) -> float:
        return self.start + self.duration


def key_frame_before(pictures: Cut) -> float | None:
    """Time (from the first picture) of the last key frame before the segment; None: packets cannot be copied."""
    if split_item(pictures.path)[1] is not None or not browsers_show(pictures.path):
        return None
    with open_video(pictures.path) as (container, stream):
        if not is_browser_codec(stream) or not seekable(container):
            return None
        packets = _from_key_frame(container, stream, pictures.start)
        first = next(packets, None)
        if first is None or first.is_discard:  # a copy would show what a cut has hidden
            return None
        return max(0.0, _time_of(first) - _origin(stream))


def _from_key_frame(container: Any, stream: Any, start: float) -> Iterator[Any]:
    """Packets from the last key frame at or before ``start``."""
    origin = _origin(stream)
    if start > SAME_TIME:
        container.seek(int((origin + start + SAME_TIME) / stream.time_base), stream=stream)
    first: float | None = None
    for packet in container.demux(stream):
        if packet.dts is None or packet.pts is None:
            continue
        if first is None:
            first = _time_of(packet)
        # Pictures shown before the key frame depend on an earlier one.
        if _time_of(packet) >= first - SAME_TIME:
            yield packet


def copied_packets(out: Any, pictures: Cut, base: float) -> Iterator[Any]:
    """The packets from the key frame at ``base`` to the end of the segment, with times from the key frame."""
    with open_video(pictures.path) as (container, stream):
        copy = out.add_stream_from_template(stream)
        shift = round((_origin(stream) + base) / stream.time_base)
        for packet in _from_key_frame(container, stream, pictures.start):
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
            if packet.dts * packet.time_base > pictures.stop - base:
                return
            yield packet


def encoded_packets(out: Any, pictures: Cut) -> Iterator[Any]:
    """The segment as H.264, with times from its start."""
    stream = None
    for time, frame in _shown(pictures):
        if stream is None:
            # Without B-frames the copy begins at its first frame. yuv420p halves the colour planes and needs even
            # sides.
            stream = out.add_stream("libx264", rate=30, options={"crf": "21", "preset": "veryfast", "bf": "0"})
            stream.width, stream.height = max(2, frame.width // 2 * 2), max(2, frame.height // 2 * 2)
            stream.pix_fmt, stream.codec_context.time_base = "yuv420p", CLOCK
        frame = frame.reformat(width=stream.width, height=stream.height, format="yuv420p")
        frame.pts, frame.time_base = round(time / CLOCK), CLOCK
        frame.pict_type = av.video.frame.PictureType.NONE
        yield from stream.encode(frame)
    if stream is not None:
        yield from stream.encode(None)


def _shown(pictures: Cut) -> Iterator[tuple[float, Any]]:
    """(seconds from the start, frame) of each picture shown in the segment, upright."""
    if split_item(pictures.path)[1] is not None:
        rate = video.video_info(pictures.path).frames_per_second
        times = pictures.start + np.arange(max(1, round(pictures.duration * rate))) / rate
        for time, array in zip(times, video.read_frames(pictures.path, list(times), _ITEM_SIZE), strict=True):
            yield time - pictures.start, av.VideoFrame.from_ndarray(array, format="rgb24")
        return
    display = display_of(pictures.path)
    # A picture is shown until the next one begins: the last one before the start comes first.
    before: Any = None
    for begin, frame in timed_frames(pictures.path, pictures.start):
        if begin >= pictures.stop:
            break
        if begin <= pictures.start + SAME_TIME:
            before = frame
            continue
        if before is not None:
            yield 0.0, upright_frame(before, display)
            before = None
        yield begin - pictures.start, upright_frame(frame, display)
    if before is not None:
        yield 0.0, upright_frame(before, display)


def cut_sound(sound: Cut, lead: float, rate: int) -> np.ndarray:
    """The segment (time,) and ``lead`` seconds before it, silent where the recording has no sound."""
    begin = max(0.0, sound.start - lead)
    wave = audio.read_audio(sound.path, begin, sound.stop, rate, sound.channel)
    return np.pad(wave, (round((lead - (sound.start - begin)) * rate), 0))


def sound_track(pictures: Cut, lead: float) -> np.ndarray | None:
    """The video's own sound track; None if it has none in this segment."""
    try:
        stop = min(pictures.stop, audio.audio_duration(pictures.path))
        return cut_sound(Cut(pictures.path, pictures.start, stop - pictures.start), lead, RATE)
    except RecordingError:
        return None


def sound_packets(stream: Any, wave: np.ndarray | None) -> Iterator[Any]:
    """The packets of an encoded sound."""
    if wave is None:
        return
    size = stream.codec_context.frame_size or 1024
    for begin in range(0, len(wave), size):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[None, begin : begin + size]), "fltp", "mono")
        frame.rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), begin
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _origin(stream: Any) -> float:
    return float((stream.start_time or 0) * stream.time_base)


def _time_of(packet: Any) -> float:
    return float(packet.pts * packet.time_base)


def packet_order(packet: Any) -> float:
    return float((packet.dts or 0) * packet.time_base)


def is_browser_codec(stream: Any) -> bool:
    """True if the pictures are H.264 in a form that browsers decode."""
    return stream.codec_context.name == "h264" and stream.codec_context.pix_fmt in ("yuv420p", "yuvj420p")
