"""What the conductor writes into a run's status while it is being started, and whether a task is still wanted.

Each change is compare-and-set on the request's token, so that a run that was cancelled, deleted or queued anew in this
very moment is left alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from typing import Any

from eavdash.config.convert import execution_of
from eavdash.errors import EavdashError, IntegrityError, QueueError
from eavdash.store import RunDir
from eavdash.store.atomic import boot_clock, host


def fail(run: RunDir, request_id: str | None, reason: str) -> None:
    """Write that a run which waits cannot be computed at all."""
    expect = {"state": "queued", "submission": request_id}
    with contextlib.suppress(QueueError):
        run.transition("failed", expect=expect, reason=reason, finished=time.time(), job=None)


def claim(run: RunDir, request_id: str | None) -> None:
    """Write that the run is being computed, unless it was cancelled, deleted or queued anew meanwhile."""
    status = run.status()
    now = time.time()
    run.transition(
        "running",
        expect={"state": "queued", "submission": request_id, "cancel": None},
        attempt=int(status.get("attempt") or 0) + 1,
        started=now,
        finished=None,
        heartbeat=now,
        beat=boot_clock(),
        from_epoch=int(status.get("epoch") or 0),
        host=host(),
        job={"executor": "local", "name": ""},
        pid=None,
        reason="",
    )


def hand_over(run: RunDir, request_id: str | None) -> None:
    """Write under which name the run is handed to a place with a queue of its own, before it is."""
    status = run.status()
    settings = execution_of(status)
    number = int(status.get("launch") or 0) + 1
    mark = hashlib.sha256(f"{run.path}\n{request_id}\n{number}".encode()).hexdigest()[:8]
    job: dict[str, Any] = {"executor": settings.executor, "name": f"eavdash-{run.study.name}-{run.name}-{mark}"}
    if settings.executor == "ray":
        job["address"] = settings.ray_address
    run.transition(
        "queued",
        expect={"state": "queued", "submission": request_id, "cancel": None, "job": None},
        job=job,
        launch=number,
        reason=f"is being handed to {settings.executor}",
    )


def tell_waiting(run: RunDir, request_id: str | None, reason: str) -> None:
    """Bring the state of a job elsewhere up to date: it waits there, or it has lost its place and waits again."""
    status = current(run, request_id, "queued", "running")
    if status is None or not reason:
        return
    expect = {key: status.get(key) for key in ("state", "submission", "cancel", "attempt")}
    if status["state"] == "running":
        if run.locked() or run.live_status()["shown"] == "running":
            return  # the place's word is a moment old: its worker has begun
        epoch = int(status.get("epoch") or 0)
        run.transition("queued", expect=expect, reason=f"lost its place, goes on after epoch {epoch}: {reason}")
    elif status.get("reason") != reason:
        run.transition("queued", expect=expect, reason=reason)


def current(run: RunDir, request_id: str | None, *states: str, cancel: bool | None = False) -> dict[str, Any] | None:
    """The run's status if it is in one of the states, belongs to this request and is (not) to be cancelled."""
    try:
        status = run.status()
    except IntegrityError:
        return None
    if status.get("submission") != request_id or status.get("state") not in states or not run.config_file.exists():
        return None
    return status if cancel is None or bool(status.get("cancel")) == cancel else None


def wanted(run: RunDir, request_id: str | None) -> bool:
    """Whether the run is there, and still is this request's."""
    try:
        return run.config_file.exists() and run.status().get("submission") == request_id
    except EavdashError:
        return False
