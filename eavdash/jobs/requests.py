"""Requests of a user to compute, retry, stop or change one run, written into its status.json.

The functions return the ids of queued tasks that have become obsolete. Every change is a compare-and-set, so that of
two concurrent requests only one takes effect.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from typing import Any

from eavdash.config.convert import execution_of
from eavdash.config.schema import Execution
from eavdash.errors import IntegrityError, QueueError
from eavdash.jobs.dependencies import obstacles, parents, waiting_reason
from eavdash.jobs.queue_tasks import new_request_id, train_id
from eavdash.store import CHECKED_FILES, RunDir
from eavdash.store.readable import data_folders
from eavdash.store.status import RunStatus


def submit(run: RunDir, execution: Execution) -> bool:
    """Give a queued run its request id, unless another caller already did; return True if this call did."""
    status = run.status()
    if status.state != "queued" or status.submission:
        return False
    with contextlib.suppress(QueueError):
        _request(run, status, execution)
        return True
    return False


def retry(run: RunDir, execution: Execution | None, named: bool) -> bool:
    """Queue a run again that ended without success; return True if it was queued.

    ``named``: the user named this run; a finished run with damaged files is then queued too.
    """
    status = run.status()
    if status.state == "done" and named and damaged(run):
        with contextlib.suppress(QueueError):
            run.transition("queued", expect={"state": "done"}, submission=None, epoch=0, checksums={}, accuracy=None)
            state = (run.metrics_file.name, run.resume_file.name, run.joint_resume_file.name)
            for name in (*CHECKED_FILES, *state):
                (run.path / name).unlink(missing_ok=True)
            status = run.status()
    elif status.state == "done" or not status.ended or status.unusable:
        return False  # done, running, or not computable until its recordings are fixed
    try:
        _request(run, status, execution)
    except QueueError:
        return False  # another process was faster
    return True


def cancel(run: RunDir) -> list[str] | None:
    """Cancel one run in its files; return the ids of obsolete tasks, or None if it had already ended.

    A run that a failed run blocks would resume with a retry of that run: it is cancelled too, and its reason names what
    blocked it.
    """
    while True:
        status = run.status()
        expect = status.only("state", "submission", "job")
        try:
            if status.state in ("done", "failed", "cancelled"):
                return None
            if status.ended:
                reason = f"cancelled while it was blocked: {status.reason or 'no reason given'}"
                run.transition("cancelled", expect=expect, reason=reason, finished=time.time(), blocked_by=())
                return []
            if status.cancel and not status.halt:
                return []
            if status.state == "running" or status.job:
                run.transition(status.state, expect=expect, cancel=new_request_id(), halt=None)
                return []
            run.transition("cancelled", expect=expect, reason="cancelled", finished=time.time())
            return [train_id(run, status)]
        except QueueError:
            continue  # its status changed in the meantime: read it again


def suspend(run: RunDir, stop_reason: str, waiting_only: bool = False) -> list[str]:
    """Remove a run from the queue, or stop it after its last finished epoch, to be resumed later.

    Return the ids of obsolete tasks. ``waiting_only``: do not stop a run that has started.
    """
    while True:
        status = run.status()
        expect = status.only("state", "submission", "job")
        try:
            if status.ended or status.cancel or (status.state == "running" and waiting_only):
                return []
            if status.state == "running" or status.job:
                run.transition(status.state, expect=expect, cancel=new_request_id(), halt=stop_reason)
                return []
            if status.state != "queued" or not status.submission:
                return []
            # A new request id: a scheduler that is about to start the run finds its task out of date.
            run.transition("queued", expect=expect, submission=new_request_id())
            return [train_id(run, status)]
        except QueueError:
            continue


def change_execution(run: RunDir, change: Callable[[Execution], Execution], stop_reason: str = "") -> list[str]:
    """Change the execution settings of an unfinished run; return the ids of replaced tasks.

    ``stop_reason``: stop a running job, so that the run resumes with the new settings; empty: they apply from the
    next start on.
    """
    while True:
        status = run.status()
        if status.state == "done" or (status.ended and not status.submission):
            return []
        old = execution_of(status.execution)
        new = change(old)
        expect = status.only("state", "submission", "job", "cancel")
        fields: dict[str, Any] = {"execution": dataclasses.asdict(new)}
        try:
            if new == old or status.cancel:
                return []
            if status.state == "running" or status.job:
                stop = {"cancel": new_request_id(), "halt": stop_reason} if stop_reason else {}
                run.transition(status.state, expect=expect, **fields, **stop)
                return []
            if status.state == "queued" and status.submission:
                fields["submission"] = new_request_id()
            run.transition(status.state, expect=expect, **fields)
            return [train_id(run, status)] if "submission" in fields else []
        except QueueError:
            continue


def blocked_by(run: RunDir) -> list[str]:
    """Return the names of the runs whose failure blocks this one."""
    with contextlib.suppress(IntegrityError):
        status = run.status()
        return list(status.blocked_by) if status.state == "blocked" else []
    return []


def blocking_runs(run: RunDir) -> list[str]:
    """Return the names of the runs that must be computed again before this one can start."""
    return blocked_by(run) or damaged_parents(run)


def damaged_parents(run: RunDir) -> list[str]:
    """Return the names of the parents whose damaged files made a run fail."""
    with contextlib.suppress(IntegrityError):
        status = run.status()
        if status.state == "failed":  # RunDir.verify() ends its message with this option
            return [p.name for p in parents(run) if f"--run {p.name}." in status.reason]
    return []


def damaged(run: RunDir) -> bool:
    """Return True if a result file is missing or its checksum differs."""
    try:
        for name in run.result_files(run.status()):
            run.verify(name)
    except IntegrityError:
        return True
    return False


def _request(run: RunDir, status: RunStatus, execution: Execution | None) -> None:
    """Queue the run under a new request id, or mark it as blocked."""
    expect = status.only("state", "submission")
    state, reason = "queued", ""
    waiting, lost = obstacles(run)
    if waiting or lost:
        # The same request may queue a failed parent again; the status is updated from the parents' later.
        state, reason = "blocked", waiting_reason([*waiting, *lost])
    fields: dict[str, Any] = {
        "submission": new_request_id(),
        "folders": data_folders(),
        "execution": dataclasses.asdict(execution or execution_of(status.execution)),
        "cancel": None,
        "halt": None,
        "job": None,
        "blocked_by": (),
        "kills": 0,
        "killed_epoch": -1,
        "finished": None,
        "reason": reason,
    }
    if state == "blocked" and status.state not in ("queued", "blocked"):
        # failed → queued → blocked: two legal steps; the second one sets the request id.
        run.transition("queued", expect=expect, **{**fields, "submission": None})
        expect = {"state": "queued", "submission": None}
    run.transition(state, expect=expect, **fields)
