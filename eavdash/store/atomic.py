"""Atomic file writes, checksums and file locks.

Also this machine's name and its monotonic clock, both written into files that machines share.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from eavdash.errors import IntegrityError, TrainingError, sentence
from eavdash.store.own_files import new_file, open_lock, wait_for_lock
from eavdash.store.private import FILE
from eavdash.store.regular import open_regular

#: Name of a folder's checksum file, in the format of ``sha256sum``.
CHECKSUMS = "SHA256SUMS"
#: What helps if a file cannot be written, and if it is one of a run that trains.
RETRY = "free some disk space or fix the permissions, then retry"
KEPT = f"{RETRY}: the last finished epoch is kept"
#: Free bytes below which a disk counts as full: the next status of a run may not fit.
FULL = 64 * 1024


def write_atomic(path: Path, write: Callable[[BinaryIO], Any], *, private: bool = False, remedy: str = RETRY) -> None:
    """Call ``write(file)`` on a temporary file beside ``path``, flush it to disk and rename it into place.

    ``private``: only this user may read the file; otherwise the umask decides.
    ``remedy``: what helps if it cannot be written.

    Raises:
        TrainingError: the disk is full or the folder is not writable; an existing file is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with new_file(temporary, FILE if private else 0o666) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - makes no further path
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise unwritable(path, error, remedy) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def unwritable(path: Path, error: OSError, remedy: str = RETRY) -> TrainingError:
    """Return the error for a full disk or a folder without write permission."""
    return TrainingError.at(
        path,
        expected="a file that can be written",
        found=error.strerror or str(error),
        remedy=remedy,
    )


def disk_full(folder: Path) -> str:
    """Return that the disk of a folder is full, with the remedy; empty if it is not, or if it cannot be asked."""
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(folder).free
        if free < FULL:
            remedy = "free some disk space: the runs resume after their last finished epochs"
            return sentence(folder, "a disk with free space", f"{free} bytes free", remedy)
    return ""


def write_json(path: Path, data: Any, *, private: bool = False) -> None:
    """Write ``data`` as indented UTF-8 JSON, as :func:`write_atomic`."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n", private=private)


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    """Write a text as UTF-8, as :func:`write_atomic`."""
    write_atomic(path, lambda file: file.write(text.encode()), private=private)


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a regular file's content.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked_file(folder: Path, name: str) -> Iterator[None]:
    """Hold the exclusive lock on a file of ``folder``; wait until it is free.

    Raises:
        IntegrityError: the folder is gone. TrainingError: the folder is not writable, or the lock is not free in time.
    """
    path = folder / name
    try:
        descriptor = open_lock(path)
    except FileNotFoundError:
        raise IntegrityError.at(folder, expected="a folder", found="none", remedy="train the study again") from None
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        try:
            wait_for_lock(path, descriptor, fcntl.LOCK_EX)
        except OSError as error:
            raise unwritable(path, error) from error
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def file_lock(path: Path, *, shared: bool = False, wait: bool = True, seconds: float | None = None) -> Iterator[bool]:
    """Hold a lock (``flock``) on a file, which is made if it is missing; wait until it is free.

    Without ``wait`` the block gets False, and no lock, if another process holds one. ``seconds``: how long to wait, as
    for :func:`eavdash.store.own_files.wait_for_lock`.

    Raises:
        OSError: the file cannot be opened. TrainingError: another process holds the lock for too long.
    """
    descriptor = open_lock(path)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        try:
            if wait:
                wait_for_lock(path, descriptor, kind, seconds)
            else:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            held = True
        except BlockingIOError:
            held = False
        yield held
    finally:
        os.close(descriptor)


def is_locked(path: Path, unknown: bool = True) -> bool:
    """Return True if a process holds the lock (``flock``) on a file; ``unknown`` if this user may not open the file."""
    try:
        descriptor = open_lock(path, os.O_RDONLY)
    except PermissionError:
        return unknown
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL, errno.ENXIO):
            return False  # missing, or nothing that this program would lock
        raise
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def host() -> str:
    """Return this machine's name; ``EAVDASH_HOST`` overrides it where several machines share one name."""
    return os.environ.get("EAVDASH_HOST") or os.uname().nodename


def boot_clock() -> tuple[str, float]:
    """Return boot id and seconds since boot: a clock that all processes of this machine share and no user can set."""
    return _boot_id(), time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@cache
def _boot_id() -> str:
    """Return the id of the current boot; empty where the system has none."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""
