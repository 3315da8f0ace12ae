"""What the queue is asked to do for a run, and that every unfinished run is asked for.

In: runs and their status. Out: tasks whose ids follow from the run and from the request that it belongs to, so that to
ask twice is to ask once.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Collection
from typing import Any

from eavdash.config.convert import execution_of
from eavdash.errors import EavdashError, IntegrityError
from eavdash.jobs.broker import CLUSTER, SLOTTED, Broker, Task, urgent_queue
from eavdash.jobs.dependencies import parents, unblock
from eavdash.store import RunDir, StudyDir
from eavdash.store.status import ended

#: Priorities of the queue's library begin at 1 and the lowest goes first; a person's are around 0, the highest first.
_MIDDLE, _LARGEST = 100_000, 10_000


def new_request_id() -> str:
    """What tells one request to compute (or to cancel) a run from the next, also when a clock is set back."""
    return f"{time.time_ns():x}{secrets.token_hex(3)}"


def train_id(run: RunDir, status: dict[str, Any]) -> str:
    """The id of the task that computes a run."""
    again = f"/{status['task']}" if status.get("task") else ""
    return f"{run.study.name}/{run.name}#{status.get('submission')}{again}"


def train_task(run: RunDir, status: dict[str, Any]) -> Task:
    """The task that computes a run. Fusion goes first: it is short, and it completes a subject."""
    settings = execution_of(status)
    wanted = max(-_LARGEST, min(_LARGEST, settings.priority))
    priority = _MIDDLE - 2 * wanted - bool(parents(run))
    request_id = status.get("submission")
    queue = SLOTTED if settings.executor == "local" else CLUSTER
    return Task(train_id(run, status), "train", run.study.name, run.name, request_id, queue, priority)


def stop_task(run: RunDir, status: dict[str, Any], shared: bool = False) -> Task:
    """The task that ends a run's job; ``cancel`` in the status tells two requests apart.

    A process can only be ended by its own machine's conductor: where several machines share the queue, it is asked.
    """
    job = dict(status.get("job") or {})
    where = str(status.get("host") or "") if shared and job.get("executor", "local") == "local" else ""
    request_id = status.get("submission")
    name = f"{run.study.name}/{run.name}#{request_id}/stop-{status.get('cancel')}"
    return Task(name, "stop", run.study.name, run.name, request_id, urgent_queue(where), 1)


def activate(broker: Broker, runs: list[RunDir], dead: Collection[str] = ()) -> None:
    """See to it that each of these runs, if it was submitted and is unfinished, has a task in the queue.

    Tasks that the conductors of ``dead`` machines had begun count as lost. Runs of a paused study get none, but for
    one that is to end them.
    """
    shared = broker.database.shared
    asked = {run: task for run in runs if (task := _task(run, shared)) is not None}
    known = broker.states([task.id for task in asked.values()], dead)
    missing = []
    for run in asked:
        try:
            # Read after the queue was asked: a task ends only once the state is written, so what is still unfinished
            # now and had no task then has lost it.
            task = _task(run, shared)
            if task is None or known.get(task.id):
                continue
            if task.id in known:
                status = run.status()
                # Not a new request where a worker is at it, which would take that for another attempt.
                key = "cancel" if status.get("cancel") else "task" if status["state"] == "running" else "submission"
                expect = {field: status.get(field) for field in ("state", "submission", "cancel")}
                run.transition(status["state"], expect=expect, **{key: new_request_id()})
                task = _task(run, shared)
            missing += [task] if task is not None else []
        except EavdashError:
            continue  # deleted, changed by somebody else, who sees to its task, or not to be written now
    broker.enqueue(missing)


def _task(run: RunDir, shared: bool) -> Task | None:
    """The task that an unfinished run needs now; a blocked one needs none, its parents bring it forward."""
    try:
        status = run.status()
        if status["state"] == "blocked" and status.get("submission"):
            status = unblock(run)
        if ended(status):
            return None
        if status.get("cancel"):
            return stop_task(run, status, shared)
        if status["state"] == "blocked" or not status.get("submission"):
            return None
        if status["state"] == "queued" and not status.get("job") and not may_start(run):
            return None
        return train_task(run, status)
    except IntegrityError:
        _give_up(run)
        return None
    except EavdashError:
        return None


def _give_up(run: RunDir) -> None:
    """Write that a run which waits has failed, if its config.json cannot be read: it would wait for ever."""
    with contextlib.suppress(EavdashError):
        status = run.status()
        if (why := run.unreadable()) and status["state"] in ("queued", "blocked") and not status.get("job"):
            expect = {key: status.get(key) for key in ("state", "submission", "job")}
            run.transition("failed", expect=expect, reason=why, finished=time.time())


def may_start(run: RunDir) -> bool:
    """Whether a run of this study may start now."""
    control = StudyDir.of(run).control()
    return not control["paused"] and not control["archived"]
