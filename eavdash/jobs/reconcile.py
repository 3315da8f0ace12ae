"""Reconcile the queue with the runs' files, which are authoritative.

A process can be killed between the change of a file and that of the queue, and the queue's file or a machine can be
lost. Every unfinished run without a task therefore gets one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from eavdash.errors import EavdashError
from eavdash.jobs.background import activate_tasks
from eavdash.jobs.broker import Broker
from eavdash.jobs.executors import get_executor
from eavdash.jobs.queue_tasks import activate
from eavdash.jobs.run_supervisor import log_line
from eavdash.store import RunDir, studies
from eavdash.store.atomic import host
from eavdash.store.task import TaskDir, tasks

#: Errors that concern the queue as a whole.
UNAVAILABLE = (EavdashError, OSError, SQLAlchemyError)


def reconcile(root: Path, broker: Broker) -> None:
    """Give every submitted, unfinished run or background task of a checkpoints folder its task, and end orphaned runs.

    A run, task or study that cannot be handled is named in the scheduler's log and does not stop the others.
    """
    dead = broker.database.dead_hosts()
    for study in studies(root):
        runs = study.runs()
        try:
            _reconcile(runs, broker, dead)
        except UNAVAILABLE:
            raise  # the queue or the disk, not one of the runs
        except Exception:
            for run in runs:
                try:
                    _reconcile([run], broker, dead)
                except UNAVAILABLE:
                    raise
                except Exception as error:
                    log_line(f"{run.path} is skipped: {type(error).__name__}: {error}")
    for task in tasks(root):
        try:
            _end_stopped(task, dead)
            activate_tasks(broker, [task], dead)
        except UNAVAILABLE:
            raise
        except Exception as error:
            log_line(f"{task.path} is skipped: {type(error).__name__}: {error}")


def _reconcile(runs: list[RunDir], broker: Broker, dead: Collection[str]) -> None:
    for run in runs:
        _close_orphan(run, dead)
    activate(broker, runs, dead)


def _close_orphan(run: RunDir, dead: Collection[str]) -> None:
    """End a run that no task covers: its worker, started by hand, died, or it must be stopped on a dead machine."""
    try:
        status = run.status()
        if status.state != "running" or run.locked():
            return
        expect = {"state": "running", "attempt": status.attempt}
        if not status.submission and status.host == host():
            get_executor("local").find(run)  # also kills leftovers of that process
            reason = "its process, started by hand, is gone; retry resumes from its last finished epoch"
            run.transition("failed", expect=expect, finished=time.time(), reason=reason)
        elif status.cancel and status.host in dead and run.live_status().shown != "running":
            reason = f"cancelled; its machine {status.host} is gone"
            run.transition("cancelled", expect=expect, finished=time.time(), reason=reason, job=None)
    except EavdashError:
        return


def _end_stopped(task: TaskDir, dead: Collection[str]) -> None:
    """Mark a task as cancelled whose machine died before its scheduler could stop it."""
    if not dead:
        return
    with contextlib.suppress(EavdashError):
        live = task.live_status()
        if live.status.cancel and live.status.host in dead and live.shown == "not responding":
            expect = live.status.only("state", "attempt")
            task.transition("cancelled", expect=expect, finished=time.time(), reason="cancelled; its machine is gone")
