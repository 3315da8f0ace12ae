"""What every reader needs of a recording's file: its name, its identity, and the stretch of it that is asked for.

In: a path of the trial table (``x.mat#41`` names item 41 of a file that holds many: MATLAB's .mat, EAV's published
.pkl, DEAP's .dat) and start and stop in seconds, None or NaN for the file's own. Out: checked paths, stamps and sample
numbers, or a :class:`RecordingError` in one sentence.
"""

from __future__ import annotations

import math
import re
import stat
from pathlib import Path

from eavdash.errors import EavdashError, RecordingError

#: A stop may pass the end of the file by this much (seconds): tables are written with rounded times.
END_TOLERANCE = 0.05
_LONGEST = 1e9  # seconds: no recording is as long; an impossible time must not become an infinite sample number
_ITEM = re.compile(r"(.+\.(?:mat|pkl|dat))#([0-9]{1,9})", re.IGNORECASE | re.DOTALL)


def split_item(path: str) -> tuple[str, int | None]:
    """The file and the number (from 1) of ``x.mat#41``, ``x.pkl#41`` and ``x.dat#41``; (path, None) for other paths."""
    match = _ITEM.fullmatch(path)
    return (match[1], int(match[2])) if match else (path, None)


def stamp(path: str) -> tuple[int, int]:
    """Size in bytes and modification time in nanoseconds of a recording's file.

    Raises:
        RecordingError: there is no such file, it is not a file (a pipe would be waited for without end), or is empty.
    """
    file = Path(split_item(path)[0])
    try:
        found = file.stat()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
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
    """``value`` as a float, None where it is None or NaN (an empty cell of the trial table)."""
    return None if value is None or math.isnan(value) else float(value)


def sample_range(path: str, length: int, rate: float, start: float | None, stop: float | None) -> tuple[int, int]:
    """First and one-past-last sample of the seconds ``start`` to ``stop`` of ``length`` samples at ``rate`` Hz.

    Raises:
        RecordingError: the recording is empty, or does not contain the stretch.
    """
    start, stop = seconds(start), seconds(stop)
    first = 0 if start is None else _sample(start, rate)
    last = length if stop is None else _sample(stop, rate)
    if length <= 0:
        raise RecordingError.at(path, expected="a recording", found="one without a sample", remedy="copy it again")
    if not 0 <= first < min(last, length) or last > length + max(1, round(END_TOLERANCE * rate)):
        raise RecordingError.at(
            path,
            expected=f"the stretch from {start or 0:g} s to {last / rate:g} s",
            found=f"a recording of {length / rate:g} s",
            remedy="correct start and stop in the trial table, or copy the file again if it was cut short",
        )
    return first, min(last, length)


def _sample(time: float, rate: float) -> int:
    return round(min(max(time, -_LONGEST), _LONGEST) * rate)


def unreadable(path: str, expected: str, error: Exception) -> EavdashError:
    """The error for a file that its decoder refuses, whatever the decoder raised."""
    found = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
    return RecordingError.at(
        path, expected=expected, found=found, remedy="copy the file again, or convert it to a format that is read"
    )
