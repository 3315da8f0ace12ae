"""What a person asks of one run, written into its status.json: to compute it, to compute it again, to stop it.

In: a run, and how it is to be computed. Out: its changed status, and ids of tasks of the queue that nobody needs any
more. Every change is compare-and-set, so that of two who ask at once one finds that it is done already.
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
from eavdash.jobs.tasks import new_request_id, train_id
from eavdash.store import CHECKED_FILES, RunDir
from eavdash.store.status import ended


def submit(run: RunDir, execution: Execution) -> None:
    """Give a queued run its token: the one of several callers who is first."""
    status = run.status()
    if status["state"] != "queued" or status.get("submission"):
        return
    with contextlib.suppress(QueueError):
        _request(run, status, execution)


def retry(run: RunDir, execution: Execution | None, named: bool) -> bool:
    """Queue a run again that is over without success (``named``: or whose files are damaged); whether it was."""
    status = run.status()
    if status["state"] == "done" and named and damaged(run):
        with contextlib.suppress(QueueError):
            run.transition("queued", expect={"state": "done"}, submission=None, epoch=0, checksums={}, accuracy=None)
            state = (run.metrics_file.name, run.resume_file.name, run.joint_resume_file.name)
            for name in (*CHECKED_FILES, *state):
                (run.path / name).unlink(missing_ok=True)
            status = run.status()
    elif status["state"] == "done" or not ended(status) or status.get("unusable"):
        return False  # over and well, under way, or not to be computed until its recordings are mended
    try:
        _request(run, status, execution)
    except QueueError:
        return False  # somebody else was quicker
    return True


def cancel(run: RunDir) -> list[str] | None:
    """Cancel one run as far as its files go; the ids of tasks that need not be carried out, None if it had ended.

    One that is blocked by a run that failed does not go on by itself, but would with a retry of that run: it is
    cancelled too, and says what had blocked it.
    """
    while True:
        status = run.status()
        expect = {key: status.get(key) for key in ("state", "submission", "job")}
        try:
            if status["state"] in ("done", "failed", "cancelled"):
                return None
            if ended(status):
                reason = f"cancelled while it was blocked: {status.get('reason') or 'no reason given'}"
                run.transition("cancelled", expect=expect, reason=reason, finished=time.time(), blocked_by=[])
                return []
            if status.get("cancel") and not status.get("halt"):
                return []
            if status["state"] == "running" or status.get("job"):
                run.transition(status["state"], expect=expect, cancel=new_request_id(), halt=None)
                return []
            run.transition("cancelled", expect=expect, reason="cancelled", finished=time.time())
            return [train_id(run, status)]
        except QueueError:
            continue  # it moved on in this very moment: look again


def suspend(run: RunDir, why: str, waiting_only: bool = False) -> list[str]:
    """Take a run off the queue, or stop it after its last finished epoch, to go on later; ids of tasks not needed.

    ``waiting_only``: leave it alone if it has begun.
    """
    while True:
        status = run.status()
        expect = {key: status.get(key) for key in ("state", "submission", "job")}
        try:
            if ended(status) or status.get("cancel") or (status["state"] == "running" and waiting_only):
                return []
            if status["state"] == "running" or status.get("job"):
                run.transition(status["state"], expect=expect, cancel=new_request_id(), halt=why)
                return []
            if status["state"] != "queued" or not status.get("submission"):
                return []
            # A new request: whoever is about to start the run by the old one finds that it is out of date.
            run.transition("queued", expect=expect, submission=new_request_id())
            return [train_id(run, status)]
        except QueueError:
            continue


def change_execution(run: RunDir, change: Callable[[Execution], Execution], why: str = "") -> list[str]:
    """Change how a run that is not over is to be computed; ids of tasks that another has replaced.

    ``why``: if its job has begun, stop it, to go on with the new settings; empty: they are for its next start.
    """
    while True:
        status = run.status()
        if status["state"] == "done" or (ended(status) and not status.get("submission")):
            return []
        old = execution_of(status)
        new = change(old)
        expect = {key: status.get(key) for key in ("state", "submission", "job", "cancel")}
        fields: dict[str, Any] = {"execution": dataclasses.asdict(new)}
        try:
            if new == old or status.get("cancel"):
                return []
            if status["state"] == "running" or status.get("job"):
                stop = {"cancel": new_request_id(), "halt": why} if why else {}
                run.transition(status["state"], expect=expect, **fields, **stop)
                return []
            if status["state"] == "queued" and status.get("submission"):
                fields["submission"] = new_request_id()
            run.transition(status["state"], expect=expect, **fields)
            return [train_id(run, status)] if "submission" in fields else []
        except QueueError:
            continue


def blocked_by(run: RunDir) -> list[str]:
    """The runs whose failure keeps this one from going on."""
    with contextlib.suppress(IntegrityError):
        status = run.status()
        return list(status.get("blocked_by") or []) if status["state"] == "blocked" else []
    return []


def blocking_runs(run: RunDir) -> list[str]:
    """The runs that have to be computed again before this one can go on."""
    return blocked_by(run) or damaged_parents(run)


def damaged_parents(run: RunDir) -> list[str]:
    """The parents whose damaged files are the reason for which a run has failed."""
    with contextlib.suppress(IntegrityError):
        status = run.status()
        if status["state"] == "failed":  # as RunDir.verify() ends its sentence
            return [p.name for p in parents(run) if f"--run {p.name}." in str(status.get("reason"))]
    return []


def damaged(run: RunDir) -> bool:
    """Whether a file that the run wrote is missing or differs from its checksum."""
    written = set(run.status().get("checksums") or {}) | {run.predictions_file.name}
    try:
        for name in written:
            run.verify(name)
    except IntegrityError:
        return True
    return False


def _request(run: RunDir, status: dict[str, Any], execution: Execution | None) -> None:
    """Write that the run is to be computed, by a new request."""
    expect = {key: status.get(key) for key in ("state", "submission")}
    state, reason = "queued", ""
    waiting, lost = obstacles(run)
    if waiting or lost:
        # A parent that failed may be queued again by the same request: whoever waits for it finds out.
        state, reason = "blocked", waiting_reason([*waiting, *lost])
    if execution is not None:
        status["execution"] = dataclasses.asdict(execution)
    fields: dict[str, Any] = {
        "submission": new_request_id(),
        "execution": status.get("execution") or dataclasses.asdict(Execution()),
        "cancel": None,
        "halt": None,
        "job": None,
        "blocked_by": [],
        "kills": 0,
        "killed_epoch": -1,
        "finished": None,
        "reason": reason,
    }
    if state == "blocked" and status["state"] not in ("queued", "blocked"):
        # failed → queued → blocked: two legal steps, of which the second carries the request.
        run.transition("queued", expect=expect, **{**fields, "submission": None})
        expect = {"state": "queued", "submission": None}
    run.transition(state, expect=expect, **fields)
