"""Selection of the runs that a command applies to: by name, with their parents, without unreadable ones."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from eavdash.errors import IntegrityError
from eavdash.jobs.dependencies import parents
from eavdash.store import RunDir, StudyDir, find_run

T = TypeVar("T")
#: Threads that change the files of runs at the same time.
WRITERS = 16


def unreadable(study: StudyDir, runs: Sequence[str] | None = None, whole: bool = True) -> dict[str, str]:
    """Return the runs whose config.json or status.json cannot be read, by name, with the reason.

    ``whole`` False: only those without a readable status.json, which cannot be cancelled, paused or moved either.
    """
    found = {}
    for run in named_runs(study, runs):
        try:
            run.status()
            if whole:
                run.place()
        except IntegrityError as error:
            found[run.name] = str(error)
    return found


def named_runs(study: StudyDir, names: Sequence[str] | None) -> list[RunDir]:
    """Return the runs of these names without duplicates; all runs if ``names`` is None."""
    return study.runs() if names is None else [find_run(study, name) for name in dict.fromkeys(names)]


def choose_runs(study: StudyDir, names: Sequence[str] | None, whole: bool = True) -> list[RunDir]:
    """Return the runs of these names, or all, without unreadable ones (``whole`` as in :func:`unreadable`).

    Raises:
        IntegrityError: none of them can be read.
    """
    wanted, broken = named_runs(study, names), unreadable(study, names, whole)
    if wanted and len(broken) == len(wanted):
        raise IntegrityError(broken[wanted[0].name])
    return [run for run in wanted if run.name not in broken]


def for_each(runs: Sequence[RunDir], act: Callable[[RunDir], T]) -> list[T]:
    """Call ``act`` for each run in threads and return the results in the order of the runs.

    Each change of a run is flushed to disk; flushes of many files take little longer than one when they wait together.
    """
    if len(runs) < 2:
        return [act(run) for run in runs]
    with ThreadPoolExecutor(min(WRITERS, len(runs))) as pool:
        return list(pool.map(act, runs))


def by_depth(runs: Sequence[RunDir], parents_first: bool) -> list[list[RunDir]]:
    """Return the runs in groups within which no run waits for another."""
    groups: dict[int, list[RunDir]] = {}
    for run in runs:
        groups.setdefault(depth(run), []).append(run)
    return [groups[level] for level in sorted(groups, reverse=parents_first)]


def depth(run: RunDir) -> int:
    """Return 0 for a fusion, 1 for another run that has parents, 2 for a run without parents."""
    with contextlib.suppress(IntegrityError):
        place = run.place()
        return int(place.stage != "fusion") if place.parents else 2
    return 2


def with_parents(runs: list[RunDir]) -> list[RunDir]:
    """Return the runs, which can be read, each preceded by the parents that it needs."""
    readable = {run.name for run in runs}
    needed: dict[str, RunDir] = {}

    def add(run: RunDir) -> None:
        if run.name in needed:
            return
        for parent in parents(run):
            if parent.name in readable or not parent.unreadable():
                add(parent)
        needed[run.name] = run

    for run in runs:
        add(run)
    return list(needed.values())
