"""Folders of arrays that are written once and then memory-mapped.

In: a key that covers everything the content depends on, and a function that writes it into an empty folder. Out: the
finished folder ``cache/<kind>/<key>``. It is written under a temporary name and renamed, so that it is complete or
absent; if two processes write the same folder, the first to finish wins and both get the same content. listing.py lists
and clears a cache.
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil

from eavdash.errors import DataError, IntegrityError
from eavdash.store.private import FOLDER, close_to_others, private_folder
from eavdash.store.regular import require_regular
from eavdash.text import size

#: Disk space to keep free: this share of the bytes to be written, and a fixed number of bytes.
MARGIN, MARGIN_BYTES = 0.05, 100 * 10**6
_WRITER = re.compile(r"\.(?P<process>\d+)-\d+@(?P<node>.+)$")
_ABANDONED = 7 * 24 * 3600.0  # seconds after which a temporary folder of another machine is abandoned
Content = TypeVar("Content")


def key_of(description: Any) -> str:
    """Hash a JSON-ready description to a short key; only equal descriptions have equal keys."""
    text = json.dumps(description, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def cached(cache: Path, kind: str, key: str, write: Callable[[Path], None], read: Callable[[Path], Content]) -> Content:
    """Return ``read(folder)`` of the folder of ``key``, which ``write`` fills if it is missing or damaged.

    ``read`` raises IntegrityError if the folder is damaged.

    Raises:
        DataError: the cache cannot be written (disk full, no permission); no partial folder remains.
    """
    folder = cache / kind / key
    for attempt in range(2):
        if not folder.is_dir():
            _make(folder, write)
        try:
            content = read(folder)
            with contextlib.suppress(OSError):
                os.utime(folder)  # its last use, for clearing the cache by age
            return content
        except IntegrityError:
            if attempt:
                raise
            with _writable(folder):
                discard(folder)
    raise AssertionError("unreachable")


def free_bytes(cache: Path) -> int:
    """Free disk space for a cache, which need not exist yet."""
    folder = cache.absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    with _writable(cache):
        return shutil.disk_usage(folder).free


def check_disk_space(cache: Path, needed: int) -> None:
    """Check that the disk has ``needed`` bytes, and a margin for everything else that is written.

    Raises:
        DataError: it has less.
    """
    free = free_bytes(cache)
    wanted = int(needed * (1 + MARGIN)) + MARGIN_BYTES
    if needed and wanted > free:
        raise DataError.at(
            cache,
            expected=f"{size(wanted)} of free disk space ({size(needed)} for the windows, the rest as a margin)",
            found=f"{size(free)}",
            remedy="free some disk space (`eavdash cache clear`), or choose another disk with --checkpoints",
        )


class ArrayWriter:
    """Context manager that writes an .npy file row by row, for arrays larger than memory.

    Rows are written, not memory-mapped: a full disk then raises OSError rather than killing the process.
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
    """Memory-map an .npy file, read-only.

    Raises:
        IntegrityError: it is missing or shorter than its header states.
    """
    try:
        array: np.ndarray = np.load(require_regular(path), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise IntegrityError.at(
            path, expected="a complete array", found=str(error), remedy="delete its folder, it will be made again"
        ) from error
    return array


def _make(folder: Path, write: Callable[[Path], None]) -> None:
    with _writable(folder):
        private_folder(folder.parent.parent, folder.parent.name)
        _sweep(folder.parent)
        temporary = folder.with_name(f".{folder.name}.{_writer_id()}")
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir(mode=FOLDER)
            write(temporary)
            close_to_others(temporary)
            try:
                temporary.rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
                # Another process has finished the same folder meanwhile: keep its result.
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def discard(path: Path) -> None:
    """Delete an entry, atomically for other processes; those that have its arrays mapped keep them until they end."""
    aside = path.with_name(f".{path.name}.gone.{_writer_id()}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.unlink()


def abandoned(path: Path) -> bool:
    """True if a hidden file or folder was left by a process that has ended.

    Processes of other machines cannot be checked: their files count as abandoned after a week.
    """
    maker = _WRITER.search(path.name)
    if maker and maker["node"] == os.uname().nodename:
        return not psutil.pid_exists(int(maker["process"]))
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime > _ABANDONED
    return False


def _writer_id() -> str:
    """The suffix of a temporary name: process, thread and machine."""
    return f"{os.getpid()}-{threading.get_ident()}@{os.uname().nodename}"


def _sweep(parent: Path) -> None:
    """Delete what killed processes have left behind."""
    for path in parent.glob(".*"):
        if abandoned(path):
            discard(path)


def _writable(folder: Path) -> contextlib.AbstractContextManager[None]:
    remedy = "free some disk space or fix the permissions, then retry"
    return DataError.from_os(folder, expected="a writable cache", remedy=remedy)
