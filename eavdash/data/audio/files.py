"""Sound files: WAV, FLAC, OGG, MP3, AIFF and the other formats that libsndfile reads.

In: a path. Out: a :class:`~eavdash.data.audio.samples.Sound`. Delegated to soundfile: decoding. libsndfile ignores that
a file was cut short, which is detected here from the lengths that the file itself states; and where a file states none,
it guesses: then the sound is left to track.py, which counts the packets.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import soundfile

from eavdash.data.audio.mp3 import states_length
from eavdash.data.audio.samples import BLOCK, Sound, truncated
from eavdash.data.audio.track import packet_seconds
from eavdash.data.recording import per_file, unreadable
from eavdash.errors import RecordingError
from eavdash.store.readable import check_readable, open_readable

#: Suffixes of files that only libsndfile is expected to read: its error is the one to show.
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()} | {".aif", ".aifc", ".oga", ".opus", ".snd"}
#: Sizes from which on they mean "unknown", as in files written to a pipe: recorders write some number near 2**31 or
#: 2**32, less their header.
_UNKNOWN = ((2**31 - 2**12, 2**31), (2**32 - 2**12, 2**32), (2**63 - 2**12, 2**64))
#: libsndfile's log of a container whose sound is longer than the file.
_CUT = re.compile(r"(?:SSND|Data Size|Riff size|riff) *: (\d+) \(should be (\d+)\)")
_OGG_PAGE, _OGG_FLAGS = 27, 5  # bytes of a page's header, the last of which counts its segments; offset of its flags
_OGG_FIRST, _OGG_LAST = 2, 4  # flags of a stream's first and last page
_OGG_TAIL = 2**16 + 2**12  # bytes: more than a page of Ogg
#: Samples that a decoder may leave out of an MP3 at both ends: the encoder's delay and padding.
_PADDING = 4 * 1152
#: Samples before one of an MP3 that may be needed to decode it: frames continue in the bytes of those before them, and
#: are silent without these.
_RESERVOIR = 32 * 1152
_COUNTLESS = 2**62  # samples: libsndfile says 2**63 - 1 where a file states no number


class UnknownFormatError(RecordingError):
    """libsndfile does not support the format; another decoder may."""


def open_file(path: str) -> Sound | None:
    """Open a file that libsndfile reads; None if libsndfile can only guess its length.

    Raises:
        UnknownFormatError: libsndfile does not read it.
        RecordingError: it is shorter than its header promises.
    """
    found = _header(path)
    return Sound(path, *found, partial(_blocks, path)) if found else None


@per_file(4096)
def _header(path: str) -> tuple[int, int, int] | None:
    """Rate, length in samples and number of channels."""
    try:
        marked = _check_complete(path)
        with soundfile.SoundFile(_name(path)) as file:
            rate, length, channels = file.samplerate, file.frames, file.channels
            container, codec, log = file.format, file.subtype, file.extra_info
            check_readable(path)  # not replaced by a link before it was opened
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        raise unreadable(path, "a sound file", error, UnknownFormatError) from error
    if container != "WAV":
        for stated, rest in _CUT.findall(log):
            if int(stated) > int(rest) and not _is_unknown(int(stated)):
                raise truncated(path, f"{stated} bytes", rest)
    if not marked or not 0 < length < _COUNTLESS:
        return None
    counted = packet_seconds(path) if codec.startswith("MPEG") else None
    if counted is not None:  # None: also if FFmpeg does not read it
        more = round(counted * rate) - length
        if more and not (0 < more <= _PADDING and container != "WAV" and states_length(path)):
            return None
    return rate, length, channels


def _blocks(path: str, first: int, last: int) -> Iterator[np.ndarray]:
    try:
        check_readable(path)
        with soundfile.SoundFile(_name(path)) as file:
            check_readable(path)
            most = max(1, BLOCK // file.channels)
            before = _RESERVOIR if file.subtype.startswith("MPEG") else 0
            if file.seekable():
                file.seek(max(0, first - before))
            else:  # as in GSM
                _skip(file, first, most)
            while first < last:
                # soundfile seeks after each read, so that the next block of an MP3 begins like a part of it.
                lead = min(first, before)
                if before:
                    file.seek(first - lead)
                samples = file.read(lead + min(last - first, most), "float32", always_2d=True)[lead:]
                if not len(samples):
                    raise truncated(path, f"{last} samples", f"{first}")
                first += len(samples)
                yield samples
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        raise unreadable(path, "readable samples", error) from error


def _skip(file: soundfile.SoundFile, count: int, most: int) -> None:
    while count > 0:
        count -= len(file.read(min(count, most), "float32")) or count


def _name(path: str) -> str | bytes:
    """The path as soundfile accepts it: as bytes if it is not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def _check_complete(path: str) -> bool:
    """Reject truncated files, as libsndfile would read the rest without an error; False: it cannot know the end."""
    with open_readable(path) as file:
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:] == b"WAVE":
            _check_chunks(path, file, 4, "little")
        elif head[:4] == b"caff":
            file.seek(8)
            _check_chunks(path, file, 8, "big")
        elif head[:4] == b"OggS":
            return _check_ogg(path, file)
    return True


def _is_unknown(size: int) -> bool:
    return not size or any(low <= size <= high for low, high in _UNKNOWN)


def _check_chunks(path: str, file: BinaryIO, width: int, order: Literal["little", "big"]) -> None:
    """Check that the data chunk ends within the file; sizes have ``width`` bytes."""
    size = Path(path).stat().st_size
    while len(head := file.read(4 + width)) == 4 + width:
        length = int.from_bytes(head[4:], order)
        rest = size - file.tell()
        if head[:4] == b"data":
            if length > rest and not _is_unknown(length):
                raise truncated(path, f"{length} bytes of samples", f"{rest}")
            return
        if length > rest:
            break
        file.seek(length + (length % 2 if width == 4 else 0), 1)  # chunks of a WAV are padded to even lengths
    raise truncated(path, "a data chunk", "none")


def _check_ogg(path: str, file: BinaryIO) -> bool:
    """Check that the last page is complete; False if it is not marked as the last one, or if files were joined."""
    file.seek(max(0, Path(path).stat().st_size - _OGG_TAIL))
    tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    table = page[_OGG_PAGE : _OGG_PAGE + page[_OGG_PAGE - 1]] if len(page) >= _OGG_PAGE else b""
    if not page.startswith(b"OggS") or not table or len(page) < _OGG_PAGE + page[_OGG_PAGE - 1] + sum(table):
        raise truncated(path, "a complete last page", "a part of one")
    return bool(page[_OGG_FLAGS] & _OGG_LAST) and not _is_joined(file)


def _is_joined(file: BinaryIO) -> bool:
    """True if a stream begins after the content of another: libsndfile reads the first one only."""
    file.seek(0)
    content = False
    while len(head := file.read(_OGG_PAGE)) == _OGG_PAGE and head[:4] == b"OggS":
        begins = bool(head[_OGG_FLAGS] & _OGG_FIRST)
        if begins and content:
            return True
        content = content or not begins
        file.seek(sum(file.read(head[_OGG_PAGE - 1])), 1)
    return False
