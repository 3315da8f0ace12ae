"""EAV's MATLAB v5 files: the shape of the EEG, without loading it, and the label matrix.

In: ``subjectN_eeg.mat`` or ``subjectN_eeg_label.mat``. Out: a shape, or the trials' conditions and emotions. Delegated
to ``scipy.io``; a truncated file with an intact header, which it does not detect, is detected here from the lengths
that the file itself states.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import scipy.io

from eavdash.config.limits import ARRAY_VALUES, unfolds
from eavdash.errors import EavdashError, OutsideError, RecordingError
from eavdash.store.quoting import reason_of
from eavdash.store.readable import open_readable

#: Order of the emotions in the label matrix: row 2i is listening to emotion i, row 2i + 1 speaking with emotion i.
EMOTIONS = ("Neutral", "Sadness", "Anger", "Happiness", "Calmness")
CONDITIONS = ("Listening", "Speaking")
EEG_CHANNELS = 30
_HEADER = 128  # bytes before the first data element
#: Classes of arrays of numbers, the types in which their elements may be stored, and the flag of complex ones (MATLAB's
#: MAT-file format, tables 1-1 and 1-3).
_NUMERIC, _STORED, _COMPLEX = range(6, 16), frozenset({1, 2, 3, 4, 5, 6, 7, 9, 12, 13}), 0x800
_NUMBERS = frozenset({"double", "single", "logical"} | {f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)})
_COMPRESSED, _ENOUGH = 15, 4096  # bytes of an element that contain everything before its values


def mat_arrays(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Read the shape of each array of numbers in a .mat file, from its headers alone.

    Raises:
        RecordingError: it is missing, not MATLAB v5, damaged or truncated, holds complex numbers, or is too large.
    """
    return {name: shape for name, (shape, kind) in mat_variables(path).items() if is_numeric(kind)}


def is_numeric(kind: str) -> bool:
    """True for MATLAB's classes of numbers."""
    return kind in _NUMBERS


