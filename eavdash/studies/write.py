"""Writing a planned study, planning it again when recordings were fixed, and queueing its runs again.

In: the arguments of :func:`eavdash.studies.plan`. Out: ``study.json``, ``trials.parquet``, ``splits.csv``,
``trials.csv`` and a folder per run, for the queue and the workers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from eavdash.config.convert import recorded_config
from eavdash.config.schema import Selection, StudyConfig
from eavdash.errors import DataError, IntegrityError, UsageError
from eavdash.jobs.queue_database import queue_folder
from eavdash.store import StudyDir, find_study
from eavdash.store.atomic import file_lock, write_atomic
from eavdash.store.readable import check_readable
from eavdash.store.record import write_record
from eavdash.store.regular import open_regular
from eavdash.studies.plan import Plan, plan

if TYPE_CHECKING:
    from eavdash.studies.unusable import Unusable

__all__ = ["PLAN_LOCK", "Plan", "plan", "planner_lock", "prepare", "refresh", "retry"]
#: Under ``.queue``: held by a process that writes or removes a study's folder.
PLAN_LOCK = "plan.lock"
#: Seconds to wait for another planner, which reads the headers of all recordings.
PLANNER_WAIT = 600.0


def prepare(
    root: str | Path,
    name: str,
    config: StudyConfig,
    selection: Selection,
    checkpoints: Path,
    *,
    existing: bool = False,
    frozen: bool = False,
    imported: bool = False,
    unusable: Unusable | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Plan:
    """Plan a study and write its files and a folder per run. A second call changes nothing.

    A run whose subject cannot be used is written as failed with the reason, and queued again once the reason is gone.
    ``existing``: require the study to exist, so that one deleted meanwhile is not made again. ``frozen``, ``imported``,
    ``unusable`` and ``report``: as for :func:`plan`.

    Raises:
        As :func:`plan`; UsageError if ``existing`` and the study does not exist.
    """
    from eavdash.data.frozen import frozen_bytes

    with planner_lock(checkpoints):
        if existing:
            find_study(checkpoints, name)
        made = plan(
            *(root, name, config, selection, checkpoints),
            frozen=frozen,
            imported=imported,
            unusable=unusable,
            report=report,
        )
        made.study.path.mkdir(parents=True, exist_ok=True)
        # The splits must not name a trial that the frozen table lacks.
        _write_changed(made.study.table_file, frozen_bytes(made.table))
        for file, rows in ((made.study.splits_file, made.splits), (made.study.trials_file, made.trials)):
            _write_changed(file, rows.to_csv(index=False).encode())
        if not made.study.exists or made.study.study() != made.document:
            write_record(made.study.study_file, made.document)
        for planned in made.planned:
            run = made.study.run(planned.name)
            run.create(planned.config)
            if run.unreadable():
                continue  # this run has to be made again, as its row says; write the others
            status = run.status()
            if planned.problem and status.state == "queued":
                run.transition("failed", reason=planned.problem, unusable=True)
            elif not planned.problem and status.unusable:
                write_record(run.config_file, planned.config)
                run.transition("queued", reason="", unusable=False)
        return made


def refresh(study: StudyDir) -> Plan:
    """Plan a study again without changes, so that subjects whose recordings were fixed become usable."""
    document = study.study()
    selection = document.selection
    return prepare(
        document.dataset.path,
        study.name,
        recorded_config(document),
        Selection(selection.subjects, selection.folds, selection.seeds),
        study.path.parent,
        existing=True,
    )


def retry(study: StudyDir, runs: Sequence[str] | None = None) -> list[str]:
    """Queue failed and cancelled runs again, after checking once more the subjects that could not be used.

    Returns the names of the queued runs.

    Raises:
        DataError: none of the named runs has recordings that can be used. OutsideError: the dataset may not be read.
    """
    from eavdash.jobs import queue

    study.refuse_archived()
    check_readable(study.study().dataset.path)
    names = set(runs) if runs is not None else {r.name for r in study.runs()}
    for name in names:
        study.run(name).restore_status()
    if _unusable(study, names):
        refresh(study)
    still = _unusable(study, names)
    if still and runs is not None and set(still) == names:
        raise DataError(still[min(still)])
    return queue.retry(study, sorted(names - set(still)))


def _unusable(study: StudyDir, names: Collection[str]) -> dict[str, str]:
    """Return the runs whose recordings cannot be used, with the reason."""
    found = {}
    for name in names:
        with suppress(IntegrityError):  # the queue skips and reports unreadable runs
            status = study.run(name).status()
            if status.unusable:
                found[name] = status.reason
    return found


def _write_changed(path: Path, content: bytes) -> None:
    """Write the file, unless it has this content already."""
    try:
        with open_regular(path) as file:
            same = file.read(len(content) + 1) == content
    except OSError:
        same = False  # writing reports what is wrong
    if not same:
        write_atomic(path, lambda file: file.write(content))


@contextmanager
def planner_lock(checkpoints: Path) -> Iterator[None]:
    """Hold the lock that allows one planner per checkpoints folder: two tabs that launch at once make one study.

    Raises:
        UsageError: the folder is not writable. TrainingError: another planner takes longer than :data:`PLANNER_WAIT`.
    """
    remedy = "choose another with --checkpoints"
    with ExitStack() as stack:
        with UsageError.from_os(checkpoints, expected="a writable folder", remedy=remedy):
            folder = queue_folder(checkpoints)
            stack.enter_context(file_lock(folder / PLAN_LOCK, seconds=PLANNER_WAIT))
        yield
