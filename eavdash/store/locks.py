"""Locks that the kernel frees: who is at work, and whether it still lives.

A lock is an ``flock`` on a file. It belongs to the open file, not to a process number, so a child that inherits the
descriptor keeps it, and it is free in the very moment in which the last holder is gone, however it went. The file's
content names the holder (process number, time of its birth, host), so that it can be signalled: a number alone is no
sign of life, since numbers are used again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eavdash.store.atomic import host as this_host


@dataclass(frozen=True)
class Owner:
    """A process, told apart from a later one with the same number by its birth."""

    pid: int
    born: float
    host: str

    @property
    def alive(self) -> bool:
        """Whether it runs on this machine: neither gone, nor dead and not yet buried."""
        return self.host == this_host() and process_start_time(self.pid) == self.born


def process_start_time(pid: int) -> float | None:
    """When a process was born, on a scale that only serves to tell two apart; None if it is dead or a zombie."""
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
    """The living processes that were started with an environment variable of this value, or by such a one."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(variable) == value and process_start_time(process.pid) is not None:
                found.append(process.pid)
    return found


def acquire(path: Path, patience: float = 0.5) -> int | None:
    """The descriptor of ``path``, locked for this process alone; None when another holds it.

    ``patience`` in seconds outlasts those who only look (:func:`is_locked`), which lock for an instant.
    """
    deadline = time.monotonic() + patience
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
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
        # The file may have been deleted, or replaced, before it was locked: a lock on it would exclude nobody.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


@contextlib.contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold the lock together with others, waiting for whoever holds it alone."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def sign(descriptor: int, pid: int | None = None) -> None:
    """Write into a lock's file that process ``pid`` holds it; None: that the holder is not known yet."""
    text = b""
    if pid is not None:
        owner = {"pid": pid, "born": process_start_time(pid), "host": this_host()}
        text = json.dumps(owner).encode()
    # Without room for its name the lock is held all the same.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text, 0)


def owner(path: Path) -> Owner | None:
    """Who signed the lock; None when nobody did (yet)."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Owner(int(data["pid"]), float(data["born"]), str(data["host"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
