"""More of a study: a copy with another configuration, or more subjects, folds and seeds of the same.

In: a study's folder and what is to be different. Out: plans of ``eavdash.studies``, and runs in the queue. Runs that
are done or under way are never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eavdash.config.convert import differences, execution_of, from_dict, to_dict, with_settings
from eavdash.config.schema import Execution, Selection, StudyConfig
from eavdash.errors import IntegrityError, UsageError
from eavdash.jobs import queue
from eavdash.store import RunDir, StudyDir, check_study_name
from eavdash.studies.plan import Plan, plan
from eavdash.studies.write import prepare, retry


@dataclass(frozen=True)
class Clone:
    """A new study, and what differs from the one that it was made from (``key: old → new``)."""

    plan: Plan
    differences: tuple[str, ...]


@dataclass(frozen=True)
class Extension:
    """A study with more in it. ``holes``: runs that are new or were never submitted; ``new``: those that were not
    there; ``again``: failed and cancelled ones that are queued again.
    """

    plan: Plan
    holes: tuple[str, ...]
    new: tuple[str, ...]
    again: tuple[str, ...] = ()


def free_name(root: Path, name: str) -> str:
    """``name`` with the first number behind it under which there is no study: ``pilot-2``."""
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
    """Plan the study ``name`` on the same dataset, with some ``key=value`` settings edited.

    ``subjects``, ``folds`` and ``seeds`` are those of the study where they are None, and all there are where they are
    empty; with another protocol all folds are taken. With ``write`` the new study is written (and not queued).

    Raises:
        UsageError: the name is taken or impossible; a setting, subject or fold that cannot be.
        DataError, SplitError: as :func:`eavdash.studies.plan`.
    """
    root = study.path.parent
    if StudyDir(root / check_study_name(name)).exists:
        raise UsageError.at(
            root, expected="a new study's name", found=f"{name!r}, which exists", remedy=f"try {free_name(root, name)}"
        )
    document = study.study()
    before = from_dict(document["config"])
    config = with_settings(before, settings)
    if folds is None and config.protocol != before.protocol:
        folds = ()
    chosen = _selection(document, subjects, folds, seeds)
    made = (prepare if write else plan)(document["dataset"]["path"], name, config, chosen, root)
    changed = differences(to_dict(before), to_dict(config))
    changed += differences(document["selection"], made.document["selection"])
    return Clone(made, tuple(changed))


def plan_extension(
    study: StudyDir,
    subjects: Sequence[str] | None = None,
    folds: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
) -> Extension:
    """What :func:`extend` would queue; nothing is written.

    Raises:
        As :func:`extend`.
    """
    document = study.study()
    made = plan(*_arguments(study, document, subjects, folds, seeds))
    there = set(made.existing)
    new = tuple(run.name for run in made.planned if run.name not in there and not run.problem)
    return Extension(made, (*new, *_never_submitted(study, made.existing)), new)


def extend(
    study: StudyDir,
    subjects: Sequence[str] | None = None,
    folds: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    *,
    retry_ended: bool = False,
    execution: Execution | None = None,
) -> Extension:
    """Add subjects, folds or seeds to a study and queue the holes: runs that are new or were never submitted.

    None adds none, an empty sequence all there are. ``retry_ended``: queue failed and cancelled runs again as well.
    ``execution`` is that of the run which was submitted last, unless it is given.

    Raises:
        UsageError: the study is archived or gone, a subject or fold that cannot be; ``StudyConflictError`` where its
            recordings have changed, or subjects cannot be added (across subjects).
        QueueError: the queue's conductor cannot be started.
    """
    document = study.study()
    before = {run.name for run in study.runs()}
    made = prepare(*_arguments(study, document, subjects, folds, seeds), existing=True)
    holes = _never_submitted(study, made.runs)
    if holes:
        queue.submit(study, holes, execution or latest_execution(study))
    again: list[str] = []
    if retry_ended and (ended := _ended(study, made.runs)):
        again = retry(study, ended)
    return Extension(made, holes, tuple(name for name in holes if name not in before), tuple(again))


def _arguments(
    study: StudyDir,
    document: dict[str, Any],
    subjects: Sequence[str] | None,
    folds: Sequence[int] | None,
    seeds: Sequence[int] | None,
) -> tuple[str, str, StudyConfig, Selection, Path]:
    """What to plan: all that the study has already, and what is added."""
    old = document["selection"]
    if subjects:
        subjects = [*old["subjects"], *subjects]
    if folds:
        folds = sorted({*old["folds"], *folds})
    chosen = _selection(document, subjects, folds, sorted({*old["seeds"], *(seeds or ())}))
    return document["dataset"]["path"], study.name, from_dict(document["config"]), chosen, study.path.parent


def _selection(
    document: dict[str, Any],
    subjects: Sequence[str] | None,
    folds: Sequence[int] | None,
    seeds: Sequence[int] | None,
) -> Selection:
    old = document["selection"]
    return Selection(
        tuple(dict.fromkeys(old["subjects"] if subjects is None else subjects)),
        tuple(old["folds"] if folds is None else folds),
        tuple(seeds or old["seeds"]),
    )


def _never_submitted(study: StudyDir, names: Sequence[str]) -> tuple[str, ...]:
    found = []
    for name in names:
        status = _status(study.run(name))
        if status.get("state") == "queued" and not status.get("submission"):
            found.append(name)
    return tuple(found)


def _ended(study: StudyDir, names: Sequence[str]) -> list[str]:
    """Runs that failed or were cancelled; not those that cannot be computed until their recordings are mended."""
    states = {name: _status(study.run(name)) for name in names}
    return [n for n, s in states.items() if s.get("state") in ("failed", "cancelled") and not s.get("unusable")]


def latest_execution(study: StudyDir) -> Execution:
    """How the run of a study that was submitted last is computed; the defaults where none was."""
    submitted = [status for run in study.runs() if (status := _status(run)).get("submission")]
    # A submission's token begins with the time at which it was made.
    return execution_of(max(submitted, key=lambda status: str(status["submission"]))) if submitted else Execution()


def _status(run: RunDir) -> dict[str, Any]:
    try:
        return run.status()
    except IntegrityError:
        return {}
