"""A copy of a video that every browser plays.

In: the path of a video. Out: the file itself, or an H.264 copy in the cache. Delegated to PyAV: decoding and encoding.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import av

from eavdash.data.recording import stamp
from eavdash.data.video import is_still, open_video
from eavdash.errors import DataError

_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES)


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
