"""Folders of arrays that are made once and memory-mapped by whoever needs them.

In: a key that says everything the content depends on, and a function that writes it into an empty folder. Out: the
finished folder ``cache/<kind>/<key>``. It is written under a temporary name and renamed, so that it is there completely
or not at all; of two processes that make the same folder, the first to finish wins and both get the same content.
What lies in a cache is listed and cleared by listing.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from eavdash.errors import DataError, IntegrityError

#: Of the disk, this share of what is written stays free, and so many bytes.
MARGIN, MARGIN_BYTES = 0.05, 100 * 10**6
_WRITER = re.compile(r"\.(?P<process>\d+)-\d+@(?P<node>.+)$")
_ABANDONED = 7 * 24 * 3600.0  # seconds after which a temporary folder belongs to no living process
Content = TypeVar("Content")


def key_of(description: Any) -> str:
    """A short name for a JSON-ready description; equal descriptions, and only those, have equal names."""
    text = json.dumps(description, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def cached(cache: Path, kind: str, key: str, write: Callable[[Path], None], read: Callable[[Path], Content]) -> Content:
    """What ``read`` makes of the folder of ``key``, which ``write`` fills if it is not there or cannot be read.

    ``read`` says that a folder is damaged by raising IntegrityError.

    Raises:
        DataError: the cache cannot be written (disk full, no permission); nothing is left behind.
    """
    folder = cache / kind / key
    for attempt in range(2):
        if not folder.is_dir():
            _make(folder, write)
        try:
            content = read(folder)
            with contextlib.suppress(OSError):
                os.utime(folder)  # its last use, for whoever clears the cache
            return content
        except IntegrityError:
            if attempt:
                raise
            with _cannot_write(folder):
                discard(folder)
    raise AssertionError("unreachable")


def free_bytes(cache: Path) -> int:
    """Room on the disk of a cache, which need not be there yet."""
    folder = cache.absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    with _cannot_write(cache):
        return shutil.disk_usage(folder).free


def check_disk_space(cache: Path, needed: int) -> None:
    """Refuse to begin what cannot be finished: ``needed`` bytes, and a margin for everything else that is written.

    Raises:
        DataError: the disk has less.
    """
    free = free_bytes(cache)
    if needed and needed * (1 + MARGIN) + MARGIN_BYTES > free:
        raise DataError.at(
            cache,
            expected=f"{gigabytes(needed)} of free disk space, and some to spare",
            found=f"{gigabytes(free)}",
            remedy="free some with `eavdash cache clear` or elsewhere, or choose another disk with --checkpoints",
        )


def gigabytes(count: int) -> str:
    """A number of bytes for people: 3.1 GB, 12 MB."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}" if count < 10 * size else f"{count / size:.0f} {unit}"
    return f"{max(0, count) / 1000:.0f} kB"


class ArrayWriter:
    """Context manager that writes an .npy file row by row, so that an array larger than memory can be made.

    Rows are written, not mapped: a full disk is then an OSError rather than the end of the process.
    """

    def __init__(self, path: Path, shape: Sequence[int], dtype: Any) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.path, self.rows = path, 0

    def __enter__(self) -> ArrayWriter:
        self.file = self.path.open("wb")
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(self.file, header)
        return self

    def append(self, rows: np.ndarray) -> None:
        """Write the next rows, (n, *shape[1:])."""
        if rows.shape[1:] != self.shape[1:]:
            raise ValueError(f"rows of shape {rows.shape[1:]} in an array of {self.shape[1:]}")
        self.file.write(np.ascontiguousarray(rows, dtype=self.dtype).data)
        self.rows += len(rows)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self.file:
            if kind is None:
                if self.rows != self.shape[0]:
                    raise ValueError(f"{self.rows} rows written of {self.shape[0]}")
                self.file.flush()
                os.fsync(self.file.fileno())


def open_array(path: Path) -> np.ndarray:
    """The .npy file memory-mapped, read-only.

    Raises:
        IntegrityError: it is missing or shorter than its header says.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise IntegrityError.at(
            path, expected="a complete array", found=str(error), remedy="delete its folder: it is made again"
        ) from error


def _make(folder: Path, write: Callable[[Path], None]) -> None:
    with _cannot_write(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        temporary = folder.with_name(f".{folder.name}.{_writer_id()}")
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir()
            write(temporary)
            try:
                temporary.rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
                # Another process has finished the same content meanwhile: its folder stands.
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def discard(path: Path) -> None:
    """Delete an entry, out of other processes' sight at once. Who has its arrays mapped keeps them until it ends."""
    aside = path.with_name(f".{path.name}.gone.{_writer_id()}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.unlink()


def abandoned(path: Path) -> bool:
    """Whether a hidden file or folder is what a process that is gone has left.

    Of the processes of other machines nothing is known: what they write is given a week.
    """
    maker = _WRITER.search(path.name)
    if maker and maker["node"] == os.uname().nodename:
        return not _alive(int(maker["process"]))
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime > _ABANDONED
    return False


def _writer_id() -> str:
    """Who writes: process, thread and machine, at the end of a temporary name."""
    return f"{os.getpid()}-{threading.get_ident()}@{os.uname().nodename}"


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _sweep(parent: Path) -> None:
    """Delete what killed processes have left."""
    for path in parent.glob(".*"):
        if abandoned(path):
            discard(path)


@contextmanager
def _cannot_write(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError.at(
            folder,
            expected="a cache that can be written",
            found=error.strerror or str(error),
            remedy="free some disk space or fix the permissions, then retry",
        ) from error
