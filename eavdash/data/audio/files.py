"""Sound files: WAV, FLAC, OGG, MP3, AIFF and the other formats that libsndfile reads.

In: a path. Out: a :class:`~eavdash.data.audio.samples.Sound`. Delegated to soundfile: decoding. Truncated files, which
libsndfile ignores, are detected here from the lengths that the file itself states.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from eavdash.data.audio.samples import BLOCK, Sound, truncated
from eavdash.data.recording import unreadable
from eavdash.errors import RecordingError
from eavdash.store.readable import check_readable, open_readable

#: Suffixes of files that only libsndfile is expected to read: its error is the one to show.
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()} | {".aif", ".aifc", ".oga", ".opus", ".snd"}
_UNKNOWN_LENGTH = (0, 0xFFFFFFFF)  # of a WAV written to a pipe
_OGG_TAIL = 2**16 + 2**12  # bytes: more than a page of Ogg
_OGG_LAST = 4  # flag of a stream's last page


class UnknownFormatError(RecordingError):
    """libsndfile does not support the format; another decoder may."""


def open_file(path: str) -> Sound:
    """Open a file that libsndfile reads.

    Raises:
        RefusedError: libsndfile does not read it.
        RecordingError: it is shorter than its header promises.
    """
    try:
        _check_complete(path)
        with soundfile.SoundFile(_name(path)) as file:
            rate, length, channels = file.samplerate, file.frames, file.channels
            check_readable(path)  # not replaced by a link before it was opened
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        raise unreadable(path, "a sound file", error, UnknownFormatError) from error
    return Sound(path, rate, length, channels, partial(_blocks, path))


def _blocks(path: str, first: int, last: int) -> Iterator[np.ndarray]:
    try:
        check_readable(path)
        with soundfile.SoundFile(_name(path)) as file:
            check_readable(path)
            file.seek(first)
            while first < last:
                samples = file.read(min(last - first, max(1, BLOCK // file.channels)), "float32", always_2d=True)
                if not len(samples):
                    raise truncated(path, f"{last} samples", f"{first}")
                first += len(samples)
                yield samples
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        raise unreadable(path, "readable samples", error) from error


def _name(path: str) -> str | bytes:
    """The path as soundfile accepts it: as bytes if it is not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def _check_complete(path: str) -> None:
    """Reject truncated files: libsndfile would read the rest without an error."""
    with open_readable(path) as file:
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:] == b"WAVE":
            _check_wav(path, file)
        elif head[:4] == b"OggS":
            _check_ogg(path, file)


def _check_wav(path: str, file: BinaryIO) -> None:
    size = Path(path).stat().st_size
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"data":
            rest = size - file.tell()
            if length not in _UNKNOWN_LENGTH and length > rest:
                raise truncated(path, f"{length} bytes of samples", f"{rest}")
            return
        file.seek(length + length % 2, 1)  # chunks are padded to even lengths
    raise truncated(path, "a data chunk", "none")


def _check_ogg(path: str, file: BinaryIO) -> None:
    """Check that the last page of an Ogg stream is marked as such."""
    file.seek(max(0, Path(path).stat().st_size - _OGG_TAIL))
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0 or at + 5 >= len(tail) or not tail[at + 5] & _OGG_LAST:
        raise truncated(path, "a last page", "none")
