"""Requests of a user to compute, retry, stop or change one run, written into its status.json.

Every change is a compare-and-set, so that of two concurrent requests only one takes effect. The functions start from
the status that their caller has read: what has changed since then they read again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from eavdash.config.convert import execution_of
from eavdash.config.schema import Execution
from eavdash.errors import IntegrityError, QueueError
from eavdash.jobs.dependencies import obstacles, parents, waiting_reason
from eavdash.jobs.queue_tasks import new_request_id, train_id
from eavdash.store import CHECKED_FILES, RunDir
from eavdash.store.readable import data_folders
from eavdash.store.status import RunStatus


class Requeued(NamedTuple):
    """A run that got a new request id: its new status, and the id of the task of the request before."""

    status: RunStatus
    obsolete: str


def submit(run: RunDir, execution: Execution, known: Mapping[RunDir, RunStatus]) -> RunStatus | None:
    """Give a queued run its request id, unless another caller already did; return the new status if this call did.

    ``known``: the statuses of the run and of others of its study, as last read.
    """
    status = known[run]
    if status.state != "queued" or status.submission:
        return None
    with contextlib.suppress(QueueError):
        return _request(run, status, execution, known)
    return None


def retry(run: RunDir, execution: Execution | None, named: bool) -> RunStatus | None:
    """Queue a run again that ended without success; return its new status if it was queued.

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
        return None  # done, running, or not computable until its recordings are fixed
    with contextlib.suppress(QueueError):  # another process was faster
        return _request(run, status, execution)
    return None


def cancel(run: RunDir, status: RunStatus) -> list[str] | None:
    """Cancel one run in its files; return the ids of obsolete tasks, or None if it had already ended.

    A run that a failed run blocks would resume with a retry of that run: it is cancelled too, and its reason names what
    blocked it.
    """
    while True:
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
            status = run.status()  # it has changed in the meantime


def suspend(run: RunDir, status: RunStatus, stop_reason: str, waiting_only: bool = False) -> Requeued | None:
    """Remove a run from the queue, or stop it after its last finished epoch, to be resumed later.

    Return what has changed in the queue, or None. ``waiting_only``: do not stop a run that has started.
    """
    while True:
        expect = status.only("state", "submission", "job")
        try:
            if status.ended or status.cancel or (status.state == "running" and waiting_only):
                return None
            if status.state == "running" or status.job:
                run.transition(status.state, expect=expect, cancel=new_request_id(), halt=stop_reason)
                return None
            if status.state != "queued" or not status.submission:
                return None
            # A new request id: a scheduler that is about to start the run finds its task out of date.
            after = run.transition("queued", expect=expect, submission=new_request_id())
            return Requeued(after, train_id(run, status))
        except QueueError:
            status = run.status()


def change_execution(
    run: RunDir, status: RunStatus, change: Callable[[Execution], Execution], stop_reason: str = ""
) -> Requeued | None:
    """Change the execution settings of an unfinished run; return what has changed in the queue, or None.

    ``stop_reason``: stop a running job, so that the run resumes with the new settings; empty: they apply from the
    next start on.
    """
    while True:
        if status.state == "done" or (status.ended and not status.submission):
            return None
        old = execution_of(status.execution)
        new = change(old)
        expect = status.only("state", "submission", "job", "cancel", "execution")
        fields: dict[str, Any] = {"execution": _recorded(new)}
        try:
            if new == old or status.cancel:
                return None
            if status.state == "running" or status.job:
                stop = {"cancel": new_request_id(), "halt": stop_reason} if stop_reason else {}
                run.transition(status.state, expect=expect, **fields, **stop)
                return None
            if status.state == "queued" and status.submission:
                fields["submission"] = new_request_id()
            after = run.transition(status.state, expect=expect, **fields)
            return Requeued(after, train_id(run, status)) if "submission" in fields else None
        except QueueError:
            status = run.status()


@lru_cache(maxsize=64)
def _recorded(execution: Execution) -> dict[str, Any]:
    """Return settings for status.json, the same object for the same settings: many runs have them."""
    return dataclasses.asdict(execution)


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


def _request(
    run: RunDir, status: RunStatus, execution: Execution | None, known: Mapping[RunDir, RunStatus] | None = None
) -> RunStatus:
    """Queue the run under a new request id, or mark it as blocked; return the new status."""
    expect = status.only("state", "submission")
    state, reason = "queued", ""
    waiting, lost = obstacles(run, known)
    if waiting or lost:
        # The same request may queue a failed parent again; the status is updated from the parents' later.
        state, reason = "blocked", waiting_reason([*waiting, *lost])
    fields: dict[str, Any] = {
        "submission": new_request_id(),
        "folders": data_folders(),
        "execution": _recorded(execution or execution_of(status.execution)),
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
    return run.transition(state, expect=expect, **fields)
