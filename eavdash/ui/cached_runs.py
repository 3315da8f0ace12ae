"""Caches of runs and studies between reruns of the pages: states, plans, logs, and parallel runs.

Keys contain the times and sizes of the files on which a result depends, so that nothing stale is shown; every cache is
bounded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from eavdash.config.convert import from_dict, to_dict
from eavdash.config.schema import Execution, Selection, StudyConfig
from eavdash.errors import IntegrityError
from eavdash.jobs import estimates, obstacle
from eavdash.jobs import snapshot as run_states
from eavdash.store import RunDir, StudyDir
from eavdash.studies import extend
from eavdash.studies import overview as studies_overview
from eavdash.ui.cached_results import Stamp
from eavdash.ui.training import logs

if TYPE_CHECKING:
    from eavdash.studies.extend import Extension
    from eavdash.studies.write import Plan


def snapshot(study: StudyDir) -> pd.DataFrame:
    """Return the live state of every run and the seconds ``left`` (NaN: unknown); all open tabs share one poll."""
    return _snapshot(str(study.path)).copy(deep=False)  # pandas copies what a page changes


def refresh() -> None:
    """Clear the caches of states and plans after a change."""
    _snapshot.clear()
    _overview.clear()
    _extension.clear()


def overview(root: Path) -> pd.DataFrame:
    """Return ``studies.overview`` with the archived studies, at most five seconds old."""
    return _overview(str(root))


def extension(
    study: StudyDir, subjects: Sequence[str], folds: Sequence[int] | None, seeds: Sequence[int] | None
) -> Extension:
    """Return the runs that an extension would queue (``studies.extend.plan_extension``); nothing is written."""
    additions = (
        tuple(subjects) or None,
        None if folds is None else tuple(folds),
        None if seeds is None else tuple(seeds),
    )
    return _extension(str(study.path), *additions)


def scheduler_problem(root: Path) -> str:
    """Start the scheduler if runs wait and none is alive; return the problem, or an empty string.

    For a page that stays open: all tabs together check once in five seconds. A full run of the app always checks.
    """
    return _scheduler_problem(str(root))


def damaged_files(run: RunDir) -> list[str]:
    """Return sentences about missing or changed result files of a finished run; each file is checked once."""
    try:
        checksums = run.status().checksums
    except IntegrityError as error:
        return [str(error)]
    stamp = []
    for name in sorted({*checksums, run.predictions_file.name}):
        file = run.path / name
        stat = file.stat() if file.exists() else None
        stamp.append((name, stat.st_size if stat else -1, stat.st_mtime_ns if stat else -1))
    return _damaged_files(str(run.path), tuple(stamp), tuple(sorted(checksums.items())))


def study_damage(study: StudyDir) -> str:
    """Return why study.json or control.json cannot be read, or an empty string; each file is read once."""
    stamp = []
    for file in (study.study_file, study.control_file):
        stat = file.stat() if file.exists() else None
        stamp.append((file.name, stat.st_size if stat else -1, stat.st_mtime_ns if stat else -1))
    return _study_damage(str(study.path), tuple(stamp))


def paused(study: StudyDir) -> bool:
    """Return True if the study is paused; False if that is unknown, as :func:`study_damage` says."""
    with contextlib.suppress(IntegrityError):
        return study.paused
    return False


def search_log(run: RunDir, text: str) -> logs.LogMatches:
    """Return the lines of a run's log that contain ``text``; the log is searched again when it has grown."""
    stat = run.log_file.stat()
    return _search_log(str(run.log_file), (stat.st_size, stat.st_mtime_ns), text)


def parallel_runs(settings: Execution) -> int:
    """Return the number of runs that can be computed at the same time; the machine is asked once in ten minutes."""
    return _parallel_runs(settings)


def plan(root: str, name: str, config: StudyConfig, selection: Selection, checkpoints: Path) -> Plan:
    """Return the plan of a study; nothing is written."""
    return _plan(root, name, to_dict(config), selection, str(checkpoints))


@st.cache_resource(ttl=0.4, max_entries=16, show_spinner=False)  # not copied, unlike data: up to 10,000 rows
def _snapshot(path: str) -> pd.DataFrame:
    table = run_states.snapshot(StudyDir(Path(path)))
    return table.assign(left=estimates.seconds_left(table))


@st.cache_data(ttl=5, max_entries=8, show_spinner=False)
def _scheduler_problem(root: str) -> str:
    return obstacle.start_scheduler(Path(root))


@st.cache_data(max_entries=256, show_spinner="Checking the files")
def _damaged_files(path: str, stamp: Stamp, checksums: tuple[tuple[str, str], ...]) -> list[str]:
    run, problems = RunDir(Path(path)), []
    for name, _, _ in stamp:
        try:
            run.verify(name)
        except IntegrityError as error:
            problems.append(str(error))
    return problems


@st.cache_data(max_entries=4096, show_spinner=False)
def _study_damage(path: str, stamp: Stamp) -> str:
    return studies_overview.damage(StudyDir(Path(path)))


@st.cache_data(max_entries=16, show_spinner=False)
def _search_log(path: str, stamp: tuple[int, int], text: str) -> logs.LogMatches:
    return logs.search(Path(path), text)


@st.cache_data(ttl=5, max_entries=4, show_spinner="Reading the studies")
def _overview(root: str) -> pd.DataFrame:
    return studies_overview.overview(Path(root), archived=True)


@st.cache_data(ttl=15, max_entries=8, show_spinner="Planning")
def _extension(
    path: str, subjects: tuple[str, ...] | None, folds: tuple[int, ...] | None, seeds: tuple[int, ...] | None
) -> Extension:
    return extend.plan_extension(StudyDir(Path(path)), subjects, folds, seeds)


@st.cache_data(ttl=600, max_entries=32, show_spinner=False)
def _parallel_runs(settings: Execution) -> int:
    return estimates.max_parallel_runs(settings)


@st.cache_data(ttl=15, max_entries=8, show_spinner="Planning")
def _plan(root: str, name: str, config: dict[str, Any], selection: Selection, checkpoints: str) -> Plan:
    from eavdash.studies import write

    return write.plan(root, name, from_dict(config), selection, Path(checkpoints))
