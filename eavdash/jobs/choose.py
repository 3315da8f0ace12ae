"""Selection of the runs that a command applies to: by name, with their parents, without unreadable ones."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from eavdash.errors import IntegrityError
from eavdash.jobs.dependencies import parents
from eavdash.store import RunDir, StudyDir, find_run
from eavdash.store.status import RunStatus

T = TypeVar("T")
#: Threads that change the files of runs at the same time. They mostly wait for the disk: where a flush takes some
#: milliseconds, 16 need about half of the time of 4, and on a fast disk no longer.
WRITERS = 16


def unreadable(study: StudyDir, runs: Sequence[str] | None = None, whole: bool = True) -> dict[str, str]:
    """Return the runs whose config.json or status.json cannot be read, by name, with the reason.

    ``whole`` False: only those without a readable status.json, which cannot be cancelled, paused or moved either.
    """
    return _read(named_runs(study, runs), whole)[1]


def named_runs(study: StudyDir, names: Sequence[str] | None) -> list[RunDir]:
    """Return the runs of these names without duplicates; all runs if ``names`` is None."""
    return study.runs() if names is None else [find_run(study, name) for name in dict.fromkeys(names)]


def choose_runs(study: StudyDir, names: Sequence[str] | None, whole: bool = True) -> dict[RunDir, RunStatus]:
    """Return the runs of these names, or all, without unreadable ones (``whole`` as in :func:`unreadable`).

    Raises:
        IntegrityError: none of them can be read.
    """
    found, broken = _read(named_runs(study, names), whole)
    if broken and not found:
        raise IntegrityError(next(iter(broken.values())))
    return found


def _read(runs: Iterable[RunDir], whole: bool) -> tuple[dict[RunDir, RunStatus], dict[str, str]]:
    """Return the statuses of the readable runs, and by name the reasons of the others, as :func:`unreadable`."""
    found, broken = {}, {}
    for run in runs:
        try:
            if whole:
                run.place()
            found[run] = run.status()
        except IntegrityError as error:
            broken[run.name] = str(error)
    return found, broken


def for_each(runs: Collection[RunDir], act: Callable[[RunDir], T | None]) -> dict[RunDir, T]:
    """Call ``act`` for each run in threads and return the results other than None, in the order of the runs.

    Each change of a run is flushed to disk; flushes of many files take little longer than one when they wait together.
    """
    if len(runs) < 2:
        results = [act(run) for run in runs]
    else:
        with ThreadPoolExecutor(min(WRITERS, len(runs))) as pool:
            results = list(pool.map(act, runs))
    return {run: result for run, result in zip(runs, results, strict=True) if result is not None}


def by_depth(runs: Iterable[RunDir], parents_first: bool) -> list[list[RunDir]]:
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


def with_parents(runs: dict[RunDir, RunStatus]) -> dict[RunDir, RunStatus]:
    """Return the runs, which can be read, each preceded by the parents that it needs."""
    needed: dict[RunDir, RunStatus] = {}

    def add(found: dict[RunDir, RunStatus]) -> None:
        for run, status in found.items():
            if run not in needed:
                mine = parents(run)
                add({parent: runs[parent] for parent in mine if parent in runs})
                add(_read((parent for parent in mine if parent not in runs and parent not in needed), True)[0])
                needed[run] = status

    add(runs)
    return needed
