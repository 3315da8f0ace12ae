"""The margins of a video that its container hides: QuickTime's clean aperture, Matroska's pixel crop.

In: an open container's path, format and video stream. Out: pixels to leave out at each side. PyAV does not pass them
on; the ``ffmpeg`` program applies them. Margins inside the coded stream (as in H.264) are applied by the decoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO

from eavdash.store.readable import open_readable

Margins = tuple[int, int, int, int]  # left, top, right, bottom in pixels

_NONE: Margins = (0, 0, 0, 0)
_MOST = 100_000  # boxes or elements looked at in one file
_WITHIN_MOV = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
_TABLE, _ENTRY = 16, 78  # bytes before the first entry of a sample table, and of a video's entry before its boxes
_SEGMENT, _CLUSTER, _TRACKS, _TRACK = 0x18538067, 0x1F43B675, 0x1654AE6B, 0xAE
_NUMBER, _VIDEO = 0xD7, 0xE0
_CROPS = (0x54CC, 0x54BB, 0x54DD, 0x54AA)  # left, top, right, bottom


def margins(path: str, container: str, stream: Any) -> Margins:
    """Return the margins that the container hides.

    Raises:
        OSError, OutsideError: it cannot be opened.
    """
    if "mp4" not in container and "matroska" not in container:
        return _NONE
    with open_readable(path) as file:
        end = file.seek(0, 2)
        return _aperture(file, end, stream) if "mp4" in container else _pixel_crop(file, end, stream.index + 1)


def _aperture(file: BinaryIO, end: int, stream: Any) -> Margins:
    """The margins around the clean aperture of the track with the stream's number."""
    track = 0
    todo = [(0, end)]
    for _ in range(_MOST):
        if not todo:
            break
        at, last = todo.pop()
        if at + 8 > last:
            continue
        file.seek(at)
        head = file.read(16)
        size, begin = int.from_bytes(head[:4]), at + 8
        if size == 1:
            size, begin = int.from_bytes(head[8:16]), at + 16
        stop = last if size == 0 else min(last, at + size)
        todo.append((max(stop, begin), last))
        kind = head[4:8]
        if kind in _WITHIN_MOV:
            todo.append((begin, stop))
        elif kind == b"tkhd":
            file.seek(begin)
            content = file.read(24)
            track = int.from_bytes(content[20:24] if content[:1] == b"\1" else content[12:16])
        elif kind == b"stsd" and track == stream.id:
            todo.append((begin + _TABLE - 8 + 8 + _ENTRY, stop))
        elif kind == b"clap" and track == stream.id:
            file.seek(begin)
            return _around(file.read(32), stream.codec_context.width, stream.codec_context.height)
    return _NONE


def _around(content: bytes, width: int, height: int) -> Margins:
    """The margins of a clean aperture: its size and the offset of its centre, as fractions."""
    numbers = [int.from_bytes(content[n : n + 4], signed=True) for n in range(0, 32, 4)]
    if len(content) < 32 or not all(numbers[1::2]):
        return _NONE
    wide, high, right, down = (Fraction(n, d) for n, d in zip(numbers[::2], numbers[1::2], strict=True))
    left, top = Fraction(width - wide) / 2 + right, Fraction(height - high) / 2 + down
    rest = width - wide - left, height - high - top
    if min(left, top, *rest) < 0:
        return _NONE
    return int(left), int(top), int(rest[0]), int(rest[1])


def _pixel_crop(file: BinaryIO, end: int, number: int) -> Margins:
    """The crop of the ``number``-th track."""
    tracks = 0
    for name, begin, stop in _elements(file, 0, end):
        for inner, first, last in _elements(file, begin, stop) if name == _SEGMENT else ():
            if inner == _CLUSTER:
                break
            for track, low, high in _elements(file, first, last) if inner == _TRACKS else ():
                tracks += track == _TRACK
                if track == _TRACK and tracks == number:
                    return _crop_of(file, low, high)
    return _NONE


def _crop_of(file: BinaryIO, begin: int, end: int) -> Margins:
    found = dict.fromkeys(_CROPS, 0)
    for name, first, last in _elements(file, begin, end):
        for crop, low, high in _elements(file, first, last) if name == _VIDEO else ():
            if crop in found and high - low <= 8:
                file.seek(low)
                found[crop] = int.from_bytes(file.read(high - low))
    left, top, right, bottom = found.values()
    return left, top, right, bottom


def _elements(file: BinaryIO, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(name, begin, end) of the elements of an EBML file between two places."""
    for _ in range(_MOST):
        file.seek(at)
        head = file.read(12)
        name = 9 - head[0].bit_length() if head and head[0] else 9  # bytes of the name
        size = 9 - head[name].bit_length() if len(head) > name and head[name] else 9
        if at >= end or name > 4 or size > 8 or len(head) < name + min(size, 12 - name):
            return
        begin = at + name + size
        length = int.from_bytes(head[name : name + size]) & (1 << 7 * size) - 1
        unknown = length == (1 << 7 * size) - 1
        at = end if unknown else min(end, begin + length)
        yield int.from_bytes(head[:name]), begin, at