def mat_variables(path: str | Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Read the shape and MATLAB's class of each variable in a .mat file, from its headers alone.

    Raises:
        RecordingError: as :func:`mat_arrays`.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise _unreadable(path, OSError("not a file but a folder, a pipe or a device"))  # opening a pipe would block
    try:
        with open_readable(path) as file:
            if wrong := storage_problem(file):  # first: SciPy unfolds 128 kB at a time to find the headers
                raise ValueError(wrong)
            file.seek(0)
            found = scipy.io.whosmat(file)  # type: ignore[arg-type]  # takes files too
            variables = {name: (tuple(map(int, shape)), str(kind)) for name, shape, kind in found}
            missing = _missing_bytes(file)
    except OutsideError:
        raise
    except Exception as error:  # scipy raises many errors for damaged bytes (ValueError, TypeError, zlib.error ...)
        raise _unreadable(path, error) from error
    if missing:
        raise RecordingError.at(
            path,
            expected="a complete file",
            found=f"one that ends {missing} bytes too early",
            remedy="copy the file from the dataset again",
        )
    return variables


def read_array(path: str | Path, name: str) -> np.ndarray:
    """Read one of the arrays that :func:`mat_arrays` lists, as stored.

    Raises:
        RecordingError: the file cannot be read.
    """
    try:
        with open_readable(path) as file:
            return np.asarray(scipy.io.loadmat(file, variable_names=[name])[name])  # type: ignore[arg-type]  # takes files too
    except OutsideError:
        raise
    except Exception as error:  # as in mat_arrays
        raise _unreadable(Path(path), error) from error


def label_of(row: int) -> tuple[str, str]:
    """Condition and emotion of a row (from 0) of the label matrix."""
    return CONDITIONS[row % 2], EMOTIONS[row // 2]


def read_labels(path: Path) -> list[tuple[str, str]]:
    """Read condition and emotion of every trial from a label file: one-hot, (10 rows, trial).

    Raises:
        RecordingError: it cannot be read, has another shape, or is not one-hot.
    """
    remedy = "copy the label file from the dataset again"
    matrices = {name: shape for name, shape in mat_arrays(path).items() if len(shape) == 2}
    name = "label" if "label" in matrices else next(iter(matrices), "")
    rows = len(EMOTIONS) * len(CONDITIONS)
    if not name or matrices[name][0] != rows or matrices[name][1] == 0:
        found = f"shape {matrices[name]}" if name else "no matrix of numbers"
        raise RecordingError.at(path, expected=f"a label matrix of shape ({rows}, trials)", found=found, remedy=remedy)
    matrix = read_array(path, name)
    ones = (matrix != 0).sum(axis=0)
    wrong = np.flatnonzero((ones != 1) | ~np.isin(matrix, (0, 1)).all(axis=0))
    if len(wrong):
        raise RecordingError.at(
            path,
            expected="one-hot labels, a single 1 for each trial",
            found=f"{ones[wrong[0]]} entries set for trial {wrong[0] + 1} ({len(wrong)} such trials)",
            remedy=remedy,
        )
    return [label_of(row) for row in matrix.argmax(axis=0)]


def eeg_shape(path: Path) -> tuple[int, int, int]:
    """Read (time, channel, trial) of the only three-dimensional array of an EAV EEG file; only headers are read.

    Raises:
        RecordingError: it cannot be read or does not contain exactly one such array of 30 channels.
    """
    cubes = [shape for shape in mat_arrays(path).values() if len(shape) == 3]
    if len(cubes) != 1 or cubes[0][1] != EEG_CHANNELS or 0 in cubes[0]:
        raise RecordingError.at(
            path,
            expected=f"one array of shape (time, {EEG_CHANNELS} channels, trials)",
            found=" and ".join(map(str, cubes)) or "no three-dimensional array",
            remedy="copy the file from the dataset again",
        )
    time, channels, trials = cubes[0]
    return time, channels, trials


def _unreadable(path: Path, error: Exception) -> EavdashError:
    found = "MATLAB v7.3" if isinstance(error, NotImplementedError) else reason_of(error, path)
    if isinstance(error, FileNotFoundError):
        found = "no file"
    return RecordingError.at(
        path,
        expected="a readable MATLAB v5 file",
        found=found,
        remedy="save it in MATLAB with the option -v7"
        if found == "MATLAB v7.3"
        else "copy the file from the dataset again",
    )


def _missing_bytes(file: BinaryIO) -> int:
    """Number of bytes missing up to the stated end of the last data element; 0 if complete (or MATLAB v4)."""
    size = file.seek(0, 2)
    file.seek(0)
    marker = file.read(_HEADER)[-2:]
    if marker not in (b"IM", b"MI"):
        return 0
    order = "<" if marker == b"IM" else ">"
    end = _HEADER
    while end < size:
        file.seek(end)
        tag = file.read(8)
        if len(tag) < 8:
            return 8 - len(tag)
        end += 8 + struct.unpack(f"{order}II", tag)[1]
    return max(0, end - size)


def storage_problem(file: BinaryIO, most: int = ARRAY_VALUES) -> str:
    """The fault in a file's storage of arrays of at most ``most`` numbers, or "" (also if it is not MATLAB v5).

    SciPy does not validate the types of elements: one damaged byte would crash the process. Nor does it limit what a
    compressed element unfolds to.
    """
    order = {b"IM": "<", b"MI": ">"}.get(file.read(_HEADER)[-2:])
    while order and len(tag := file.read(8)) == 8:
        kind, size = struct.unpack(f"{order}II", tag)
        following = file.tell() + size
        body = file.read(min(size, _ENOUGH))
        if kind == _COMPRESSED:
            body = zlib.decompressobj().decompress(body, _ENOUGH)
            if len(body) >= 8 and unfolds(size, declared := struct.unpack_from(f"{order}I", body, 4)[0]):
                return _too_much(declared, size)
            body = body[8:]
        if wrong := _invalid_storage(body, order, size, most):
            return wrong
        file.seek(following)
    return ""


def _too_much(declared: int, packed: int) -> str:
    return f"{packed:,} bytes that unfold to {declared:,}"


def _invalid_storage(body: bytes, order: str, packed: int, most: int) -> str:
    """The fault of one element, from its first bytes; ``packed``: its size in the file."""
    at = 0
    for part in ("flags", "dimensions", "name", "values"):
        if at + 16 > len(body):
            return ""
        kind, size, flags = struct.unpack_from(f"{order}III", body, at)
        if part == "flags" and flags & 0xFF not in _NUMERIC:
            return ""
        if part == "flags" and flags & _COMPLEX:
            return "complex numbers"
        if part == "dimensions":
            count = math.prod(struct.unpack_from(f"{order}{min(size, len(body) - at - 8) // 4}I", body, at + 8))
            if count > most:
                return f"an array of {count:,} numbers, more than {most:,}"
        if part == "values" and not kind >> 16 and unfolds(packed, size):
            return _too_much(size, packed)
        if part == "values" and (stored := kind & 0xFFFF if kind >> 16 else kind) not in _STORED:
            return f"numbers stored as type {stored}, which does not exist"
        # The flags always take 16 bytes, as in SciPy; small elements are stored in their tag.
        at += 16 if part == "flags" else 8 if kind >> 16 else 8 + -(-size // 8) * 8
    return ""
