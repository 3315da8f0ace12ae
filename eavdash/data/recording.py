"""A recording's file: its path and item number, its stamp, and the sample range of a segment.

In: a path of the trial table (``x.mat#41`` names item 41 of a file with many: MATLAB's .mat, EAV's published .pkl,
DEAP's .dat, epochs in .set and .fif) and start and stop in seconds, None or NaN for the file's own. Out: checked paths,
stamps and sample numbers, or a :class:`RecordingError` in one sentence.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from eavdash.errors import OutsideError, RecordingError
from eavdash.store.quoting import reason_of
from eavdash.store.readable import check_readable

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds by which a stop may exceed the end of the file: tables contain rounded times.
END_TOLERANCE = 0.05
_LONGEST = 1e9  # seconds, longer than any recording: an impossible time must not become an infinite sample number
_ITEM = re.compile(r"(.+\.(?:mat|pkl|dat|set|fif))#([0-9]{1,9})", re.IGNORECASE | re.DOTALL)
#: Recordings that are folders (EGI's, MEF3's), and the file that EGI's must have.
FOLDERS, _EGI_SAMPLES = frozenset({".mff", ".mefd"}), "signal1.bin"
_MOST_FILES = 10_000  # of such a folder


def split_item(path: str) -> tuple[str, int | None]:
    """Split ``x.mat#41`` into file and item number (from 1); also .pkl, .dat, .set and .fif. Other paths give (path,
    None).
    """
    match = _ITEM.fullmatch(path)
    return (match[1], int(match[2])) if match else (path, None)


def stamp(path: str) -> tuple[int, int]:
    """Return size in bytes and modification time in nanoseconds of a recording's file, or of a folder's files.

    Raises:
        OutsideError: it may not be read.
        RecordingError: there is no such file, it is not a regular file (opening a pipe would block), or it is empty.
    """
    file = Path(split_item(path)[0])
    check_readable(file)
    try:
        found = file.stat()
    except (OSError, ValueError) as error:  # ValueError: an invalid name
        reason = getattr(error, "strerror", None) or str(error)
        raise RecordingError.at(
            file, expected="a recording", found=reason, remedy="fix the path in the trial table"
        ) from None
    if stat.S_ISDIR(found.st_mode) and file.suffix.lower() in FOLDERS:
        return _folder_stamp(file)
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
        raise RecordingError.at(file, expected="a recording", found=what, remedy="fix the path in the trial table")
    if found.st_size == 0:
        raise RecordingError.at(file, expected="a recording", found="a file of 0 bytes", remedy="copy it again")
    return found.st_size, found.st_mtime_ns


def is_there(path: str) -> bool:
    """True if a recording's file, or its folder, exists."""
    folder = Path(path).suffix.lower() in FOLDERS and os.path.isdir(path)  # noqa: PTH112 -- returns False, as below
    return folder or os.path.isfile(path)  # noqa: PTH113 -- returns False instead of raising


def samples_file(path: str) -> Path:
    """The file with a recording's samples: the recording itself, or the largest one of a folder."""
    file = Path(split_item(path)[0])
    if file.suffix.lower() not in FOLDERS or not file.is_dir():
        return file
    return max(folder_files(file), key=lambda one: one.stat().st_size, default=file)


def folder_files(folder: Path) -> list[Path]:
    """The files of a recording that is a folder, in order of their names; hidden ones are no part of it."""
    files = (one for one in islice(folder.rglob("*"), _MOST_FILES) if one.is_file() and not one.name.startswith("."))
    return sorted(files)


def _folder_stamp(folder: Path) -> tuple[int, int]:
    files = folder_files(folder)
    stats = [one.stat() for one in files]
    egi = folder.suffix.lower() == ".mff"
    if not sum(found.st_size for found in stats) or (egi and not (folder / _EGI_SAMPLES).is_file()):
        names = ", ".join(one.name for one in files[:5])
        raise RecordingError.at(
            folder,
            expected=f"a folder with {_EGI_SAMPLES}, EGI's file of samples" if egi else "a folder with a recording",
            found=f"no such file among {names}" if names else "an empty folder",
            remedy="copy the whole folder again",
        )
    return sum(found.st_size for found in stats), max(found.st_mtime_ns for found in stats)


