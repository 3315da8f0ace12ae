"""Which runs of a study a command is about: those of some names, their parents, and what cannot be read.

In: a study and names of runs. Out: the runs, in the order in which they are queued.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from eavdash.errors import IntegrityError
from eavdash.jobs.dependencies import parents
from eavdash.store import RunDir, StudyDir, find_run


def unreadable(study: StudyDir, runs: Sequence[str] | None = None, whole: bool = True) -> dict[str, str]:
    """Which of the runs cannot be computed, as their config.json or status.json cannot be read, and why.

    ``whole`` false: which cannot be cancelled, paused or moved either, for want of a status.json.
    """
    found = {}
    for run in named_runs(study, runs):
        try:
            run.status()
            if whole:
                run.config()
        except IntegrityError as error:
            found[run.name] = str(error)
    return found


def named_runs(study: StudyDir, names: Sequence[str] | None) -> list[RunDir]:
    """The runs of these names, each once; all where ``names`` is None."""
    return study.runs() if names is None else [find_run(study, name) for name in dict.fromkeys(names)]


def choose_runs(study: StudyDir, names: Sequence[str] | None, whole: bool = True) -> list[RunDir]:
    """The runs of these names, or all, without those that cannot be read; ``whole``: config.json and status.json."""
    wanted, broken = named_runs(study, names), unreadable(study, names, whole)
    if wanted and len(broken) == len(wanted):
        raise IntegrityError(broken[wanted[0].name])
    return [run for run in wanted if run.name not in broken]


def depth(run: RunDir) -> int:
    """Fusion 0, a run that waits for another 1, a run that waits for none 2."""
    config: dict[str, Any] = {}
    with contextlib.suppress(IntegrityError):
        config = run.config()
    return 2 if not config.get("parents") else int(config.get("stage") != "fusion")


def with_parents(runs: list[RunDir]) -> list[RunDir]:
    """The runs and, before each, the parents that they need."""
    needed: dict[str, RunDir] = {}

    def add(run: RunDir) -> None:
        if run.name in needed:
            return
        for parent in parents(run):
            if not parent.unreadable():
                add(parent)
        needed[run.name] = run

    for run in runs:
        add(run)
    return list(needed.values())
