"""The process that carries out the queue of one checkpoints folder: ``python -m eavdash.jobs.scheduler CHECKPOINTS``.

It is started by whoever needs it (:func:`eavdash.jobs.queue.ensure_scheduler`), works on when they are gone, and ends
by itself after ``EAVDASH_IDLE`` seconds (60) without anything to do. There is one per folder (with a Postgres, one per
folder and machine): it holds ``.queue/conductor.lock``. When it is killed the jobs live on, and the next one takes
them up. Of jobs handed to Ray or SLURM it keeps ``EAVDASH_CLUSTER_JOBS`` (200) under way at once.

In: the queue, and the runs' files. Out: jobs, and states that are true.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
from pathlib import Path

from sqlalchemy.exc import OperationalError

from eavdash.errors import EavdashError
from eavdash.jobs.broker import Broker
from eavdash.jobs.executors import get_executor
from eavdash.jobs.queue_database import queue_database
from eavdash.jobs.reconcile import reconcile
from eavdash.jobs.run_supervisor import RunSupervisor, log_line
from eavdash.jobs.scheduler_process import ensure_scheduler, mark_busy
from eavdash.jobs.slots import Slots, cluster_jobs, idle_seconds, this_machine
from eavdash.store import locks, studies

#: Seconds between two comparisons of all runs with the queue, at least.
RECONCILE_EVERY = 30.0


def main(arguments: list[str] | None = None) -> int:
    """Conduct until there is nothing left to do; 0 also when another conductor is at it already."""
    (folder,) = arguments if arguments is not None else sys.argv[1:]
    root = Path(folder).resolve()
    try:
        machine, cluster = this_machine(), cluster_jobs()
        database = queue_database(root)
        lock = locks.acquire(database.lock_file)
        if lock is None:
            return 0
        locks.sign(lock, os.getpid())
        broker = Broker(root)
        supervisor = RunSupervisor(root, broker, get_executor, Slots(database.slots, machine))
        broker.serve({"train": supervisor.train, "stop": supervisor.stop}, machine.cores, cluster)
        _serve(root, broker, lock, idle_seconds())
    except EavdashError as error:
        print(f"eavdash: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _serve(root: Path, broker: Broker, lock: int, patience: float) -> None:
    """Return only when the queue has been empty for ``patience`` seconds, or is not there any more."""
    idle_since = compare_at = time.monotonic()
    while _holds_lock(lock, broker.database.lock_file):
        now = time.monotonic()
        try:
            broker.database.mark_alive()
            if now >= compare_at:
                reconcile(root, broker)
                # However many runs there are, a small part of the time goes into this.
                compare_at = time.monotonic() + max(RECONCILE_EVERY, 20 * (time.monotonic() - now))
            if broker.active():
                idle_since = now
            elif now - idle_since > patience and _exit_if_idle(root, broker):
                return
        except Exception as error:
            if not (broker.database.shared or isinstance(error, (EavdashError, OSError, OperationalError))):
                raise
            # The database is being restarted, the network is away, the disk is full: the jobs go on meanwhile.
            log_line(f"{type(error).__name__}: {error}")
            idle_since = now
            time.sleep(5)
        time.sleep(min(0.5, patience / 4))
    _restart(root)


def _holds_lock(lock: int, file: Path) -> bool:
    """Whether the conductor's lock still is the file of that name: it is another's once the folder was moved away."""
    try:
        return os.path.samestat(os.fstat(lock), file.stat())
    except FileNotFoundError:
        return False
    except OSError:
        return True  # a network's file system is away for a moment


def _restart(root: Path) -> None:
    """Leave the queue that was deleted or moved under this process; where runs are still to be computed, make it again.

    The jobs live on, and are found by the runs' files. Where none is unfinished the whole folder may be on its way out.
    """
    if _unfinished(root):
        log_line(f"{root}: the queue is gone, beginning anew")
        mark_busy(root)
        ensure_scheduler(root)
    os._exit(0)


def _unfinished(root: Path) -> bool:
    """Whether a run that was submitted has not ended; one that is being deleted does not count."""
    for run in (run for study in studies(root) for run in study.runs()):
        with contextlib.suppress(EavdashError, OSError):
            status = run.status()
            if status.get("submission") and status["state"] in ("queued", "running"):
                return True
    return False


def _exit_if_idle(root: Path, broker: Broker) -> bool:
    """End this process if that strands nobody: not while a request is being added, nor when one was."""
    home = broker.database.home
    with (home / "door.lock").open("ab") as door:
        try:
            fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        reconcile(root, broker)
        if broker.active():
            return False
        (home / "busy").unlink(missing_ok=True)
        # The door and the conductor's lock are let go in one instant: whoever comes next starts a new conductor.
        os._exit(0)


if __name__ == "__main__":
    # Where whoever started this process ignores it, it is ignored here too, and nobody would learn how a job has ended.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sys.exit(main())
