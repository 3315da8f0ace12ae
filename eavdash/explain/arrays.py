"""Arrays of a result (.npz), whose checksum is in the record beside them (.json).

In: arrays by name. Out: the file, or the open file. Needs neither torch nor the recordings.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from eavdash.errors import IntegrityError
from eavdash.store.atomic import sha256, write_atomic
from eavdash.store.regular import open_regular


def write_arrays(file: Path, arrays: Mapping[str, Any]) -> str:
    """Write arrays and return the checksum of the file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomic(file, lambda opened: opened.write(buffer.getbuffer()))
    return sha256(file)


def check_arrays(file: Path, checksum: str, record: Path, remedy: str) -> None:
    """Require the checksum that the ``record`` has.

    Raises:
        IntegrityError: it is another one, or the file cannot be read.
    """
    with IntegrityError.from_os(file, expected="a file that can be read", remedy=remedy):
        found = sha256(file)
    if found != checksum:
        expected = f"the checksum in {record.name}"
        raise IntegrityError.at(file, expected=expected, found="a different checksum", remedy=remedy)


@contextmanager
def open_arrays(file: Path, remedy: str) -> Iterator[Any]:
    """Open a file for the block, which gets an array by its name.

    Raises:
        IntegrityError: there are no arrays in it, or not those that the block takes.
    """
    try:
        with open_regular(file) as source, np.load(source, allow_pickle=False) as stored:
            yield stored
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise IntegrityError.at(file, expected="arrays", found=str(error), remedy=remedy) from error
