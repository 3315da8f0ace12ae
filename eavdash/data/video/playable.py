"""Files of one trial that every browser plays: its pictures with its own sound.

In: the segments of a video and a sound that belong together. Out: a :class:`Playable`. A video that browsers play and
that needs no other sound is used directly. Otherwise one file is made in the cache, once: the video's packets, copied
from the last key frame before the start if browsers support the codec, else H.264, and the sound as AAC; sound alone as
16-bit WAV. Delegated to PyAV: decoding and encoding; to soundfile: WAV.
"""

from __future__ import annotations

import hashlib
import heapq
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

from eavdash.data.audio import reading as audio
from eavdash.data.cache import videos
from eavdash.data.recording import split_item, stamp
from eavdash.data.video.decoding import is_still, open_video
from eavdash.data.video.muxing import (
    CANNOT_WRITE,
    RATE,
    SAME_TIME,
    Cut,
    copied_packets,
    cut_sound,
    encoded_packets,
    is_browser_codec,
    key_frame_before,
    packet_order,
    sound_packets,
    sound_track,
)
from eavdash.data.video.upright import browsers_show
from eavdash.errors import DataError
from eavdash.store.private import private_file, private_folder

VERSION = 2  # increment it when the same recordings give different files
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif")  # supported by browsers


@dataclass(frozen=True)
class Playable:
    """A file to play: ``media`` (a video if ``moving``, else a sound) from ``offset`` seconds on, with ``image``."""

    media: Path | None = None
    moving: bool = False
    offset: float = 0.0
    image: Path | None = None


def playable(pictures: Cut | None, sound: Cut | None, cache: Path) -> Playable:
    """Return the files that play these segments in sync, made in ``cache``/videos if necessary.

    A still image in ``pictures`` is shown with the sound. Without ``sound`` the video's own track is played.

    Raises:
        RecordingError: a file cannot be decoded.
        DataError: a file cannot be written.
    """
    image = None
    if pictures is not None and split_item(pictures.path)[1] is None:
        with open_video(pictures.path) as (container, stream):
            if is_still(container):
                image, pictures = _image(pictures.path, cache), None
            elif (
                _plays_in_browsers(container, stream)
                and browsers_show(pictures.path)
                and (sound is None or sound.path == pictures.path)
            ):
                return Playable(Path(pictures.path), True, pictures.start)
    if pictures is not None:
        return _muxed(pictures, sound, cache)
    if sound is None:
        return Playable(image=image)
    cut, rate = sound, audio.open_sound(sound.path).rate
    wave = _cached_file(
        cache,
        ".wav",
        [cut],
        lambda path: soundfile.write(path, np.clip(cut_sound(cut, 0, rate), -1, 1), rate, "PCM_16"),
    )
    return Playable(wave, image=image)


def _plays_in_browsers(container: Any, stream: Any) -> bool:
    """True if every browser plays the file, with times from the first picture."""
    sound = {s.codec_context.name for s in container.streams.audio if s.codec_context is not None}
    begin = float(stream.start_time * stream.time_base) if stream.start_time is not None else 0.0
    if abs(begin) > SAME_TIME:
        return False
    if Path(container.name).suffix.lower() == ".webm":
        return stream.codec_context.name in ("vp8", "vp9", "av1") and sound <= {"opus", "vorbis"}
    return "mp4" in container.format.name and is_browser_codec(stream) and sound <= {"aac", "mp3", "mp3float"}


def _muxed(pictures: Cut, sound: Cut | None, cache: Path) -> Playable:
    base = key_frame_before(pictures)
    lead = 0.0 if base is None else pictures.start - base

    def write(path: Path) -> None:
        wave = cut_sound(sound, lead, RATE) if sound is not None else sound_track(pictures, lead)
        # The index comes first, so that playback can begin before the file is complete.
        with av.open(str(path), "w", options={"movflags": "faststart"}) as out:
            voice = out.add_stream("aac", rate=RATE, layout="mono") if wave is not None else None
            packets = encoded_packets(out, pictures) if base is None else copied_packets(out, pictures, base)
            for packet in heapq.merge(packets, sound_packets(voice, wave), key=packet_order):
                out.mux(packet)

    return Playable(_cached_file(cache, ".mp4", [pictures, sound], write), True, lead)


def _image(path: str, cache: Path) -> Path:
    """The image itself, or a PNG of it."""
    if Path(path).suffix.lower() in IMAGES:
        return Path(path)

    def write(to: Path) -> None:
        with open_video(path) as (container, stream):
            next(container.decode(stream)).to_image().save(to)

    return _cached_file(cache, ".png", [Cut(path, 0.0, 0.0)], write)


def _cached_file(cache: Path, suffix: str, cuts: Sequence[Cut | None], write: Callable[[Path], None]) -> Path:
    """The file in the cache, written under a temporary name if it does not exist; unused copies make room for it."""
    content = [VERSION, *((cut, stamp(cut.path)) for cut in cuts if cut is not None)]
    folder = cache / videos.FOLDER
    file = folder / f"{hashlib.sha256(repr(content).encode()).hexdigest()[:32]}{suffix}"
    if file.exists():
        videos.mark_used(file)
        videos.trim(folder)
        return file
    temporary = file.with_name(f".{file.stem}.{os.getpid()}-{threading.get_ident()}{suffix}")
    try:
        private_folder(cache, videos.FOLDER)
        write(private_file(temporary))
        temporary.replace(file)
        videos.trim(folder)
    except OSError as error:  # FFmpeg's errors are OSErrors if the system has a number for them
        if isinstance(error, av.error.FFmpegError) and error.errno not in CANNOT_WRITE:
            raise
        raise DataError.at(
            file,
            expected="a writable file",
            found=error.strerror or str(error),
            remedy="free some disk space or fix the permissions",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return file
