"""The sound track of a video, and sound in the containers that only FFmpeg reads (.m4a, .mka, .wma ...).

In: a path. Out: a :class:`~eavdash.data.audio.samples.Sound` whose time 0 is the *video's first frame*, as in
``data.video``: a track that begins later is preceded by silence, earlier sound is cut off, so that sound and frames
stay in sync. Without a video, time 0 is the first sample. A gap in the track is silence. Delegated to PyAV: decoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import av
import numpy as np

from eavdash.config.limits import FRAME_PIXELS
from eavdash.data.audio.mp3 import states_length
from eavdash.data.audio.samples import Sound, truncated
from eavdash.data.recording import END_TOLERANCE, per_file, unreadable
from eavdash.data.video.decoding import SEEK_FROM, SEEK_MARGIN, first_video, open_container, packet_times, seekable
from eavdash.errors import EavdashError, RecordingError

_PROMISE_TOLERANCE = 0.5  # seconds by which a track may end before the time in its header
_SAME_TIME = 0.02  # seconds: containers round packet times, so smaller gaps do not count
_MOST_SILENCE = 60.0  # seconds of gaps beyond the length of the sound itself: more means damaged time stamps
_MOST_UNDECODABLE = 100  # packets in a row that are skipped where MP3 files were joined: tags, pictures
#: Formats of sound alone. Several state no length, and FFmpeg guesses one from the bit rate; in several, files may be
#: joined, so that the clock begins anew.
_SOUND_FORMATS = {"aac", "ac3", "amr", "amrnb", "amrwb", "caf", "dts", "eac3", "flac", "gsm", "mp3", "ogg", "wav"}


@dataclass(frozen=True)
class _Track:
    """``origin``: the file's time (seconds) that counts as 0; ``alone``: in one of :data:`_SOUND_FORMATS`."""

    rate: int
    channels: int
    origin: float
    alone: bool
    length: int = 0  # samples from the origin to the end of the track


def open_track(path: str) -> Sound:
    """Open the sound track of a video, or the sound of any other container that FFmpeg reads.

    Raises:
        RecordingError: it cannot be decoded, has no sound track, or ends before the time in its header.
    """
    track = _probe(path)
    return Sound(path, track.rate, track.length, track.channels, partial(_blocks, path, track))


@contextmanager
def _opened(path: str) -> Iterator[tuple[Any, Any]]:
    """Open the container and its first sound track; errors inside the block become RecordingErrors."""
    try:
        with open_container(path, FRAME_PIXELS) as container:
            stream = next((s for s in container.streams.audio if s.codec_context is not None), None)
            if stream is None:
                what = "an unknown codec" if container.streams.audio else "none"
                raise RecordingError.at(
                    path,
                    expected="a sound track",
                    found=what,
                    remedy="leave the trial's sound out, or export the file again with its sound",
                )
            yield container, stream
    except (av.error.FFmpegError, OSError, UnicodeError, ValueError) as error:
        raise unreadable(path, "a decodable sound track", error) from error


@per_file(1024)
def _probe(path: str) -> _Track:
    with _opened(path) as (container, stream):
        # With some codecs the header states half of the decoded rate.
        frame = next(container.decode(stream), None)
        if frame is None or not frame.sample_rate:
            raise _no_samples(path)
        rate, channels, first = frame.sample_rate, len(frame.layout.channels), float(frame.time or 0.0)
    with _opened(path) as (container, _):
        origin = _first_picture(container)
    with _opened(path) as (container, stream):
        alone = origin is None and container.format.name in _SOUND_FORMATS
        end = _end(path, container, stream, alone)
    origin = first if origin is None else origin
    if end <= origin:
        raise RecordingError.at(
            path,
            expected="sound during the video",
            found=f"a sound track that ends {origin - end:.2f} s before the first frame",
            remedy="leave the trial's sound out, or export the file again",
        )
    track = _Track(rate, channels, origin, alone)
    length = max(1, round((end - origin) * rate))
    if alone:  # packets may overstate their lengths, and understate that of joined files
        decoded = max(begin + len(samples) for begin, samples in _timed(path, track, origin))
        length = length if abs(decoded - length) <= END_TOLERANCE * rate else decoded
    return replace(track, length=length)


@per_file(4096)
def packet_seconds(path: str) -> float | None:
    """The sum of the lengths (seconds) of a sound's packets; None if FFmpeg does not read it."""
    try:
        with _opened(path) as (container, stream):
            return sum(length for _, _, length in packet_times(container, stream))
    except RecordingError:
        return None


def _first_picture(container: Any) -> float | None:
    """Time of the video's first frame; None if there is no video or only a cover image."""
    stream = first_video(container)
    if stream is None:
        return None
    stream.codec_context.options = {"max_pixels": str(FRAME_PIXELS)}
    try:
        frame = next(container.decode(stream), None)
    except av.error.FFmpegError:
        frame = None
    if frame is not None and frame.time is not None:
        return float(frame.time)
    return float(stream.start_time * stream.time_base) if stream.start_time is not None else None


