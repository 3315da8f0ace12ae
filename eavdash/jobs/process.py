"""Common parts of the processes of runs and background tasks: heartbeat, end on SIGTERM, the lock that they inherit.

SIGTERM ends such a process at once: the sender of the signal writes the new state.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Any

from eavdash.errors import EavdashError, IntegrityError, QueueError
from eavdash.jobs.executors.local import LOCK_VARIABLE
from eavdash.store import locks
from eavdash.store.atomic import boot_clock
from eavdash.store.status import HEARTBEAT_EVERY
from eavdash.store.status_folder import StatusFolder

STOPPED = 128 + signal.SIGTERM


class Stopped(BaseException):
    """SIGTERM was received; not an ``Exception``, so that no handler of failures catches it."""


_terminated = threading.Event()


def stop_on_sigterm() -> None:
    """Let SIGTERM raise :class:`Stopped` in the main thread."""
    _terminated.clear()
    signal.signal(signal.SIGTERM, _on_sigterm)


def terminated() -> bool:
    """Return True if SIGTERM was received, even if a library has turned the interruption into an error of its own."""
    return _terminated.is_set()


def _on_sigterm(_number: int, _frame: FrameType | None) -> None:
    _terminated.set()
    raise Stopped


class Heartbeat:
    """Context manager that writes heartbeats into status.json from a thread.

    ``mine``: fields by which the status is known as this process's own. ``more``: returns further fields to write.
    """

    def __init__(
        self, folder: StatusFolder[Any], mine: Mapping[str, Any], more: Callable[[], dict[str, Any]] = dict
    ) -> None:
        self._folder, self._mine, self._more = folder, mine, more
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_EVERY):
            try:
                self._folder.update(self._mine, heartbeat=time.time(), beat=boot_clock(), **self._more())
            except (IntegrityError, QueueError):
                # The folder was deleted, or another attempt has replaced this one.
                os.kill(os.getpid(), signal.SIGTERM)
                return
            except (EavdashError, OSError):
                continue  # the disk is full or unavailable for a moment; the work reports it when it writes


def inherited_lock(folder: StatusFolder[Any]) -> bool:
    """Take over the lock that the scheduler has acquired for this process; return False if it has not."""
    inherited = os.environ.pop(LOCK_VARIABLE, None)
    if inherited is None:
        return False
    try:
        if os.path.samestat(os.fstat(int(inherited)), folder.lock_file.stat()):
            locks.sign(int(inherited), os.getpid())
            return True
    except (OSError, ValueError):
        pass  # the variable came from elsewhere
    return False


def print_error(text: str) -> None:
    """Write a line to the log; a full disk is ignored."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def unwritten(error: EavdashError) -> int:
    """Return the exit code that tells the scheduler why a state could not be written."""
    cause = error.__cause__
    full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
    return errno.ENOSPC if full else errno.EIO


def leave(code: int) -> None:
    """Exit at once: library threads that hang during cleanup must not keep a finished process's slot."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
