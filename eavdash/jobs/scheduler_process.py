"""How the queue's users and its conductor meet: is one there, start one, and let none leave while somebody enters.

Files under ``<checkpoints>/.queue``: ``conductor.lock`` is held by the conductor, ``busy`` exists from the first
request until a conductor finds nothing left to do, ``door.lock`` is held by whoever adds a request, and by a conductor
that leaves. So a request either finds a conductor that will see it, or none, and then starts one.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from eavdash.errors import QueueError, sentence
from eavdash.jobs.queue_database import queue_database, queue_folder
from eavdash.store import locks
from eavdash.store.atomic import is_locked, locked_file

if TYPE_CHECKING:
    from eavdash.jobs.broker import Broker


def scheduler_alive(root: Path) -> bool:
    """Whether a conductor is at work on this checkpoints folder; of another user's queue that is taken for granted."""
    try:
        return (root / ".queue").is_dir() and is_locked(queue_database(root).lock_file)
    except PermissionError:
        return True


def ensure_scheduler(root: Path, patience: float = 60.0) -> bool:
    """Start a conductor if there is work for one and none is there; cheap otherwise. True if one was started.

    Raises:
        QueueError: it cannot be started.
    """
    root = root.resolve()
    home = root / ".queue"
    # Another user's queue is looked after by that user.
    if not os.path.exists(home / "busy") or scheduler_alive(root):  # noqa: PTH110 - raises nothing
        return False
    try:
        process = _start(root, home / "conductor.log")
    except OSError as error:
        raise QueueError.at(
            home,
            expected="a conductor that starts",
            found=error.strerror or str(error),
            remedy="free some disk space or mend the permissions; the runs stay in the queue",
        ) from error
    # It may end long before this process does: somebody has to bury it.
    threading.Thread(target=process.wait, daemon=True).start()
    deadline = time.monotonic() + patience
    while not scheduler_alive(root) and (home / "busy").exists():
        if process.returncode not in (None, 0) or time.monotonic() > deadline:
            raise scheduler_error(root, "a conductor that starts")
        time.sleep(0.05)
    return True


def _start(root: Path, log: Path) -> subprocess.Popen[bytes]:
    from eavdash.jobs.executors.local import with_package

    if log.exists() and log.stat().st_size > 1_000_000:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "eavdash.jobs.scheduler", str(root)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=root,
            env=with_package({**os.environ, "PYTHONUNBUFFERED": "1"}),
        )


def scheduler_error(root: Path, expected: str) -> QueueError:
    """The error that quotes the last line of the conductor's log."""
    log = root / ".queue" / "conductor.log"
    with contextlib.suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        found = lines[-1] if lines else "nothing in its log"
        return QueueError(sentence(root, expected, repr(found), f"see {log}"))
    return QueueError(f"{root}: the conductor cannot be started; see {log}.")


@contextlib.contextmanager
def queue_session(root: Path) -> Iterator[Broker]:
    """The queue, while no conductor can leave in the belief that there is nothing to do.

    Raises:
        QueueError: this user may not use it, or there is no room.
    """
    from eavdash.jobs.broker import Broker

    root = root.resolve()
    with _inside(root):
        broker = Broker(root)
        try:
            yield broker
        finally:
            broker.close()


@contextlib.contextmanager
def queue_closed(root: Path) -> Iterator[None]:
    """Keep everybody else out who would add a request, waiting for those who are inside."""
    with locked_file(queue_folder(root.resolve()), "door.lock"):
        yield


def mark_busy(root: Path) -> None:
    """Say that there is work: a conductor stays, or is started by :func:`ensure_scheduler`."""
    with _inside(root):
        pass


@contextlib.contextmanager
def _inside(root: Path) -> Iterator[None]:
    """Be inside the door, together with others, having said that there is work.

    Raises:
        QueueError: this user may not, or there is no room.
    """
    with contextlib.ExitStack() as stack:
        try:
            home = queue_folder(root)
            stack.enter_context(locks.shared(home / "door.lock"))
            (home / "busy").touch()
        except OSError as error:
            raise QueueError.at(
                root / ".queue",
                expected="a queue that you may use",
                found=error.strerror or str(error),
                remedy="ask whoever owns the folder, free some disk space, or use another folder (--checkpoints)",
            ) from error
        yield