def _end(path: str, container: Any, stream: Any, alone: bool) -> float:
    """The end of the track (seconds), from its packets: headers of real files are too often wrong."""
    guessed = alone and not (container.format.name == "mp3" and states_length(path))
    first, last, latest, sounding = float("inf"), float("-inf"), float("-inf"), 0.0
    matroska = "matroska" in container.format.name
    for packet, begin, length in packet_times(container, None if matroska else stream):
        latest = max(latest, begin + length)
        if packet.stream.index == stream.index:
            first, last, sounding = min(first, begin), max(last, begin + length), sounding + length
    if last <= first:
        raise _no_samples(path)
    if last - first > 2 * sounding + _MOST_SILENCE:
        found = f"{last - first:.0f} s with {sounding:.1f} s of sound"
        raise RecordingError.at(path, expected="a sound track without large gaps", found=found, remedy="copy it again")
    promised = float(stream.duration * stream.time_base) if stream.duration and not guessed else 0.0
    if promised > last - first + _PROMISE_TOLERANCE:
        raise truncated(path, f"{promised:.2f} s as in its header", f"the end after {last - first:.2f} s")
    # Matroska states only the length of the whole file.
    whole = (container.duration or 0) / av.time_base if matroska else 0.0
    if whole > latest + _PROMISE_TOLERANCE:
        raise truncated(path, f"{whole:.2f} s as in its header", f"the end after {latest:.2f} s")
    return last


def _blocks(path: str, track: _Track, first: int, last: int) -> Iterator[np.ndarray]:
    at = first
    for begin, samples in _timed(path, track, track.origin + first / track.rate):
        end = begin + len(samples)
        if begin > at:
            yield np.zeros((min(begin, last) - at, samples.shape[1]), np.float32)
            at = min(begin, last)
        if end > at:
            samples = samples[at - begin : last - begin]
            yield samples
            at += len(samples)
        if at >= last:
            return
    if last - at > max(_SAME_TIME, END_TOLERANCE) * track.rate:
        raise truncated(path, f"{last / track.rate:.2f} s of sound", f"{at / track.rate:.2f} s")
    yield np.zeros((last - at, track.channels), np.float32)


def _timed(path: str, track: _Track, time: float) -> Iterator[tuple[int, np.ndarray]]:
    """(sample number from the origin, samples (time, channel)) of each piece, from ``time`` or earlier."""
    expected, joined = None, 0
    for stamp, samples in _decoded(path, track, time):
        begin = expected if stamp is None else round((stamp - track.origin) * track.rate) + joined
        if begin is None or (expected is not None and abs(begin - expected) <= _SAME_TIME * track.rate):
            begin = expected or 0
        elif expected is not None and begin < expected and track.alone:
            begin, joined = expected, joined + expected - begin
        expected = begin + len(samples)
        yield begin, samples


def _decoded(path: str, track: _Track, time: float) -> Iterator[tuple[float | None, np.ndarray]]:
    """(time in the file, samples (time, channel)) of each piece of the track, from ``time`` or earlier."""
    with _opened(path) as (container, stream):
        frames = _frames(container, stream)
        frame = next(frames, None)
        if time - track.origin > SEEK_FROM and seekable(container):
            container.seek(int((time - SEEK_MARGIN) / stream.time_base), stream=stream)
            frames = container.decode(stream)
            frame = next(frames, None)
            if frame is None or frame.time is None or frame.time > time:
                container.seek(int(min(0.0, track.origin) / stream.time_base), stream=stream)
                frames = container.decode(stream)
                frame = next(frames, None)
        untimed = False
        while frame is not None:
            if frame.sample_rate != track.rate:
                found = f"{frame.sample_rate} Hz after {track.rate} Hz"
                raise RecordingError.at(path, expected="one sampling rate", found=found, remedy="export the file again")
            yield None if untimed else frame.time, _samples(frame)
            untimed = container.format.name == "mp3"  # without times of its own: FFmpeg counts what it skips, too
            frame = next(frames, None)


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """All decoded pieces; what is no sound between joined MP3 files is skipped."""
    bad = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            bad += 1
            if container.format.name != "mp3" or bad > _MOST_UNDECODABLE:
                raise
            continue
        bad = 0 if frames else bad
        yield from frames


def _samples(frame: Any) -> np.ndarray:
    """A decoded piece as (time, channel) float32."""
    array: np.ndarray = frame.to_ndarray()
    array = array.T if frame.format.is_planar else array.reshape(-1, len(frame.layout.channels))
    if array.dtype.kind == "f":
        return np.asarray(array, np.float32)
    if array.dtype == np.uint8:
        return (array.astype(np.float32) - 128) / 128
    return np.asarray(array / float(-int(np.iinfo(array.dtype).min)), np.float32)


def _no_samples(path: str) -> EavdashError:
    return RecordingError.at(path, expected="a sound track", found="no samples", remedy="copy it again")
