"""A study's folder: written from a plan, planned again when recordings were mended, queued again.

In: what :func:`eavdash.studies.plan` takes. Out: ``study.json``, ``splits.csv``, ``trials.csv`` and a folder per run,
all that the queue and the workers need.
"""

from __future__ import annotations

import fcntl
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd

from eavdash.config.convert import from_dict
from eavdash.config.schema import Selection, StudyConfig
from eavdash.errors import DataError, IntegrityError, UsageError
from eavdash.store import StudyDir, find_study
from eavdash.store.atomic import write_atomic, write_json
from eavdash.studies.plan import Plan, plan

__all__ = ["PLAN_LOCK", "Plan", "one_planner", "plan", "prepare", "refresh", "retry"]
#: Under ``.queue``: held by whoever writes a study's folder, or takes one away.
PLAN_LOCK = "plan.lock"


def prepare(
    root: str | Path,
    name: str,
    config: StudyConfig,
    selection: Selection,
    checkpoints: Path,
    *,
    existing: bool = False,
) -> Plan:
    """:func:`plan`, and write it: study.json, splits.csv, trials.csv, a folder per run. Planning twice changes nothing.

    A run whose subject cannot be used is written as failed with the reason, or queued again once the reason is gone.
    ``existing``: the study is to be there already; one that was deleted meanwhile does not come back.

    Raises:
        As :func:`plan`; UsageError where a study that should exist does not.
    """
    with one_planner(checkpoints):
        if existing:
            find_study(checkpoints, name)
        made = plan(root, name, config, selection, checkpoints)
        made.study.path.mkdir(parents=True, exist_ok=True)
        _write_table(made.study.splits_file, made.splits)
        _write_table(made.study.trials_file, made.trials)
        if not made.study.exists or made.study.study() != made.document:
            write_json(made.study.study_file, made.document)
        for planned in made.planned:
            run = made.study.run(planned.name)
            run.create(planned.config)
            if run.unreadable():
                continue  # it has to be made again, as its row says; the others need not wait for that
            status = run.status()
            if planned.problem and status["state"] == "queued":
                run.transition("failed", reason=planned.problem, unusable=True)
            elif not planned.problem and status.get("unusable"):
                write_json(run.config_file, planned.config)
                run.transition("queued", reason="", unusable=False)
        return made


def refresh(study: StudyDir) -> Plan:
    """Plan a study again as it stands, so that subjects whose recordings have been mended become usable."""
    document = study.study()
    selection = document["selection"]
    return prepare(
        document["dataset"]["path"],
        study.name,
        from_dict(document["config"]),
        Selection(tuple(selection["subjects"]), tuple(selection["folds"]), tuple(selection["seeds"])),
        study.path.parent,
        existing=True,
    )


def retry(study: StudyDir, runs: Sequence[str] | None = None) -> list[str]:
    """Queue failed and cancelled runs again, after looking once more at subjects that could not be used.

    Returns the names of what was queued.
    """
    from eavdash.jobs.queue import retry as queue_retry

    study.refuse_archived()
    names = set(runs) if runs is not None else {r.name for r in study.runs()}
    if _unusable(study, names):
        refresh(study)
    still = _unusable(study, names)
    if still and runs is not None and set(still) == names:
        raise DataError(still[min(still)])
    return queue_retry(study, sorted(names - set(still)))


def _unusable(study: StudyDir, names: Collection[str]) -> dict[str, str]:
    """Of these runs, those whose recordings could not be used, with the reason."""
    found = {}
    for name in names:
        with suppress(IntegrityError):  # the queue leaves out what cannot be read, and says so
            status = study.run(name).status()
            if status.get("unusable"):
                found[name] = str(status.get("reason"))
    return found


def _write_table(path: Path, table: pd.DataFrame) -> None:
    """The table as CSV, unless it is there already."""
    text = table.to_csv(index=False).encode()
    if not path.exists() or path.read_bytes() != text:
        write_atomic(path, lambda file: file.write(text))


@contextmanager
def one_planner(checkpoints: Path) -> Iterator[None]:
    """One planner at a time per checkpoints folder: two tabs that launch at once make one study.

    Raises:
        UsageError: the folder cannot be written.
    """
    folder = checkpoints / ".queue"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / PLAN_LOCK).open("ab")
    except OSError as error:
        raise UsageError.at(
            checkpoints,
            expected="a folder that can be written",
            found=error.strerror or str(error),
            remedy="choose another with --checkpoints",
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
