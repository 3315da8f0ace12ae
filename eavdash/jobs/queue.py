"""Submit, cancel, retry, pause, move and wait for runs: the interface for the app and the command line.

Each function takes a study and names of its runs (None: all), changes the states in the runs' files, adds tasks to the
durable queue, and makes sure that a scheduler is running. All may be called repeatedly and from many processes at once:
a run is launched once. An unreadable run is skipped (see :func:`eavdash.jobs.choose.unreadable`); it is an error if no
other was named. Nothing here imports torch, and DBOS is imported only for changes.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from eavdash.config.schema import Execution
from eavdash.errors import EavdashError, IntegrityError, QueueError, TrainingError
from eavdash.jobs.choose import by_depth, choose_runs, for_each, named_runs, with_parents
from eavdash.jobs.dependencies import children, release_children
from eavdash.jobs.obstacle import obstacle
from eavdash.jobs.scheduler_process import ensure_scheduler, mark_busy, queue_session, scheduler_alive, scheduler_error
from eavdash.jobs.snapshot import snapshot
from eavdash.store import RunDir, StudyDir
from eavdash.store.status import RunStatus

if TYPE_CHECKING:
    import pandas as pd

DEFAULT = Execution()
__all__ = [
    "cancel",
    "ensure_scheduler",
    "move",
    "pause",
    "prioritise",
    "resume",
    "retry",
    "scheduler_alive",
    "submit",
    "wait",
]
#: Number of schedulers that :func:`wait` starts without any run changing before it gives up.
MAX_RESTARTS = 5


def submit(
    study: StudyDir, runs: Sequence[str] | None = None, execution: Execution = DEFAULT, *, given: bool = True
) -> None:
    """Queue runs and the parents that they need, with the settings of ``execution``.

    Runs that are done, failed, cancelled or running are not changed (see :func:`retry`). Runs of a paused study wait
    until it is resumed. ``given``: the user gave these settings; otherwise they come from the files of a study, and a
    cluster must have been asked for before (:mod:`eavdash.jobs.clusters`).

    Raises:
        UsageError: there is no run of one of the names, or the study is archived.
        IntegrityError: none of the runs can be read.
        QueueError: the scheduler cannot be started.
    """
    from eavdash.jobs import clusters, queue_tasks, requests

    chosen = with_parents(choose_runs(study, runs))
    with queue_session(study.path.parent) as broker:
        study.refuse_archived()
        if given:
            clusters.remember(study.path.parent, execution)
        asked = for_each(chosen, lambda run: requests.submit(run, execution, chosen))
        queue_tasks.activate(broker, chosen, fresh=asked)
    ensure_scheduler(study.path.parent)


def retry(study: StudyDir, runs: Sequence[str] | None = None, execution: Execution | None = None) -> list[str]:
    """Queue runs that failed, were cancelled or are blocked by such a run; each resumes after its last epoch.

    With ``runs`` also their failed parents, the runs that they block, and finished runs whose files are damaged, which
    start over, together with the runs that failed because of the damage. ``execution`` replaces their settings.
    Return the names of the queued runs.

    Raises:
        UsageError: there is no run of one of the names, or the study is archived.
        IntegrityError: none of the runs can be read.
        QueueError: the scheduler cannot be started.
    """
    from eavdash.jobs import clusters, queue_tasks, requests

    chosen = list(with_parents(choose_runs(study, runs)))
    if runs is not None:
        every, names = choose_runs(study, None), {run.name for run in chosen}
        while waiting := [run for run in every if names & set(requests.blocking_runs(run)) and run.name not in names]:
            chosen += waiting
            names |= {run.name for run in waiting}
    with queue_session(study.path.parent) as broker:
        study.refuse_archived()
        if execution is not None:
            clusters.remember(study.path.parent, execution)
        named = {*(runs or ()), *(name for run in chosen for name in requests.damaged_parents(run))}
        queued: dict[RunDir, RunStatus] = {}
        for group in by_depth(chosen, parents_first=True):
            queued |= for_each(group, lambda run: requests.retry(run, execution, named=run.name in named))
        queue_tasks.activate(broker, queued, fresh=queued)
    ensure_scheduler(study.path.parent)
    return [run.name for run in chosen if run in queued]


def cancel(study: StudyDir, runs: Sequence[str] | None = None) -> list[str]:
    """Cancel runs: waiting ones immediately, running ones as soon as their process is gone (see :func:`wait`).

    A run that a failed run blocks is cancelled too, and keeps its reason. Return the names of the affected runs: those
    that had not ended, and the blocked ones.

    Raises:
        UsageError: there is no run of one of the names.
        IntegrityError: none of the runs has a readable status.json.
        TrainingError: one status.json cannot be written; the other runs were cancelled.
        QueueError: the scheduler cannot be started.
    """
    from eavdash.jobs import queue_tasks, requests

    # Children first; otherwise their reason would become that their parent was cancelled.
    found = choose_runs(study, runs, whole=False)
    groups = by_depth(found, parents_first=False)
    chosen = [run for group in groups for run in group]
    dropped: dict[str, list[str] | None] = {}
    errors: dict[str, EavdashError] = {}

    def cancel_run(run: RunDir) -> None:
        try:
            dropped[run.name] = requests.cancel(run, found[run])
        except (IntegrityError, TrainingError) as error:
            errors[run.name] = error

    with queue_session(study.path.parent) as broker:
        for group in groups:
            for_each(group, cancel_run)
        broker.cancel([task for ids in dropped.values() for task in ids or ()])
        queue_tasks.activate(broker, [run for run in chosen if dropped.get(run.name) == []])  # the others have ended
        affected = {name for name, ids in dropped.items() if ids is not None}
        for run in chosen:
            if dropped.get(run.name) and not {child.name for child in children(run)} <= affected:
                release_children(run)
    ensure_scheduler(study.path.parent)
    if errors:
        raise next(errors[run.name] for run in chosen if run.name in errors)
    return [run.name for run in chosen if run.name in affected]


def pause(study: StudyDir, now: bool = False) -> None:
    """Let no further run of a study start. Running ones finish; ``now``: they are stopped and keep their last epoch.

    Raises:
        QueueError: the scheduler cannot be started.
    """
    from eavdash.jobs import queue_tasks, requests

    study.set_control(paused=True)
    runs = choose_runs(study, None, whole=False)
    with queue_session(study.path.parent) as broker:
        changed = for_each(runs, lambda run: requests.suspend(run, runs[run], "paused", waiting_only=not now))
        broker.cancel([each.obsolete for each in changed.values()])
        queue_tasks.activate(broker, runs, fresh={run: each.status for run, each in changed.items()})
    ensure_scheduler(study.path.parent)


def resume(study: StudyDir) -> None:
    """Resume the runs of a paused study.

    Raises:
        UsageError: the study is archived.
        QueueError: the scheduler cannot be started.
    """
    from eavdash.jobs import queue_tasks

    with queue_session(study.path.parent) as broker:
        study.refuse_archived()
        study.set_control(paused=False)
        queue_tasks.activate(broker, study.runs())
    ensure_scheduler(study.path.parent)


def move(study: StudyDir, runs: Sequence[str] | None, execution: Execution) -> None:
    """Move unfinished runs to another executor or other settings; each resumes there after its last finished epoch.

    Raises:
        UsageError: there is no run of one of the names, or the study is archived.
        QueueError: the scheduler cannot be started.
    """
    from eavdash.jobs import clusters

    with QueueError.from_os(study.path.parent / ".queue", expected="a queue that you may use", remedy="ask its owner"):
        clusters.remember(study.path.parent, execution)
    _change_execution(study, runs, lambda _: execution, f"moved to {execution.executor}")


def prioritise(study: StudyDir, runs: Sequence[str] | None, priority: int) -> None:
    """Change the priority of waiting runs (default 0, the highest goes first); running ones are not affected.

    Raises:
        UsageError: there is no run of one of the names, or the study is archived.
        QueueError: the scheduler cannot be started.
    """
    _change_execution(study, runs, lambda old: dataclasses.replace(old, priority=priority))


def _change_execution(
    study: StudyDir, runs: Sequence[str] | None, change: Callable[[Execution], Execution], stop_reason: str = ""
) -> None:
    from eavdash.jobs import queue_tasks, requests

    chosen = choose_runs(study, runs, whole=False)
    with queue_session(study.path.parent) as broker:
        study.refuse_archived()
        changed = for_each(chosen, lambda run: requests.change_execution(run, chosen[run], change, stop_reason))
        broker.cancel([each.obsolete for each in changed.values()])
        queue_tasks.activate(broker, chosen, fresh={run: each.status for run, each in changed.items()})
    ensure_scheduler(study.path.parent)


def wait(
    study: StudyDir,
    runs: Sequence[str] | None = None,
    report: Callable[[pd.DataFrame], Any] | None = None,
    timeout: float | None = None,
    warn: Callable[[str], Any] = lambda _: None,
) -> pd.DataFrame:
    """Block until the runs have ended; call ``report`` with a snapshot twice a second and return the last one.

    A scheduler that has died is started again. ``warn`` gets what keeps the queue from going on, once.

    Raises:
        QueueError: timeout, a run was never submitted, or schedulers die as soon as they are started.
    """
    names = [run.name for run in named_runs(study, runs)]
    started = time.monotonic()
    before, restarts, polls, warned = "", 0, 0, False
    while True:
        table = snapshot(study, names)
        if report is not None:
            report(table)
        if bool(table["ended"].all()):
            return table
        if timeout is not None and time.monotonic() - started > timeout:
            left = ", ".join(table["run"][~table["ended"]].head(5))
            raise QueueError.at(
                study.path,
                expected=f"all runs to end within {timeout:g} s",
                found=f"{left} unfinished",
                remedy="wait longer",
            )
        now = table[["state", "epoch", "attempt"]].to_csv()
        restarts = 0 if now != before else restarts
        before = now
        if polls % 4 == 0:
            _check_submitted(study, table)
            if study.paused and not (table["state"] == "running").any():
                raise QueueError.at(
                    study.path,
                    expected="a study whose runs may start",
                    found="a paused one",
                    remedy=f"resume it: eavdash resume {study.name}",
                )
            mark_busy(study.path.parent)
            restarts += ensure_scheduler(study.path.parent)
            if (problem := obstacle(study.path.parent)) and not warned:
                warn(problem)
            warned = bool(problem)
        if restarts > MAX_RESTARTS:
            raise scheduler_error(study.path.parent, "a scheduler that stays alive")
        polls += 1
        time.sleep(0.5)


def _check_submitted(study: StudyDir, table: pd.DataFrame) -> None:
    for name in table["run"][~table["ended"]]:
        run = study.run(name)
        if not run.status().submission and not run.locked():
            raise QueueError.at(
                run.path, expected="a run in the queue", found="one that was never submitted", remedy="submit it"
            )
