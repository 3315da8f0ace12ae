"""Submit, cancel, retry, pause, move and wait for runs: what the app and the command line call.

In: a study's folder and names of its runs (None: all of them). Out: changed states in the runs' files, tasks in the
durable queue, and a conductor at work on them. All of these may be called from any number of processes at once, and
twice: a run is launched once. A run whose own files cannot be read is left out while the others go on
(:func:`unreadable` names it); asked for alone, it is an error. Nothing here imports torch, and DBOS only when something
is changed.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from eavdash.config.schema import Execution
from eavdash.errors import EavdashError, IntegrityError, QueueError, TrainingError
from eavdash.jobs.choose import choose_runs, depth, named_runs, with_parents
from eavdash.jobs.dependencies import pass_on
from eavdash.jobs.scheduler_process import announce, ensure_scheduler, queue_session, scheduler_alive, scheduler_error
from eavdash.jobs.snapshot import snapshot
from eavdash.store import StudyDir

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
#: Conductors that :func:`wait` starts without any run changing before it gives up.
MAX_RESTARTS = 5


def submit(study: StudyDir, runs: Sequence[str] | None = None, execution: Execution = DEFAULT) -> None:
    """Queue runs and the parents that they need, with the settings of ``execution``.

    Runs that are done, failed, cancelled or under way already are left as they are (see :func:`retry`). Those of a
    paused study wait until it is resumed.

    Raises:
        UsageError: there is no run of one of the names, or the study is archived.
        IntegrityError: none of the runs can be read.
        QueueError: the conductor cannot be started.
    """
    from eavdash.jobs import requests, tasks

    chosen = with_parents(choose_runs(study, runs))
    with queue_session(study.path.parent) as broker:
        study.refuse_archived()
        for run in chosen:
            requests.submit(run, execution)
        tasks.activate(broker, chosen)
    ensure_scheduler(study.path.parent)


def retry(study: StudyDir, runs: Sequence[str] | None = None, execution: Execution | None = None) -> list[str]:
    """Queue runs that failed, were cancelled or are blocked by such a run; each goes on after its last epoch.

    With ``runs`` also: their failed parents, the runs that they block, and a run that is done but whose files are
    damaged, which starts over, together with those that have failed because of them. ``execution`` replaces the
    settings they had. Returns the names of what was queued.

    Raises:
        UsageError: there is no run of one of the names, or the study is archived.
        IntegrityError: none of the runs can be read.
        QueueError: the conductor cannot be started.
    """
    from eavdash.jobs import requests, tasks

    chosen = with_parents(choose_runs(study, runs))
    if runs is not None:
        every, names = choose_runs(study, None), {run.name for run in chosen}
        while waiting := [run for run in every if names & set(requests.held_up_by(run)) and run.name not in names]:
            chosen += waiting
            names |= {run.name for run in waiting}
    with queue_session(study.path.parent) as broker:
        study.refuse_archived()
        named = {*(runs or ()), *(name for run in chosen for name in requests.blamed(run))}
        queued = [run for run in chosen if requests.retry(run, execution, named=run.name in named)]
        tasks.activate(broker, queued)
    ensure_scheduler(study.path.parent)
    return [run.name for run in queued]


def cancel(study: StudyDir, runs: Sequence[str] | None = None) -> list[str]:
    """Cancel runs: those that wait at once, those under way as soon as their process is gone (see :func:`wait`).

    One that a failed run has blocked is cancelled as well, and keeps its reason. Returns the names of the runs that it
    concerned: those that had not ended, and the blocked ones.

    Raises:
        UsageError: there is no run of one of the names.
        IntegrityError: none of the runs has a status.json that can be read.
        TrainingError: that of one cannot be written; the others were cancelled.
        QueueError: the conductor cannot be started.
    """
    from eavdash.jobs import requests, tasks

    # Those that wait for others first, or they would be told that what they wait for was cancelled.
    chosen = sorted(choose_runs(study, runs, whole=False), key=depth)
    dropped: dict[str, list[str] | None] = {}
    trouble: list[EavdashError] = []
    with queue_session(study.path.parent) as broker:
        for run in chosen:
            try:
                dropped[run.name] = requests.cancel(run)
            except (IntegrityError, TrainingError) as error:
                trouble.append(error)
        broker.cancel([task for ids in dropped.values() for task in ids or ()])
        tasks.activate(broker, chosen)
        for run in chosen:
            if dropped.get(run.name):
                pass_on(run)
    ensure_scheduler(study.path.parent)
    if trouble:
        raise trouble[0]
    return [name for name, ids in dropped.items() if ids is not None]


def pause(study: StudyDir, now: bool = False) -> None:
    """Let no further run of a study start. Those that have begun are finished; ``now``: they stop after the last epoch.

    Raises:
        QueueError: the conductor cannot be started.
    """
    from eavdash.jobs import requests, tasks

    study.set_control(paused=True)
    runs = choose_runs(study, None, whole=False)
    with queue_session(study.path.parent) as broker:
        broker.cancel([task for run in runs for task in requests.suspend(run, "paused", waiting_only=not now)])
        tasks.activate(broker, runs)
    ensure_scheduler(study.path.parent)


def resume(study: StudyDir) -> None:
    """Let the runs of a paused study go on.

    Raises:
        UsageError: the study is archived.
        QueueError: the conductor cannot be started.
    """
    from eavdash.jobs import tasks

    with queue_session(study.path.parent) as broker:
        study.refuse_archived()
        study.set_control(paused=False)
        tasks.activate(broker, study.runs())
    ensure_scheduler(study.path.parent)


def move(study: StudyDir, runs: Sequence[str] | None, execution: Execution) -> None:
    """Have unfinished runs computed elsewhere, or otherwise: each goes on there after its last finished epoch.

    Raises:
        UsageError: there is no run of one of the names, or the study is archived.
        QueueError: the conductor cannot be started.
    """
    _resettle(study, runs, lambda _: execution, f"moved to {execution.executor}")


def prioritise(study: StudyDir, runs: Sequence[str] | None, priority: int) -> None:
    """Let runs that wait go before others (the highest first, usually 0); what has begun is left alone.

    Raises:
        UsageError: there is no run of one of the names, or the study is archived.
        QueueError: the conductor cannot be started.
    """
    _resettle(study, runs, lambda old: dataclasses.replace(old, priority=priority))


def _resettle(
    study: StudyDir, runs: Sequence[str] | None, change: Callable[[Execution], Execution], why: str = ""
) -> None:
    from eavdash.jobs import requests, tasks

    chosen = choose_runs(study, runs, whole=False)
    with queue_session(study.path.parent) as broker:
        study.refuse_archived()
        broker.cancel([task for run in chosen for task in requests.resettle(run, change, why)])
        tasks.activate(broker, chosen)
    ensure_scheduler(study.path.parent)


def wait(
    study: StudyDir,
    runs: Sequence[str] | None = None,
    report: Callable[[pd.DataFrame], Any] | None = None,
    timeout: float | None = None,
) -> pd.DataFrame:
    """Block until the runs have ended, calling ``report`` with a snapshot twice a second; returns the last one.

    A conductor that died meanwhile is started again.

    Raises:
        QueueError: the time is over, a run was never submitted, or conductors die as soon as they are started.
    """
    names = [run.name for run in named_runs(study, runs)]
    begun = time.monotonic()
    before, restarts, looks = "", 0, 0
    while True:
        table = snapshot(study, names)
        if report is not None:
            report(table)
        if bool(table["ended"].all()):
            return table
        if timeout is not None and time.monotonic() - begun > timeout:
            left = ", ".join(table["run"][~table["ended"]].head(5))
            raise QueueError.at(
                study.path, expected=f"an end within {timeout:g} s", found=f"{left} unfinished", remedy="wait longer"
            )
        now = table[["state", "epoch", "attempt"]].to_csv()
        restarts = 0 if now != before else restarts
        before = now
        if looks % 4 == 0:
            _check_submitted(study, table)
            if study.paused and not (table["state"] == "running").any():
                raise QueueError.at(
                    study.path,
                    expected="a study whose runs may start",
                    found="a paused one",
                    remedy=f"eavdash resume {study.name}",
                )
            announce(study.path.parent)
            restarts += ensure_scheduler(study.path.parent)
        if restarts > MAX_RESTARTS:
            raise scheduler_error(study.path.parent, "a conductor that stays alive")
        looks += 1
        time.sleep(0.5)


def _check_submitted(study: StudyDir, table: pd.DataFrame) -> None:
    for name in table["run"][~table["ended"]]:
        run = study.run(name)
        if not run.status().get("submission") and not run.locked():
            raise QueueError.at(
                run.path, expected="a run in the queue", found="one never submitted", remedy="submit it"
            )
