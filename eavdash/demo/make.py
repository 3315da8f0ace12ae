"""Making the demo dataset: subjects in parallel processes, each complete or absent, resumable.

In: a folder, the number of subjects, a seed. Out: ``folder/EAV/EAV/subjectN/`` in EAV's layout, with ``truth.json``.
truth.json is written first, so that recordings are always marked as simulated; a subject is written to a hidden folder
that is renamed when complete. Other files are never changed or deleted.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from eavdash.demo import files
from eavdash.demo.plan import (
    CUES,
    FULL,
    NOISE,
    PLANTS,
    SMALL,
    DemoSize,
    Planting,
    SubjectPlan,
    made_with,
    plan_subject,
    truth,
)
from eavdash.errors import DataError, IntegrityError, TrainingError, UsageError
from eavdash.store.atomic import file_lock, write_json
from eavdash.store.names import expanded
from eavdash.store.processes import python_module
from eavdash.store.processes.pool import Ended, ProcessPool
from eavdash.store.record import read_json

TRUTH = "truth.json"
CHUNK = 10  # trials per media task
MAX_SUBJECTS = 999
_REMEDY = "choose another folder"

Report = Callable[[int, int, str], None]


def make_demo(
    folder: Path | str,
    subjects: int = 3,
    full: bool = False,
    seed: int = 0,
    report: Report | None = None,
    *,
    plant: str = "",
    cues: tuple[str, ...] | None = None,
    size: DemoSize | None = None,
    workers: int | None = None,
) -> Path:
    """Write simulated recordings under ``folder`` and return the EAV root, ``folder/EAV/EAV``.

    Existing subjects made with the same settings are kept, also if they are more than ``subjects``. ``report(done,
    total, what)`` counts tasks. ``plant`` and ``cues`` say what is planted (plan.py); where they are not given, it is
    what recordings in the folder have, otherwise the first of :data:`~eavdash.demo.plan.PLANTS` and all cues. ``size``
    overrides ``full``; ``workers`` is the number of processes, by default that of the available processors; 1 works in
    this process.

    Raises:
        UsageError: the folder cannot be written, or holds other data, or recordings made with other settings.
        DataError: the disk is full, or a process was killed; complete subjects are kept.
    """
    size = size or (FULL if full else SMALL)
    _check_request(subjects, seed, plant, cues or ())
    root = expanded(folder).resolve() / "EAV" / "EAV"
    with writing_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        with file_lock(root / ".making.lock", wait=False) as alone:
            if not alone:
                expected, remedy = "no other process making recordings here", "wait for it to finish"
                raise UsageError.at(root, expected=expected, found="a running one", remedy=remedy)
            known, planting = _earlier(root, seed, size, plant, cues)
            plans = [plan_subject(seed, number, size, planting) for number in range(1, max(subjects, known) + 1)]
            if known < len(plans):
                write_json(root / TRUTH, truth(seed, plans, size, planting, files.MARKERS, files.places))
            return _make(root, plans[:subjects], planting, size, workers or _processors(), report or (lambda *_: None))


@contextmanager
def writing_errors(root: Path) -> Iterator[None]:
    """Raise the errors of :func:`make_demo` for files below ``root`` that cannot be written."""
    try:
        yield
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        found = error.strerror or str(error)
        raise UsageError.at(
            error.filename or root, expected="a writable folder", found=found, remedy=_REMEDY
        ) from error
    except (OSError, TrainingError) as error:  # the store raises TrainingError if a file cannot be written
        cause = error if isinstance(error, OSError) else error.__cause__
        raise DataError.at(
            root,
            expected="disk space for the recordings",
            found=getattr(cause, "strerror", None) or str(cause),
            remedy="free some disk space or give another folder, then run it again, which keeps complete subjects",
        ) from error


def _make(
    root: Path, wanted: list[SubjectPlan], planting: Planting, size: DemoSize, workers: int, report: Report
) -> Path:
    missing = [plan for plan in wanted if not _folder(root, plan).is_dir()]
    pieces = len(_tasks(wanted[0]))
    done, total = (len(wanted) - len(missing)) * pieces, len(wanted) * pieces
    report(done, total, "simulated recordings")
    for plan in missing:  # an interrupted subject starts again; only this module uses the hidden name
        shutil.rmtree(_partial(root, plan), ignore_errors=True)
    left = {plan.subject: pieces for plan in missing}
    for plan in _finished_tasks(root, missing, planting, size, workers):
        done += 1
        left[plan.subject] -= 1
        if not left[plan.subject]:
            _partial(root, plan).rename(_folder(root, plan))
        report(done, total, f"subject {plan.subject}")
    return root


def _finished_tasks(
    root: Path, plans: list[SubjectPlan], planting: Planting, size: DemoSize, workers: int
) -> Iterator[SubjectPlan]:
    """Do all tasks of these subjects; after each, yield its subject's plan."""
    tasks = ((plan, task) for plan in plans for task in _tasks(plan))
    if workers == 1:
        for plan, task in tasks:
            run_task(_partial(root, plan), plan, task, size)
            yield plan
        return

    def take() -> tuple[SubjectPlan, dict[str, Any], float] | None:
        for plan, task in tasks:
            given = {"seed": plan.trials[0].seed, "subject": plan.subject, "size": asdict(size), "task": task}
            return plan, {"root": str(root), "folder": str(_partial(root, plan)), **given, **asdict(planting)}, 0.0
        return None

    # The number of threads changes the last bits of a matrix product: as many as here, so that the files are the same.
    with ProcessPool(python_module("eavdash.demo.worker"), workers, threads=0) as pool:
        for plan, answer in pool.answers(take):
            if isinstance(answer, Exception):
                raise answer
            if isinstance(answer, Ended):
                raise DataError.at(
                    root,
                    expected="processes that finish their work",
                    found="a killed process, perhaps out of memory",
                    remedy="run it again, which keeps complete subjects",
                )
            yield plan


