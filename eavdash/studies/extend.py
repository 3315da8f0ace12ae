"""Copies of a study with other settings, and additional subjects, folds and seeds of the same study.

In: a study's folder and the changes. Out: plans of ``eavdash.studies``, and runs in the queue. Runs that are done or
active are never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eavdash.config.convert import differences, execution_of, recorded_config, to_dict, with_settings
from eavdash.config.schema import Execution, Selection, StudyConfig
from eavdash.errors import IntegrityError, UsageError
from eavdash.jobs import queue
from eavdash.results import left_out
from eavdash.store import RunDir, StudyDir, check_study_name
from eavdash.store.documents import StudyDocument
from eavdash.store.status import RunStatus
from eavdash.studies.plan import Plan, plan
from eavdash.studies.write import prepare, retry


@dataclass(frozen=True)
class Clone:
    """A new study, and its differences from the original (``key: old → new``)."""

    plan: Plan
    differences: tuple[str, ...]


@dataclass(frozen=True)
class Extension:
    """The runs that an extension adds.

    ``queued``: runs that are new or were never submitted; ``new``: those of them that did not exist before;
    ``again``: failed and cancelled runs that are queued again.
    """

    plan: Plan
    queued: tuple[str, ...]
    new: tuple[str, ...]
    again: tuple[str, ...] = ()


def free_name(root: Path, name: str) -> str:
    """Return ``name`` with the first free number appended, such as ``pilot-2``."""
    stem, dash, number = name.rpartition("-")
    if not (dash and stem and number.isdigit()):
        stem, number = name, "1"
    following = int(number) + 1
    while (root / f"{stem}-{following}").exists():
        following += 1
    return f"{stem}-{following}"


def clone(
    study: StudyDir,
    name: str,
    settings: Sequence[str] = (),
    subjects: Sequence[str] | None = None,
    folds: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    *,
    write: bool = False,
) -> Clone:
    """Plan the study ``name`` on the same dataset with some ``key=value`` settings changed.

    ``subjects``, ``folds`` and ``seeds``: None takes those of the study, an empty sequence takes all; another protocol
    takes all folds. With ``write`` the new study is written, but not queued.

    Raises:
        UsageError: the name is taken or invalid, or a setting, subject or fold is invalid.
        DataError, SplitError: as :func:`eavdash.studies.plan`.
    """
    root = study.path.parent
    if StudyDir(root / check_study_name(name)).exists:
        raise UsageError.at(
            root, expected="a new study's name", found=f"{name!r}, which exists", remedy=f"try {free_name(root, name)}"
        )
    document = study.study()
    before = recorded_config(document)
    config = with_settings(before, settings)
    if folds is None and config.protocol != before.protocol:
        folds = ()
    chosen = _selection(document, subjects, folds, seeds)
    new = (prepare if write else plan)(document.dataset.path, name, config, chosen, root)
    changed = differences(to_dict(before), new.document.config)
    changed += differences(document.selection.document(), new.document.selection.document())
    changed += left_out.differences(document.left_out, new.document.left_out)
    return Clone(new, tuple(changed))


def plan_extension(
    study: StudyDir,
    subjects: Sequence[str] | None = None,
    folds: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
) -> Extension:
    """Return the runs that :func:`extend` would queue, without writing anything.

    Raises:
        As :func:`extend`.
    """
    document = study.study()
    extended = plan(*_plan_arguments(study, document, subjects, folds, seeds), frozen=True)
    existing = set(extended.existing)
    new = tuple(run.name for run in extended.planned if run.name not in existing and not run.problem)
    return Extension(extended, (*new, *_never_submitted(study, extended.existing)), new)


def extend(
    study: StudyDir,
    subjects: Sequence[str] | None = None,
    folds: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    *,
    retry_ended: bool = False,
    execution: Execution | None = None,
) -> Extension:
    """Add subjects, folds or seeds to a study and queue the runs that are new or were never submitted.

    None adds none, an empty sequence adds all of the dataset. The dataset is read only for these, for subjects that
    the study's frozen table lacks, and for those that could not be used so far. ``retry_ended``: also queue failed and
    cancelled runs again.
    ``execution`` defaults to that of the most recently submitted run.

    Raises:
        UsageError: the study is archived or gone, or a subject or fold is invalid; ``StudyConflictError`` if its
            recordings have changed, or subjects cannot be added (cross-subject protocols).
        QueueError: the scheduler cannot be started.
    """
    document = study.study()
    before = {run.name for run in study.runs()}
    extended = prepare(*_plan_arguments(study, document, subjects, folds, seeds), existing=True, frozen=True)
    queued = _never_submitted(study, extended.runs)
    if queued:
        queue.submit(study, queued, execution or latest_execution(study), given=execution is not None)
    again: list[str] = []
    if retry_ended and (ended := _ended(study, extended.runs)):
        again = retry(study, ended)
    return Extension(extended, queued, tuple(name for name in queued if name not in before), tuple(again))


def _plan_arguments(
    study: StudyDir,
    document: StudyDocument,
    subjects: Sequence[str] | None,
    folds: Sequence[int] | None,
    seeds: Sequence[int] | None,
) -> tuple[str, str, StudyConfig, Selection, Path]:
    """Return the arguments of :func:`plan` for the study's selection with the additions."""
    old = document.selection
    if subjects:
        subjects = [*old.subjects, *subjects]
    if folds:
        folds = sorted({*old.folds, *folds})
    chosen = _selection(document, subjects, folds, sorted({*old.seeds, *(seeds or ())}))
    return document.dataset.path, study.name, recorded_config(document), chosen, study.path.parent


def _selection(
    document: StudyDocument,
    subjects: Sequence[str] | None,
    folds: Sequence[int] | None,
    seeds: Sequence[int] | None,
) -> Selection:
    old = document.selection
    return Selection(
        tuple(dict.fromkeys(old.subjects if subjects is None else subjects)),
        tuple(old.folds if folds is None else folds),
        tuple(seeds or old.seeds),
    )


def _never_submitted(study: StudyDir, names: Sequence[str]) -> tuple[str, ...]:
    found = []
    for name in names:
        status = _status(study.run(name))
        if status is not None and status.state == "queued" and not status.submission:
            found.append(name)
    return tuple(found)


def _ended(study: StudyDir, names: Sequence[str]) -> list[str]:
    """Return failed and cancelled runs, without those whose recordings cannot be used."""
    states = {name: _status(study.run(name)) for name in names}
    return [n for n, s in states.items() if s is not None and s.state in ("failed", "cancelled") and not s.unusable]


def latest_execution(study: StudyDir) -> Execution:
    """Return the execution settings of a study's most recently submitted run, or the defaults."""
    submitted = [status for run in study.runs() if (status := _status(run)) is not None and status.submission]
    # A submission token begins with its time.
    latest = max(submitted, key=lambda status: str(status.submission), default=None)
    return execution_of(latest.execution) if latest else Execution()


def _status(run: RunDir) -> RunStatus | None:
    try:
        return run.status()
    except IntegrityError:
        return None
