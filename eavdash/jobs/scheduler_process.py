"""The life cycle of the scheduler process, and sessions in which requests are added to the queue.

Files under ``<checkpoints>/.queue``: the scheduler holds ``conductor.lock``; ``busy`` exists from the first request
until a scheduler finds no work left; ``door.lock`` is held (shared) by processes that add requests, and (exclusively)
by a scheduler that exits. So a request either reaches a running scheduler or finds none and starts one.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from eavdash.errors import QueueError
from eavdash.jobs.executors.local import RUN_VARIABLE
from eavdash.jobs.queue_database import queue_database, queue_folder
from eavdash.store.atomic import file_lock, is_locked, locked_file
from eavdash.store.own_files import own_file
from eavdash.store.processes import python_environment, python_module
from eavdash.store.readable import VARIABLE
from eavdash.store.regular import last_lines
from eavdash.store.task import TASK_VARIABLE

if TYPE_CHECKING:
    from eavdash.jobs.broker import Broker


def scheduler_alive(root: Path) -> bool:
    """Return True if a scheduler is running for this checkpoints folder; always True for another user's queue."""
    try:
        return (root / ".queue").is_dir() and is_locked(queue_database(root).lock_file)
    except PermissionError:
        return True


def ensure_scheduler(root: Path, timeout: float = 60.0) -> bool:
    """Start a scheduler if there is work and none is running; return True if one was started. Cheap otherwise.

    Raises:
        QueueError: it cannot be started.
    """
    root = root.resolve()
    home = root / ".queue"
    # Another user's queue is served by that user's scheduler.
    if not os.path.exists(home / "busy") or scheduler_alive(root):  # noqa: PTH110 - raises nothing
        return False
    remedy = "free some disk space or fix the permissions; the runs stay in the queue"
    with QueueError.from_os(home, expected="a scheduler that starts", remedy=remedy):
        process = _start(root, home / "conductor.log")
    # Reap it when it ends, which may be long before this process ends.
    threading.Thread(target=process.wait, daemon=True).start()
    deadline = time.monotonic() + timeout
    while not scheduler_alive(root) and (home / "busy").exists():
        if process.returncode not in (None, 0) or time.monotonic() > deadline:
            raise scheduler_error(root, "a scheduler that starts")
        time.sleep(0.05)
    return True


def _start(root: Path, log: Path) -> subprocess.Popen[bytes]:
    if log.exists() and log.stat().st_size > 1_000_000:
        log.replace(log.with_suffix(".log.1"))
    # It starts runs for all: each is restricted by the request for it, not by the process that starts the scheduler.
    # Nor does it belong to a task that starts it, with which it would be ended.
    foreign = (VARIABLE, RUN_VARIABLE, TASK_VARIABLE)
    environment = {name: value for name, value in python_environment().items() if name not in foreign}
    with own_file(log, "ab") as output:
        return subprocess.Popen(
            python_module("eavdash.jobs.scheduler", str(root)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=root,
            env=environment,
        )


def scheduler_error(root: Path, expected: str) -> QueueError:
    """Return an error that quotes the last line of the scheduler's log."""
    log = root / ".queue" / "conductor.log"
    found = "no log"
    with contextlib.suppress(OSError):
        lines = last_lines(log, 1)
        found = repr(lines[-1]) if lines else "an empty log"
    return QueueError.at(root, expected=expected, found=found, remedy=f"see {log}")


@contextlib.contextmanager
def queue_session(root: Path) -> Iterator[Broker]:
    """Open the queue to add requests; the scheduler cannot exit during the session.

    Raises:
        QueueError: this user may not use the queue, or the disk is full.
    """
    from eavdash.jobs import clusters
    from eavdash.jobs.broker import Broker

    root = root.resolve()
    with _session_lock(root):
        clusters.known(root)  # before the database: a queue without a list is an earlier version's
        broker = Broker(root)
        try:
            yield broker
        finally:
            broker.close()


@contextlib.contextmanager
def queue_closed(root: Path) -> Iterator[None]:
    """Wait for open sessions to end and let no other process start one."""
    with locked_file(queue_folder(root.resolve()), "door.lock"):
        yield


def mark_busy(root: Path) -> None:
    """Record that there is work, so that a scheduler keeps running or :func:`ensure_scheduler` starts one."""
    with _session_lock(root):
        pass


@contextlib.contextmanager
def _session_lock(root: Path) -> Iterator[None]:
    """Hold the shared session lock, and record that there is work.

    Raises:
        QueueError: this user may not use the queue, or the disk is full.
    """
    with contextlib.ExitStack() as stack:
        remedy = "ask the owner of the folder, free some disk space, or use another folder (--checkpoints)"
        with QueueError.from_os(root / ".queue", expected="a queue that you may use", remedy=remedy):
            home = queue_folder(root)
            stack.enter_context(file_lock(home / "door.lock", shared=True))
            (home / "busy").touch()
        yield
