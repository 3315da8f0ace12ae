"""Submit, cancel, retry and wait for runs: what the app and the command line call.

In: a study's folder and names of its runs (None: all of them). Out: changed states in the runs' files, tasks in the
durable queue, and a conductor at work on them. All of these may be called from any number of processes at once, and
twice: a run is launched once. Nothing here imports torch, and DBOS only when something is changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from eavdash.config import Execution
from eavdash.errors import IntegrityError, QueueError
from eavdash.jobs.door import announce, at_the_door, conductor_alive, conductor_error, ensure_conductor
from eavdash.jobs.snapshot import ended, snapshot
from eavdash.store import CHECKED_FILES, RunDir, StudyDir, find_run

if TYPE_CHECKING:
    import pandas as pd

    from eavdash.jobs.broker import Broker

DEFAULT = Execution()
__all__ = ["cancel", "conductor_alive", "ensure_conductor", "retry", "submit", "wait"]
#: Conductors that :func:`wait` starts without any run changing before it gives up.
MAX_RESTARTS = 5


def submit(study: StudyDir, runs: Sequence[str] | None = None, execution: Execution = DEFAULT) -> None:
    """Queue runs and the parents that they need, with the settings of ``execution``.

    Runs that are done, failed, cancelled or under way already are left as they are (see :func:`retry`).

    Raises:
        UsageError: there is no run of one of the names.
        QueueError: the conductor cannot be started.
    """
    chosen = _with_parents(_choose(study, runs))
    with at_the_door(study.path.parent) as broker:
        for run in chosen:
            _submit(run, execution)
        _activate(broker, chosen)
    ensure_conductor(study.path.parent)


def retry(study: StudyDir, runs: Sequence[str] | None = None, execution: Execution | None = None) -> list[str]:
    """Queue runs that failed, were cancelled or are blocked by such a run; each goes on after its last epoch.

    With ``runs`` also: their failed parents, the runs that they block, and a run that is done but whose files are
    damaged, which starts over. ``execution`` replaces the settings they had. Returns the names of what was queued.

    Raises:
        UsageError: there is no run of one of the names.
        QueueError: the conductor cannot be started.
    """
    chosen = _with_parents(_choose(study, runs))
    if runs is not None:
        every, names = _choose(study, None), {run.name for run in chosen}
        while blocked := [run for run in every if names & set(_blocked_by(run)) and run.name not in names]:
            chosen += blocked
            names |= {run.name for run in blocked}
    with at_the_door(study.path.parent) as broker:
        queued = [run for run in chosen if _retry(run, execution, named=runs is not None and run.name in runs)]
        _activate(broker, queued)
    ensure_conductor(study.path.parent)
    return [run.name for run in queued]


def cancel(study: StudyDir, runs: Sequence[str] | None = None) -> list[str]:
    """Cancel runs: those that wait at once, those under way as soon as their process is gone (see :func:`wait`).

    Returns the names of the runs that it concerned: those that had not ended.

    Raises:
        UsageError: there is no run of one of the names.
        QueueError: the conductor cannot be started.
    """
    # Those that wait for others first, or they would notice that what they wait for was cancelled.
    chosen = sorted(_choose(study, runs), key=_depth)
    with at_the_door(study.path.parent) as broker:
        dropped = {run.name: _cancel(run) for run in chosen}
        broker.cancel([task for tasks in dropped.values() for task in tasks or ()])
        _activate(broker, chosen)
    ensure_conductor(study.path.parent)
    return [name for name, tasks in dropped.items() if tasks is not None]


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
    names = [run.name for run in _choose(study, runs)]
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
            announce(study.path.parent)
            restarts += ensure_conductor(study.path.parent)
        if restarts > MAX_RESTARTS:
            raise conductor_error(study.path.parent, "a conductor that stays alive")
        looks += 1
        time.sleep(0.5)


def _activate(broker: Broker, runs: list[RunDir]) -> None:
    from eavdash.jobs.reconcile import activate

    activate(broker, runs)


def _choose(study: StudyDir, names: Sequence[str] | None) -> list[RunDir]:
    return study.runs() if names is None else [find_run(study, name) for name in dict.fromkeys(names)]


def _depth(run: RunDir) -> int:
    """Fusion 0, a run that waits for another 1, a run that waits for none 2."""
    config = run.config()
    return 2 if not config.get("parents") else int(config.get("stage") != "fusion")


def _with_parents(runs: list[RunDir]) -> list[RunDir]:
    """The runs and, before each, the parents that they need."""
    from eavdash.jobs.foreman import parents

    needed: dict[str, RunDir] = {}

    def add(run: RunDir) -> None:
        if run.name in needed:
            return
        for parent in parents(run):
            if parent.config_file.exists():
                add(parent)
        needed[run.name] = run

    for run in runs:
        add(run)
    return list(needed.values())


def _blocked_by(run: RunDir) -> list[str]:
    with contextlib.suppress(IntegrityError):
        status = run.status()
        return list(status.get("blocked_by") or []) if status["state"] == "blocked" else []
    return []


def _submit(run: RunDir, execution: Execution) -> None:
    """Give a queued run its token: the one of several callers who is first."""
    status = run.status()
    if status["state"] != "queued" or status.get("submission"):
        return
    with contextlib.suppress(QueueError):
        _request(run, status, execution)


def _retry(run: RunDir, execution: Execution | None, named: bool) -> bool:
    status = run.status()
    if status["state"] == "done" and named and _damaged(run):
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


def _request(run: RunDir, status: dict[str, Any], execution: Execution | None) -> None:
    """Write that the run is to be computed, by a new request."""
    from eavdash.jobs.foreman import obstacles, waiting_reason
    from eavdash.jobs.reconcile import new_token

    expect = {key: status.get(key) for key in ("state", "submission")}
    state, reason = "queued", ""
    waiting, lost = obstacles(run)
    if waiting or lost:
        # A parent that failed may be queued again by the same request: whoever waits for it finds out.
        state, reason = "blocked", waiting_reason([*waiting, *lost])
    if execution is not None:
        status["execution"] = dataclasses.asdict(execution)
    fields: dict[str, Any] = {
        "submission": new_token(),
        "execution": status.get("execution") or dataclasses.asdict(Execution()),
        "cancel": None,
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


def _damaged(run: RunDir) -> bool:
    written = set(run.status().get("checksums") or {}) | {run.predictions_file.name}
    try:
        for name in written:
            run.verify(name)
    except IntegrityError:
        return True
    return False


def _cancel(run: RunDir) -> list[str] | None:
    """Cancel one run as far as its files go; the ids of tasks that need not be carried out, None if it had ended."""
    from eavdash.jobs.foreman import train_task, wait_task
    from eavdash.jobs.reconcile import new_token

    while True:
        status = run.status()
        expect = {key: status.get(key) for key in ("state", "submission")}
        try:
            if ended(status):
                return None
            if status.get("cancel"):
                return []
            if status["state"] == "running":
                run.transition("running", expect=expect, cancel=new_token())
                return []
            run.transition("cancelled", expect=expect, reason="cancelled", finished=time.time())
            return [train_task(run, status).id, wait_task(run, status).id]
        except QueueError:
            continue  # it moved on in this very moment: look again


def _check_submitted(study: StudyDir, table: pd.DataFrame) -> None:
    for name in table["run"][~table["ended"]]:
        run = study.run(name)
        if not run.status().get("submission") and not run.locked():
            raise QueueError.at(
                run.path, expected="a run in the queue", found="one never submitted", remedy="submit it"
            )
