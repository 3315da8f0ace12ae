"""Reading of files that may be of any kind: a pipe would wait for a writer, a device never ends.

In: paths below the checkpoints folder, which may be a copy of somebody else's. Out: open files, and the ends of long
ones; whatever a file contains, no more than :data:`BOUND` bytes of it are held.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

BOUND = 16_000_000  # bytes of a file's end that are read at most
LINE = 10_000  # bytes after which a line is broken


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading; a link to one counts as one.

    Raises:
        OSError: it cannot be opened, or is a folder, a pipe or a device (which never blocks).
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def require_regular(path: Path) -> Path:
    """Return the path of a regular file, for a library that opens it by its name.

    Raises:
        OSError: as :func:`open_regular`.
    """
    open_regular(path).close()
    return path


def read_end(path: Path, size: int = BOUND) -> tuple[bytes, bool]:
    """Return the last ``size`` bytes of a file from the start of a line, and if that is the whole file.

    A single line that is longer is cut. A missing file is empty.

    Raises:
        OSError: as :func:`open_regular`.
    """
    try:
        file = open_regular(path)
    except FileNotFoundError:
        return b"", True
    with file:
        whole = os.fstat(file.fileno()).st_size
        file.seek(max(0, whole - size))
        data = file.read(size)
    return (data, True) if whole <= size else (data.partition(b"\n")[2] or data, False)


def last_lines(path: Path, count: int) -> list[str]:
    """Return the last lines of a text file, as far as they are within its last :data:`BOUND` bytes.

    Raises:
        OSError: as :func:`open_regular`.
    """
    size = min(BOUND, 200 * count)
    while True:
        data, whole = read_end(path, size)
        lines = data.decode(errors="replace").split("\n")
        lines = lines[: len(lines) - (not lines[-1])][-count:]
        if whole or size == BOUND or len(lines) == count:
            return [line[-LINE:] for line in lines]
        size = min(BOUND, 8 * size)


def pieces(path: Path) -> Iterator[str]:
    """Yield the lines of a text file with their ends; one that is longer than :data:`LINE` comes in pieces.

    Raises:
        OSError: as :func:`open_regular`.
    """
    with open_regular(path) as file:
        while line := file.readline(LINE):
            yield line.decode(errors="replace")
