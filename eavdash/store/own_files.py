"""Opening and locking of the files that eavdash writes by a fixed name: logs, locks, temporary files.

A checkpoints folder may be shared, or copied from elsewhere: what stands in it under such a name may be a symbolic link
to another file of this user, a pipe, or another user's. Only a regular file in its place is opened, so that nothing
elsewhere is truncated, appended to or locked. (A whole study may be a link to another disk.)

Locks belong to those who may write to the folder: any user who can open a file can hold its ``flock``, for reading too.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from pathlib import Path
from typing import Any

from eavdash.errors import TrainingError

#: Seconds to wait for a lock that another process holds.
LOCK_WAIT = 30.0


def open_own(path: Path, flags: int, mode: int = 0o666) -> int:
    """Return a descriptor of a regular file of ours, which ``os.O_CREAT`` makes; it is truncated after the check.

    Raises:
        OSError: it cannot be opened, or it is a link, another kind of file, or another user's.
    """
    return _open_own(path, flags, mode, path.parent.stat())[0]


def _open_own(path: Path, flags: int, mode: int, folder: os.stat_result) -> tuple[int, os.stat_result]:
    """Return the descriptor, and what is known of the file; ``folder``: of its folder."""
    safe = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # opening a pipe would wait for its other end
    try:
        descriptor = os.open(path, flags & ~os.O_TRUNC | safe, mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "a symbolic link to another file", str(path)) from None
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        # In a folder that others may write to, their files are expected.
        if found.st_uid not in (os.geteuid(), folder.st_uid) and not folder.st_mode & 0o022:
            raise OSError(errno.EPERM, f"a file of the user with the id {found.st_uid}", str(path))
        if flags & os.O_TRUNC:
            os.ftruncate(descriptor, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, found


def own_file(path: Path, mode: str) -> Any:
    """Return an open file of ours (:func:`open_own`); ``mode`` as for ``open``, in bytes.

    Raises:
        OSError: as :func:`open_own`.
    """
    return open(path, mode, opener=lambda name, flags: open_own(Path(name), flags))


def new_file(path: Path, mode: int = 0o666) -> Any:
    """Return a new file, open for writing bytes, in place of what has this name.

    Raises:
        OSError: it cannot be made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, mode)
    except FileExistsError:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, flags, mode)
    return os.fdopen(descriptor, "wb")


def open_lock(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> int:
    """Return a descriptor of a lock file, which only those who may write to its folder can open.

    Raises:
        OSError: as :func:`open_own`.
    """
    folder = path.parent.stat()
    mode = 0o660 if folder.st_mode & stat.S_IWGRP else 0o600
    descriptor, found = _open_own(path, flags, mode, folder)
    # Earlier versions let all users read it; the umask may have closed it to the group that shares the folder.
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != mode:
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, mode)
    return descriptor


def wait_for_lock(path: Path, descriptor: int, kind: int, seconds: float | None = None) -> None:
    """Lock an open file (``kind``: ``fcntl.LOCK_EX`` or ``LOCK_SH``); by default wait for :data:`LOCK_WAIT` seconds.

    Raises:
        TrainingError: another process holds the lock longer than that. OSError: the file system has no locks.
    """
    limit = LOCK_WAIT if seconds is None else seconds
    deadline, pause = time.monotonic() + limit, 0.001
    while True:
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        if time.monotonic() > deadline:
            raise TrainingError.at(
                path,
                expected=f"a lock that gets free within {limit:g} s",
                found=f"one held by {_holder(descriptor) or 'another process'}",
                remedy="wait until that process is done, or end it, and try again",
            )
        time.sleep(pause)
        pause = min(2 * pause, 0.05)


def refuse_link(folder: Path) -> None:
    """Check that a folder below a study or below the checkpoints folder is not a symbolic link to another one.

    Raises:
        OSError: it is one.
    """
    if folder.is_symlink():
        raise OSError(errno.ELOOP, "a symbolic link to another folder", str(folder))


def _holder(descriptor: int) -> str:
    """Return the process of this machine that holds a file's lock; empty if the system does not tell."""
    found = os.fstat(descriptor)
    file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text(encoding="ascii", errors="replace").splitlines():
            fields = line.split()
            if len(fields) > 5 and fields[5] == file and fields[1] == "FLOCK" and fields[4].isdecimal():
                name = ""
                with contextlib.suppress(OSError):
                    name = Path(f"/proc/{fields[4]}/comm").read_text(encoding="utf-8", errors="replace").strip()
                return f"process {fields[4]}" + (f" ({name})" if name else "")
    return ""
