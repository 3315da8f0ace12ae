"""File locks that the kernel releases, and the processes that hold them.

A lock is an ``flock`` on a file. It belongs to the open file description, not to a process id: a child that inherits
the descriptor keeps the lock, and the lock is free as soon as the last holder has exited, for any reason. The file
names the holder (process id, start time, host), so that it can be signalled; the id alone does not identify a process,
because ids are reused.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from pathlib import Path

from eavdash.errors import IntegrityError
from eavdash.store.atomic import host as this_host
from eavdash.store.own_files import open_lock
from eavdash.store.record import Record, Whole, read_record


class Owner(Record):
    """A process; the time at which it was ``born`` distinguishes it from a later one with the same id."""

    pid: Whole
    born: float
    host: str

    @property
    def alive(self) -> bool:
        """True if it runs on this machine and is not a zombie."""
        return self.host == this_host() and process_start_time(self.pid) == self.born


def process_start_time(pid: int) -> float | None:
    """Return a process's start time (arbitrary unit, only for comparison); None if it is dead or a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else float(fields[19])
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    return None


def pids_with_env(variable: str, value: str) -> list[int]:
    """Return the ids of live processes whose environment has ``variable`` set to ``value``; children inherit it.

    A forked process shows the environment of the one that it was forked from: it is known by :func:`tag_process`.
    """
    import psutil

    found = []
    tag = _process_tag(value)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            ours = process.name() == tag or process.environ().get(variable) == value
            if ours and process_start_time(process.pid) is not None:
                found.append(process.pid)
    return found


def has_open(pid: int, path: Path) -> bool:
    """Return True if a process has this very file open, as every holder of a run's lock has."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        ours = path.lstat()
        for opened in psutil.Process(pid).open_files():
            with contextlib.suppress(OSError):
                if os.path.samestat(ours, os.stat(opened.path)):  # noqa: PTH116 - a path from the system
                    return True
    return False


def tag_process(value: str) -> None:
    """Name this process after ``value`` for :func:`pids_with_env` (Linux); its forks inherit the name."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(_process_tag(value), encoding="ascii")


def _process_tag(value: str) -> str:
    return f"ev-{hashlib.sha256(value.encode()).hexdigest()[:12]}"  # a process name has 15 characters


def acquire(path: Path, timeout: float = 0.5) -> int | None:
    """Return a descriptor of ``path`` with an exclusive lock; None if another process holds the lock.

    ``timeout`` in seconds should outlast :func:`is_locked` of other processes, which takes the lock for an instant.

    Raises:
        OSError: the file cannot be opened, or is a link or another kind of file.
    """
    deadline = time.monotonic() + timeout
    while True:
        descriptor = open_lock(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.02)
            continue
        except BaseException:
            os.close(descriptor)
            raise
        # The file may have been deleted or replaced before it was locked; such a lock excludes no other process.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return descriptor
        os.close(descriptor)


def sign(descriptor: int, pid: int | None = None) -> None:
    """Write into a lock file that process ``pid`` holds it; None: the holder is not known yet."""
    text = b""
    if pid is not None and (born := process_start_time(pid)) is not None:
        text = Owner(pid=pid, born=born, host=this_host()).model_dump_json().encode()
    # With a full disk the file stays empty, but the lock is held.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text, 0)


def owner(path: Path) -> Owner | None:
    """Return the process that the lock file names; None if it names none (yet)."""
    with contextlib.suppress(IntegrityError):
        return read_record(path, Owner)
    return None
