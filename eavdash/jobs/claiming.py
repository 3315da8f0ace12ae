"""Status changes of the scheduler while it starts a run, and checks that a task is still current.

Each change is a compare-and-set on the request id, so that a run that was cancelled, deleted or queued again in the
meantime is not touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import time

from eavdash.config.convert import execution_of
from eavdash.errors import EavdashError, IntegrityError, QueueError
from eavdash.store import RunDir
from eavdash.store.atomic import boot_clock, host
from eavdash.store.status import JobRecord, RunStatus


def fail(run: RunDir, request_id: str | None, reason: str) -> None:
    """Mark a run without a process as failed because it can never be computed."""
    if (status := current_status(run, request_id, "queued", "running")) is None:
        return
    expect = status.only("state", "submission", "cancel", "attempt")
    with contextlib.suppress(QueueError):
        run.transition("failed", expect=expect, reason=reason, finished=time.time(), job=None)


def claim(run: RunDir, request_id: str | None) -> None:
    """Mark the run as running, unless it was cancelled, deleted or queued again in the meantime."""
    status = run.status()
    now = time.time()
    run.transition(
        "running",
        expect={"state": "queued", "submission": request_id, "cancel": None},
        attempt=status.attempt + 1,
        started=now,
        finished=None,
        heartbeat=now,
        beat=boot_clock(),
        from_epoch=status.epoch,
        host=host(),
        job=JobRecord(),
        pid=None,
        reason="",
    )


def assign_job(run: RunDir, request_id: str | None) -> None:
    """Record the name of the run's job before the job is submitted to an executor with its own queue."""
    status = run.status()
    settings = execution_of(status.execution)
    number = status.launch + 1
    suffix = hashlib.sha256(f"{run.path}\n{request_id}\n{number}".encode()).hexdigest()[:8]
    name = f"eavdash-{run.study.name}-{run.name}-{suffix}"
    address = settings.ray_address if settings.executor == "ray" else None
    job = JobRecord(executor=settings.executor, name=name, address=address)
    run.transition(
        "queued",
        expect={"state": "queued", "submission": request_id, "cancel": None, "job": None},
        job=job,
        launch=number,
        reason=f"is being submitted to {settings.executor}",
    )


def update_waiting_reason(run: RunDir, request_id: str | None, reason: str) -> None:
    """Update the reason of a run that waits in its executor's queue; queue a running one that was put back there."""
    status = current_status(run, request_id, "queued", "running")
    if status is None or not reason:
        return
    expect = status.only("state", "submission", "cancel", "attempt")
    if status.state == "running":
        if run.locked() or run.live_status().shown == "running":
            return  # the executor's answer is outdated: the worker has started
        epoch = status.epoch
        run.transition("queued", expect=expect, reason=f"was requeued, resumes after epoch {epoch}: {reason}")
    elif status.reason != reason:
        run.transition("queued", expect=expect, reason=reason)


def current_status(run: RunDir, request_id: str | None, *states: str, cancel: bool | None = False) -> RunStatus | None:
    """Return the run's status if it is in one of the states and belongs to this request, else None.

    ``cancel``: its cancellation must (True) or must not (False) have been requested; None: either.
    """
    try:
        status = run.status()
    except IntegrityError:
        return None
    if status.submission != request_id or status.state not in states or not run.config_file.exists():
        return None
    return status if cancel is None or bool(status.cancel) == cancel else None


def is_current(run: RunDir, request_id: str | None) -> bool:
    """Return True if the run exists and still belongs to this request."""
    try:
        return run.config_file.exists() and run.status().submission == request_id
    except EavdashError:
        return False