class PerFile(Generic[P, T]):
    """A function of a recording's path that keeps its last results until the file changes."""

    def __init__(self, function: Callable[Concatenate[str, P], T], count: int) -> None:
        self._kept: Any = lru_cache(count)(lambda path, _stamp, *further, **named: function(path, *further, **named))
        self.cache_info, self.cache_clear = self._kept.cache_info, self._kept.cache_clear

    def __call__(self, path: str, *further: P.args, **named: P.kwargs) -> T:
        result: T = self._kept(path, stamp(path), *further, **named)
        return result


_CONTENTS: list[Callable[[], None]] = []


def per_file(count: int) -> Callable[[Callable[Concatenate[str, P], T]], PerFile[P, T]]:
    """Decorator: keep the last ``count`` results of a function until the file, its first argument, changes.

    A single result is taken for the file's content, up to half a gigabyte, which :func:`release` drops. The function
    also raises as :func:`stamp`.
    """

    def decorate(function: Callable[Concatenate[str, P], T]) -> PerFile[P, T]:
        kept = PerFile(function, count)
        if count == 1:
            _CONTENTS.append(kept.cache_clear)
        return kept

    return decorate


def release() -> None:
    """Release the content of the files that were read last."""
    for clear in _CONTENTS:
        clear()


def check_item(path: str, number: int | None, count: int, what: str = "trial") -> None:
    """Raise a RecordingError if a file of ``count`` items has none of this ``number`` (from 1)."""
    if not 1 <= (number or 0) <= count:
        raise RecordingError.at(
            path,
            expected=f"a {what} from 1 to {count}",
            found=f"{what} {number}",
            remedy=f"correct the number, or copy the file again if a {what} is missing from it",
        )


def seconds(value: float | None) -> float | None:
    """``value`` as a float, None for None and NaN (an empty cell of the trial table)."""
    return None if value is None or math.isnan(value) else float(value)


def sample_range(path: str, length: int, rate: float, start: float | None, stop: float | None) -> tuple[int, int]:
    """First and one-past-last sample of the seconds ``start`` to ``stop`` of ``length`` samples at ``rate`` Hz.

    Raises:
        RecordingError: the recording is empty, or does not contain the segment.
    """
    start, stop = seconds(start), seconds(stop)
    first = 0 if start is None else _sample(start, rate)
    last = length if stop is None else _sample(stop, rate)
    if length <= 0:
        raise RecordingError.at(path, expected="a recording", found="no samples", remedy="copy it again")
    if not 0 <= first < min(last, length) or last > length + max(1, round(END_TOLERANCE * rate)):
        raise RecordingError.at(
            path,
            expected=f"the segment from {start or 0:g} s to {last / rate:g} s",
            found=f"a recording of {length / rate:g} s",
            remedy="correct start and stop in the trial table, or copy the file again if it was cut short",
        )
    return first, min(last, length)


def _sample(time: float, rate: float) -> int:
    return round(min(max(time, -_LONGEST), _LONGEST) * rate)


def refuse_beyond(path: str, what: str, found: float, most: float) -> None:
    """Check what a recording's header declares, before so much is read.

    Raises:
        RecordingError: it is more than ``most``, or not a number.
    """
    if not found <= most:
        raise RecordingError.at(
            path,
            expected=f"at most {most:,} {what}",
            found=f"{found:,.15g}",
            remedy="copy the file again, cut it into shorter ones, or leave it out",
        )


def unreadable(
    path: str, expected: str, error: Exception, kind: type[RecordingError] = RecordingError
) -> RecordingError:
    """The error for a file that its decoder rejects, with the decoder's own error unless that quotes the file."""
    if isinstance(error, OutsideError):  # about a file that this one refers to
        return error
    return kind.at(
        path,
        expected=expected,
        found=reason_of(error, split_item(path)[0]),
        remedy="copy the file again, or convert it to a supported format",
    )
