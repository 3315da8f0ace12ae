"""A recording's file: its path and item number, its stamp, and the sample range of a segment.

In: a path of the trial table (``x.mat#41`` names item 41 of a file with many: MATLAB's .mat, EAV's published .pkl,
DEAP's .dat) and start and stop in seconds, None or NaN for the file's own. Out: checked paths, stamps and sample
numbers, or a :class:`RecordingError` in one sentence.
"""

from __future__ import annotations

import math
import re
import stat
from pathlib import Path

from eavdash.errors import OutsideError, RecordingError
from eavdash.store.readable import check_readable, reason_of

#: Seconds by which a stop may exceed the end of the file: tables contain rounded times.
END_TOLERANCE = 0.05
_LONGEST = 1e9  # seconds, longer than any recording: an impossible time must not become an infinite sample number
_ITEM = re.compile(r"(.+\.(?:mat|pkl|dat))#([0-9]{1,9})", re.IGNORECASE | re.DOTALL)


def split_item(path: str) -> tuple[str, int | None]:
    """Split ``x.mat#41``, ``x.pkl#41`` or ``x.dat#41`` into file and item number (from 1); other paths give (path,
    None).
    """
    match = _ITEM.fullmatch(path)
    return (match[1], int(match[2])) if match else (path, None)


def stamp(path: str) -> tuple[int, int]:
    """Return size in bytes and modification time in nanoseconds of a recording's file.

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
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
        raise RecordingError.at(file, expected="a recording", found=what, remedy="fix the path in the trial table")
    if found.st_size == 0:
        raise RecordingError.at(file, expected="a recording", found="a file of 0 bytes", remedy="copy it again")
    return found.st_size, found.st_mtime_ns


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
