"""The queue's tasks for a run; every unfinished run gets one.

A task's id is derived from the run and its request id, so that adding a task twice has no effect.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from eavdash.config.convert import execution_of
from eavdash.errors import EavdashError, IntegrityError
from eavdash.jobs.broker import CLUSTER, SLOTTED, Broker, Task, urgent_queue
from eavdash.jobs.dependencies import unblock
from eavdash.store import RunDir, StudyDir
from eavdash.store.status import RunStatus
from eavdash.store.status_folder import StatusFolder

SomeWork = TypeVar("SomeWork", bound=StatusFolder[Any])
#: DBOS priorities start at 1 and the lowest goes first; a user's priorities are centred at 0, the highest first.
_MIDDLE, _LARGEST = 100_000, 10_000


def new_request_id() -> str:
    """Return an id that is unique to a request, even if the clock is set back."""
    return f"{time.time_ns():x}{secrets.token_hex(3)}"


def train_id(run: RunDir, status: RunStatus) -> str:
    """Return the id of the task that computes a run."""
    again = f"/{status.task}" if status.task else ""
    return f"{run.study.name}/{run.name}#{status.submission}{again}"


def train_task(run: RunDir, status: RunStatus) -> Task:
    """Return the task that computes a run. Fusion goes first: it is short and completes a subject."""
    settings = execution_of(status.execution)
    requested = max(-_LARGEST, min(_LARGEST, settings.priority))
    priority = _MIDDLE - 2 * requested - bool(run.place().parents)
    request_id = status.submission
    queue = SLOTTED if settings.executor == "local" else CLUSTER
    return Task(train_id(run, status), "train", run.study.name, run.name, request_id, queue, priority)


def stop_task(run: RunDir, status: RunStatus, shared: bool = False) -> Task:
    """Return the task that ends a run's job; its id contains ``cancel`` of the status, unique to each cancellation.

    Only the scheduler of its own machine can end a process: in a shared queue the task goes to that machine's queue.
    """
    local = status.job is None or status.job.executor == "local"
    where = status.host or "" if shared and local else ""
    request_id = status.submission
    name = f"{run.study.name}/{run.name}#{request_id}/stop-{status.cancel}"
    return Task(name, "stop", run.study.name, run.name, request_id, urgent_queue(where), 1)


def activate(
    broker: Broker,
    runs: Iterable[SomeWork],
    dead: Collection[str] = (),
    fresh: Mapping[RunDir, RunStatus] | None = None,
    needed: Callable[[SomeWork, bool], Task | None] | None = None,
) -> None:
    """Make sure that each of these runs, if it was submitted and is unfinished, has a task in the queue.

    Tasks that were started by schedulers of ``dead`` machines count as lost. Runs of a paused study get no task other
    than one to stop them. ``fresh``: the statuses of those whose request id the caller has just made, so that no task
    of theirs can have been lost. ``needed``: returns the task that one needs now, for other work than runs.
    """
    shared = broker.database.shared
    starts = cache(_may_start)  # who resumes a study adds the tasks of all its runs, and a paused one's end at once

    def need(run: Any) -> Task | None:
        return needed(run, shared) if needed else _task(run, shared, starts)

    new = fresh or {}
    missing = [task for run, status in new.items() if (task := _task(run, shared, starts, status)) is not None]
    asked = {run: task for run in runs if run not in new and (task := need(run)) is not None}
    known = broker.states([task.id for task in asked.values()], dead)
    for run in asked:
        if known.get(asked[run].id):
            continue
        try:
            # Read the status after the queue: a task ends only once the state is written, so a run that is still
            # unfinished now and had no task then has lost its task.
            task = need(run)
            if task is not None and task.id in known:
                status = run.status()
                # No new request id for a running run: its worker would take it for another attempt.
                key = "cancel" if status.cancel else "task" if status.state == "running" else "submission"
                expect = status.only("state", "submission", "cancel")
                run.transition(status.state, expect=expect, **{key: new_request_id()})
                task = need(run)
            missing += [task] if task is not None else []
        except EavdashError:
            continue  # deleted, not writable now, or changed by another process, which adds the task
    broker.enqueue(missing)


def _task(run: RunDir, shared: bool, starts: Callable[[Path], bool], status: RunStatus | None = None) -> Task | None:
    """Return the task that an unfinished run needs now; None for a blocked run, which its parents release.

    ``starts``: as :func:`_may_start`. ``status``: as just written.
    """
    try:
        status = status or run.status()
        if status.state == "blocked" and status.submission:
            status = unblock(run, status)
        if status.ended:
            return None
        if status.cancel:
            return stop_task(run, status, shared)
        if status.state == "blocked" or not status.submission:
            return None
        if status.state == "queued" and not status.job and not starts(run.path.parent):
            return None
        return train_task(run, status)
    except IntegrityError:
        _give_up(run)
        return None
    except EavdashError:
        return None


def _give_up(run: RunDir) -> None:
    """Mark a waiting run as failed if its config.json cannot be read; otherwise it would wait forever."""
    with contextlib.suppress(EavdashError):
        status = run.status()
        if (why := run.unreadable()) and status.state in ("queued", "blocked") and not status.job:
            expect = status.only("state", "submission", "job")
            run.transition("failed", expect=expect, reason=why, finished=time.time())


def may_start(run: RunDir) -> bool:
    """Return True if the runs of this run's study may start now; False if control.json is damaged."""
    return _may_start(run.path.parent)


def _may_start(study: Path) -> bool:
    with contextlib.suppress(IntegrityError):
        control = StudyDir(study).control()
        return not control.paused and not control.archived
    return False
