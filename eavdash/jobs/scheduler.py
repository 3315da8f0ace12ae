"""The process that serves the queue of one checkpoints folder: ``python -m eavdash.jobs.scheduler CHECKPOINTS``.

It is started on demand (:func:`eavdash.jobs.queue.ensure_scheduler`), outlives the process that started it, and exits
after ``EAVDASH_IDLE`` seconds (60) without work. There is one per folder (with a Postgres, one per folder and machine):
it holds ``.queue/conductor.lock``. When it is killed, its jobs continue and the next scheduler adopts them. It has at
most ``EAVDASH_CLUSTER_JOBS`` (200) jobs in Ray or SLURM at once.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from eavdash.errors import EavdashError
from eavdash.jobs import clusters
from eavdash.jobs.broker import Broker
from eavdash.jobs.executors import get_executor
from eavdash.jobs.obstacle import SignOfLife
from eavdash.jobs.queue_database import is_damaged, queue_database
from eavdash.jobs.reconcile import reconcile
from eavdash.jobs.run_supervisor import RunSupervisor, log_line
from eavdash.jobs.scheduler_process import ensure_scheduler, mark_busy
from eavdash.jobs.slots import Slots, cluster_jobs, idle_seconds, this_machine
from eavdash.jobs.task_supervisor import TaskSupervisor
from eavdash.store import locks, studies
from eavdash.store.atomic import file_lock
from eavdash.store.passwords import guard_output
from eavdash.store.status_folder import StatusFolder
from eavdash.store.task import tasks

#: Minimum seconds between two reconciliations of all runs with the queue.
RECONCILE_EVERY = 30.0


def main(arguments: list[str] | None = None) -> int:
    """Serve the queue until there is nothing left to do; return 0 also if another scheduler is already running."""
    (folder,) = arguments if arguments is not None else sys.argv[1:]
    root = Path(folder).resolve()
    try:
        machine, cluster = this_machine(), cluster_jobs()
        database = queue_database(root)
        lock = locks.acquire(database.lock_file)
        if lock is None:
            return 0
        locks.sign(lock, os.getpid())
        clusters.known(root)
        broker = Broker(root)
        slots = Slots(database.slots, machine)
        runs, background = RunSupervisor(root, broker, get_executor, slots), TaskSupervisor(root, slots)
        broker.serve(
            {"train": runs.train, "stop": runs.stop, "task": background.run, "stop_task": background.stop},
            machine.cores,
            cluster,
        )
        life = SignOfLife(database)
        with life.running():
            _serve(root, broker, lock, life, idle_seconds())
    except EavdashError as error:
        print(f"eavdash: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _serve(root: Path, broker: Broker, lock: int, life: SignOfLife, idle_timeout: float) -> None:
    """Serve the queue until it has been empty for ``idle_timeout`` seconds, or was deleted or moved."""
    idle_since = reconcile_at = time.monotonic()
    database = broker.database.identity()
    while _holds_lock(lock, broker.database.lock_file) and broker.database.identity() == database:
        now = time.monotonic()
        life.turn()
        try:
            broker.database.mark_alive()
            if now >= reconcile_at:
                reconcile(root, broker)
                # At most 5 % of the time goes into this, for any number of runs.
                reconcile_at = time.monotonic() + max(RECONCILE_EVERY, 20 * (time.monotonic() - now))
            if broker.active():
                idle_since = now
            elif now - idle_since > idle_timeout and _exit_if_idle(root, broker):
                return
        except Exception as error:
            if is_damaged(error):
                break  # the next scheduler makes the queue again
            if not (broker.database.shared or isinstance(error, (EavdashError, OSError, OperationalError))):
                raise
            # The database restarts, the network is down, the disk is full: the jobs continue in the meantime.
            log_line(f"{type(error).__name__}: {error}")
            idle_since = now
            time.sleep(5)
        time.sleep(min(0.5, idle_timeout / 4))
    _restart(root, lock)


def _holds_lock(lock: int, file: Path) -> bool:
    """Return True if ``file`` still is the scheduler's lock file; False after the folder was moved or deleted."""
    try:
        return os.path.samestat(os.fstat(lock), file.stat())
    except FileNotFoundError:
        return False
    except OSError:
        return True  # a network file system is unavailable for a moment


def _restart(root: Path, lock: int) -> None:
    """Exit because the queue was deleted, moved or damaged; start another scheduler first if runs are unfinished.

    The jobs continue and are found by the runs' files. Without unfinished runs no queue is created, because the whole
    folder may be in the process of being deleted.
    """
    if _has_unfinished(root):
        log_line(f"{root}: the queue is gone, starting a new one")
        os.close(lock)
        clusters.known(root)  # what this process knows of them
        mark_busy(root)
        ensure_scheduler(root)
    os._exit(0)


def _has_unfinished(root: Path) -> bool:
    """Return True if a submitted run or a task has not ended; runs that are being deleted do not count."""
    runs = (run for study in studies(root) for run in study.runs())
    folders: Iterable[StatusFolder[Any]] = itertools.chain(runs, tasks(root))
    for folder in folders:
        with contextlib.suppress(EavdashError, OSError):
            status = folder.status()
            if status.submission and status.state in ("queued", "running"):
                return True
    return False


def _exit_if_idle(root: Path, broker: Broker) -> bool:
    """Exit unless a request is being added or was just added; return False in that case."""
    home = broker.database.home
    with file_lock(home / "door.lock", wait=False) as alone:
        if not alone:
            return False
        reconcile(root, broker)
        if broker.active():
            return False
        (home / "busy").unlink(missing_ok=True)
        # Exiting releases both locks at once: the next request starts a new scheduler.
        os._exit(0)


if __name__ == "__main__":
    # If the parent process ignores SIGCHLD, so does this one, and the exit codes of jobs would be lost.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    guard_output()  # the log must not have the password of the queue's database, whichever library prints it
    sys.exit(main())
