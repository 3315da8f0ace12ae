"""Make the queue agree with the runs' files, which are the truth.

Between a file's change and the queue's there is always an instant in which a process can be killed, and a queue's
file can be lost. So whatever the files call unfinished gets a task if it has none.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from eavdash.errors import EavdashError, IntegrityError, QueueError
from eavdash.jobs.broker import Broker, Task
from eavdash.jobs.foreman import stop_task, train_task, wait_task
from eavdash.jobs.snapshot import ended
from eavdash.store import RunDir, studies


def new_token() -> str:
    """What tells one request to compute (or to cancel) a run from the next."""
    return f"{time.time_ns():x}"


def reconcile(root: Path, broker: Broker) -> None:
    """Give every unfinished run of a checkpoints folder that was submitted its task, and bury the dead."""
    for study in studies(root):
        activate(broker, study.runs())
        for run in study.runs():
            _bury(run)


def activate(broker: Broker, runs: list[RunDir]) -> None:
    """See to it that each of these runs, if it was submitted and is unfinished, has a task in the queue."""
    asked = {run: _tasks(run) for run in runs}
    known = broker.states([task.id for tasks in asked.values() for task in tasks])
    missing = []
    for run in (run for run, tasks in asked.items() if tasks):
        try:
            # Read after the queue was asked: a task ends only once the state is written, so what is still unfinished
            # now and had no task then has lost it.
            tasks = _tasks(run)
            if not tasks or any(known.get(task.id) for task in tasks):
                continue
            if tasks[0].id in known:
                status = run.status()
                key = "cancel" if status.get("cancel") else "submission"
                expect = {field: status.get(field) for field in ("state", "submission", "cancel")}
                run.transition(status["state"], expect=expect, **{key: new_token()})
                tasks = _tasks(run)
            missing += tasks[:1]
        except (IntegrityError, QueueError):
            continue  # deleted, or somebody else changed it: whoever did sees to its task
    broker.enqueue(missing)


def _tasks(run: RunDir) -> list[Task]:
    """The task that an unfinished run needs, then others that would bring it about."""
    try:
        status = run.status()
        if ended(status):
            return []
        if status.get("cancel"):
            return [stop_task(run, status)]
        if not status.get("submission"):
            return []
        pair = [train_task(run, status), wait_task(run, status)]
        return pair[::-1] if status["state"] == "blocked" else pair
    except IntegrityError:
        return []


def _bury(run: RunDir) -> None:
    """A worker that was started by hand and died has no task that would notice."""
    try:
        status: dict[str, Any] = run.status()
        here = status.get("host") == os.uname().nodename
        if status["state"] == "running" and here and not status.get("submission") and not run.locked():
            run.transition(
                "failed",
                expect={"state": "running", "attempt": status.get("attempt")},
                finished=time.time(),
                reason="its process, started by hand, is gone; retry goes on from its last finished epoch",
            )
    except EavdashError:
        return
