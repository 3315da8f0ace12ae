"""Files that every browser plays, of one trial: its pictures, with its own sound muxed in.

In: the stretches of a video and of a sound that belong together. Out: a :class:`Playable`. A video that browsers play
as it is and that needs no other sound is used in place. Otherwise one file is made in the cache, once: the video's
packets, copied from the last key frame before the start where browsers know them, H.264 where they do not, and the
sound as AAC; sound alone as 16-bit WAV. Delegated to PyAV: decoding and encoding; to soundfile: WAV.
"""

from __future__ import annotations

import errno
import hashlib
import heapq
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

from eavdash.data.audio import reading as audio
from eavdash.data.recording import split_trial, stamp
from eavdash.data.video import reading as video
from eavdash.data.video.decoding import is_still, open_video
from eavdash.errors import DataError, RecordingError

VERSION = 1  # raise it when the same recordings give other files than before
RATE = 48000  # Hz, of the sound in made videos
CLOCK = Fraction(1, 90000)  # seconds: unit of the times in made videos
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif")  # that browsers know
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES)
_SEEK_FROM = 4.0  # seconds: before this, decoding from the start is as fast as seeking
_SEEKABLE = ("mp4", "matroska")  # containers with an index of their key frames
_ITEM_SIZE = 224  # pixels: side of the pictures that come as arrays
_SAME_TIME = 1e-3  # seconds: more than a container rounds


@dataclass(frozen=True)
class Cut:
    """The stretch of ``duration`` seconds from ``start`` on of a recording."""

    path: str
    start: float
    duration: float

    @property
    def stop(self) -> float:
        return self.start + self.duration


@dataclass(frozen=True)
class Playable:
    """What to play: ``media`` (a video if ``moving``, else a sound) from ``offset`` seconds on, beside ``image``."""

    media: Path | None = None
    moving: bool = False
    offset: float = 0.0
    image: Path | None = None


def playable(pictures: Cut | None, sound: Cut | None, cache: Path) -> Playable:
    """The files that play these stretches from the same moment; made in ``cache``/videos where they must be.

    A still image in ``pictures`` stands beside the sound. Without ``sound`` the video's own track is heard.

    Raises:
        RecordingError: a file cannot be decoded.
        DataError: a file cannot be written.
    """
    image = None
    if pictures is not None and split_trial(pictures.path)[1] is None:
        with open_video(pictures.path) as (container, stream):
            if is_still(container):
                image, pictures = _image(pictures.path, cache), None
            elif _as_it_is(container, stream) and (sound is None or sound.path == pictures.path):
                return Playable(Path(pictures.path), True, pictures.start)
    if pictures is not None:
        return _muxed(pictures, sound, cache)
    if sound is None:
        return Playable(image=image)
    cut, rate = sound, audio.open_sound(sound.path).rate
    wave = _made(
        cache, ".wav", [cut], lambda path: soundfile.write(path, np.clip(_heard(cut, 0, rate), -1, 1), rate, "PCM_16")
    )
    return Playable(wave, image=image)


def _as_it_is(container: Any, stream: Any) -> bool:
    """Whether every browser plays the file, and counts its time from the first picture."""
    sound = {s.codec_context.name for s in container.streams.audio if s.codec_context is not None}
    begin = float(stream.start_time * stream.time_base) if stream.start_time is not None else 0.0
    if abs(begin) > _SAME_TIME:
        return False
    if Path(container.name).suffix.lower() == ".webm":
        return stream.codec_context.name in ("vp8", "vp9", "av1") and sound <= {"opus", "vorbis"}
    return "mp4" in container.format.name and _known(stream) and sound <= {"aac", "mp3", "mp3float"}


def _known(stream: Any) -> bool:
    """Whether the pictures are H.264 as browsers decode it."""
    return stream.codec_context.name == "h264" and stream.codec_context.pix_fmt in ("yuv420p", "yuvj420p")


def _muxed(pictures: Cut, sound: Cut | None, cache: Path) -> Playable:
    base = _key_frame(pictures)
    lead = 0.0 if base is None else pictures.start - base

    def write(path: Path) -> None:
        wave = _heard(sound, lead, RATE) if sound is not None else _own_sound(pictures, lead)
        # The index first, so that playing can begin before the file is there.
        with av.open(str(path), "w", options={"movflags": "faststart"}) as out:
            voice = out.add_stream("aac", rate=RATE, layout="mono") if wave is not None else None
            packets = _encoded(out, pictures) if base is None else _copied(out, pictures, base)
            for packet in heapq.merge(packets, _spoken(voice, wave), key=_order):
                out.mux(packet)

    return Playable(_made(cache, ".mp4", [pictures, sound], write), True, lead)


def _key_frame(pictures: Cut) -> float | None:
    """Time from the first picture of the last key frame before the stretch; None: packets must not be copied."""
    if split_trial(pictures.path)[1] is not None:
        return None
    with open_video(pictures.path) as (container, stream):
        if not _known(stream) or not any(name in container.format.name for name in _SEEKABLE):
            return None
        packets = _from_key_frame(container, stream, pictures.start)
        first = next(packets, None)
        return None if first is None else max(0.0, _time_of(first) - _origin(stream))


def _from_key_frame(container: Any, stream: Any, start: float) -> Iterator[Any]:
    """Packets from the last key frame at or before ``start``."""
    origin = _origin(stream)
    if start > _SAME_TIME:
        container.seek(int((origin + start + _SAME_TIME) / stream.time_base), stream=stream)
    first: float | None = None
    for packet in container.demux(stream):
        if packet.dts is None or packet.pts is None:
            continue
        if first is None:
            first = _time_of(packet)
        # Pictures that are shown before the key frame need one before it.
        if _time_of(packet) >= first - _SAME_TIME:
            yield packet