def _tasks(plan: SubjectPlan) -> list[tuple[int, int]]:
    """The tasks of one subject: (0, 0) is the EEG, (first, last) the media of ``plan.trials[first:last]``."""
    return [(0, 0), *((first, first + CHUNK) for first in range(0, len(plan.trials), CHUNK))]


def run_task(folder: Path, plan: SubjectPlan, task: tuple[int, int], size: DemoSize) -> None:
    """Write the files of one task into the subject's folder."""
    if task == (0, 0):
        files.write_eeg(folder, plan, size)
    else:
        files.write_media(folder, plan.trials[slice(*task)], size)


def _earlier(root: Path, seed: int, size: DemoSize, plant: str, cues: tuple[str, ...] | None) -> tuple[int, Planting]:
    """Number of subjects in an earlier truth.json (0 in an empty folder); what is planted, as asked or as there."""
    path = root / TRUTH
    if not path.exists():
        others = sorted(p.name for p in root.iterdir() if not p.name.startswith("."))
        if others:
            raise UsageError.at(
                root,
                expected="an empty folder or earlier demo recordings",
                found=f"{others[0]} without a {TRUTH}",
                remedy=_REMEDY,
            )
        return 0, Planting(plant or PLANTS[0], CUES if cues is None else cues)
    try:
        known_truth = read_json(path)
        earlier, known = dict(known_truth["made_with"]), len(known_truth["reliability"])
        there = Planting(earlier.get("plant", Planting.plant), tuple(earlier.get("cues", CUES)))
    except (IntegrityError, KeyError, TypeError, ValueError) as error:
        raise UsageError.at(
            path, expected="the ground truth of earlier recordings", found="something else", remedy=_REMEDY
        ) from error
    if known <= len(NOISE):  # the same subjects in every plant
        there = replace(there, plant=plant or earlier.get("plant", PLANTS[0]))
    planting = Planting(plant or there.plant, there.cues if cues is None else cues)
    settings = made_with(seed, size, planting)
    earlier |= {"plant": there.plant, "cues": list(there.cues)}
    if earlier != settings:
        keys = [key for key in {**settings, **earlier} if settings.get(key) != earlier.get(key)]
        raise UsageError.at(
            path,
            expected=", ".join(f"{key} {settings.get(key)}" for key in keys),
            found=", ".join(f"{key} {earlier.get(key)}" for key in keys),
            remedy=f"{_REMEDY} or give the earlier settings",
        )
    return known, planting


def _check_request(subjects: int, seed: int, plant: str, cues: tuple[str, ...]) -> None:
    if not 1 <= subjects <= MAX_SUBJECTS:
        raise UsageError.at(
            "subjects", expected=f"1 to {MAX_SUBJECTS}", found=str(subjects), remedy="give another number"
        )
    if seed < 0:
        raise UsageError.at("seed", expected="0 or more", found=str(seed), remedy="give another number")
    for name, given, known in (("plant", (plant,) if plant else (), PLANTS), ("cues", cues, CUES)):
        for value in given:
            if value not in known:
                raise UsageError.at(name, expected=", ".join(known), found=repr(value), remedy="choose among these")


def _processors() -> int:
    return max(1, min(8, len(os.sched_getaffinity(0))))


def _folder(root: Path, plan: SubjectPlan) -> Path:
    return root / f"subject{plan.subject}"


def _partial(root: Path, plan: SubjectPlan) -> Path:
    return root / f".subject{plan.subject}.partial"
