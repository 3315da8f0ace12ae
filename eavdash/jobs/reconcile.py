"""Make the queue agree with the runs' files, which are the truth.

Between a file's change and the queue's there is always an instant in which a process can be killed, and a queue's
file or a machine can be lost. So whatever the files call unfinished gets a task if it has none.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path

from eavdash.errors import EavdashError
from eavdash.jobs.broker import Broker
from eavdash.jobs.executors import make
from eavdash.jobs.tasks import activate
from eavdash.store import RunDir, studies
from eavdash.store.atomic import host


def reconcile(root: Path, broker: Broker) -> None:
    """Give every unfinished run of a checkpoints folder that was submitted its task, and bury the dead."""
    dead = broker.database.dead()
    for study in studies(root):
        runs = study.runs()
        for run in runs:
            _close_orphan(run, dead)
        activate(broker, runs, dead)


def _close_orphan(run: RunDir, dead: Collection[str]) -> None:
    """End what nobody else would: a worker started by hand that died, one to be stopped on a machine that is gone."""
    try:
        status = run.status()
        if status["state"] != "running" or run.locked():
            return
        expect = {"state": "running", "attempt": status.get("attempt")}
        if not status.get("submission") and status.get("host") == host():
            make("local").find(run)  # what that process has left behind goes too
            reason = "its process, started by hand, is gone; retry goes on from its last finished epoch"
            run.transition("failed", expect=expect, finished=time.time(), reason=reason)
        elif status.get("cancel") and status.get("host") in dead and run.live_status()["shown"] != "running":
            reason = f"cancelled; its machine {status['host']} is gone"
            run.transition("cancelled", expect=expect, finished=time.time(), reason=reason, job=None)
    except EavdashError:
        return