def _copied(out: Any, pictures: Cut, base: float) -> Iterator[Any]:
    """The packets from the key frame at ``base`` to the end of the stretch, times counted from the key frame."""
    with open_video(pictures.path) as (container, stream):
        copy = out.add_stream_from_template(stream)
        shift = round((_origin(stream) + base) / stream.time_base)
        for packet in _from_key_frame(container, stream, pictures.start):
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
            if packet.dts * packet.time_base > pictures.stop - base:
                return
            yield packet


def _encoded(out: Any, pictures: Cut) -> Iterator[Any]:
    """The stretch as H.264, times counted from its start."""
    stream = None
    for time, frame in _shown(pictures):
        if stream is None:
            # Without B-frames the copy begins at its first frame. yuv420p halves the colour planes: even sides.
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
    """(seconds from the start, frame) of each picture that is shown in the stretch, upright."""
    if split_trial(pictures.path)[1] is not None:
        rate = video.video_info(pictures.path).frames_per_second
        times = pictures.start + np.arange(max(1, round(pictures.duration * rate))) / rate
        for time, array in zip(times, video.read_frames(pictures.path, list(times), _ITEM_SIZE), strict=True):
            yield time - pictures.start, av.VideoFrame.from_ndarray(array, format="rgb24")
        return
    # A picture is shown until the next one begins: the last one before the start is the first.
    before: Any = None
    for begin, frame in _timed(pictures.path, pictures.start):
        if begin >= pictures.stop:
            break
        if begin <= pictures.start + _SAME_TIME:
            before = frame
            continue
        if before is not None:
            yield 0.0, _upright(before)
            before = None
        yield begin - pictures.start, _upright(frame)
    if before is not None:
        yield 0.0, _upright(before)


def _timed(path: str, start: float) -> Iterator[tuple[float, Any]]:
    """(seconds from the first picture, frame) of a video, from ``start`` or earlier."""
    with open_video(path) as (container, stream):
        usual = float(1 / (stream.average_rate or stream.guessed_rate or 25))
        origin: float | None = None
        if start > _SEEK_FROM and any(name in container.format.name for name in _SEEKABLE):
            origin = _origin(stream)
            container.seek(int((origin + start) / stream.time_base), stream=stream)
        begin = 0.0
        for frame in container.decode(stream):
            origin = float(frame.time or 0.0) if origin is None else origin
            # A frame without a time stamp follows the one before it.
            begin = float(frame.time) - origin if frame.time is not None else begin
            yield begin, frame
            begin += float(frame.duration * frame.time_base) if frame.duration and frame.time_base else usual


def _upright(frame: Any) -> Any:
    turns = round(frame.rotation / 90) % 4
    if not turns:
        return frame
    array = np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
    return av.VideoFrame.from_ndarray(array, format="rgb24")


def _heard(sound: Cut, lead: float, rate: int) -> np.ndarray:
    """The stretch (time,) and ``lead`` seconds before it, silent where the recording has none."""
    begin = max(0.0, sound.start - lead)
    wave = audio.read_audio(sound.path, begin, sound.stop, rate)
    return np.pad(wave, (round((lead - (sound.start - begin)) * rate), 0))


def _own_sound(pictures: Cut, lead: float) -> np.ndarray | None:
    """The video's own track; None where it has none, or none in this stretch."""
    try:
        stop = min(pictures.stop, audio.audio_duration(pictures.path))
        return _heard(Cut(pictures.path, pictures.start, stop - pictures.start), lead, RATE)
    except RecordingError:
        return None


def _spoken(stream: Any, wave: np.ndarray | None) -> Iterator[Any]:
    """The packets of an encoded sound."""
    if wave is None:
        return
    size = stream.codec_context.frame_size or 1024
    for begin in range(0, len(wave), size):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[None, begin : begin + size]), "fltp", "mono")
        frame.rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), begin
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _image(path: str, cache: Path) -> Path:
    """The image itself, or a PNG of it."""
    if Path(path).suffix.lower() in IMAGES:
        return Path(path)

    def write(to: Path) -> None:
        with open_video(path) as (container, stream):
            next(container.decode(stream)).to_image().save(to)

    return _made(cache, ".png", [Cut(path, 0.0, 0.0)], write)


def _made(cache: Path, suffix: str, cuts: Sequence[Cut | None], write: Callable[[Path], None]) -> Path:
    """The file in the cache, written under a temporary name if it is not there."""
    content = [VERSION, *((cut, stamp(cut.path)) for cut in cuts if cut is not None)]
    folder = cache / "videos"
    made = folder / f"{hashlib.sha256(repr(content).encode()).hexdigest()[:32]}{suffix}"
    if made.exists():
        return made
    temporary = made.with_name(f".{made.stem}.{os.getpid()}-{threading.get_ident()}{suffix}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write(temporary)
        temporary.replace(made)
    except OSError as error:  # FFmpeg's errors are OSErrors where the system has a number for them
        if isinstance(error, av.error.FFmpegError) and error.errno not in _CANNOT_WRITE:
            raise
        raise DataError.at(
            made,
            expected="a file that can be written",
            found=error.strerror or str(error),
            remedy="free some disk space or mend the permissions",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return made


def _origin(stream: Any) -> float:
    return float((stream.start_time or 0) * stream.time_base)


def _time_of(packet: Any) -> float:
    return float(packet.pts * packet.time_base)


def _order(packet: Any) -> float:
    return float((packet.dts or 0) * packet.time_base)
