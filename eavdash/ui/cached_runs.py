"""Caches of runs and studies between reruns of the pages: states, plans, logs, and parallel runs.

Keys contain the times and sizes of the files on which a result depends, so that nothing stale is shown; every cache is
bounded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from eavdash.config.convert import execution_of
from eavdash.config.schema import Execution, Selection, StudyConfig
from eavdash.errors import EavdashError, IntegrityError
from eavdash.jobs import estimates, obstacle
from eavdash.jobs import snapshot as run_states
from eavdash.jobs.tested import with_tested
from eavdash.store import RunDir, StudyDir
from eavdash.studies import extend, write
from eavdash.studies import overview as studies_overview
from eavdash.studies.sweep import MOST
from eavdash.studies.unusable import Unusable
from eavdash.ui.cached_results import Stamp, file_stamp
from eavdash.ui.training import logs


def snapshot(study: StudyDir) -> pd.DataFrame:
    """Return the live state of every run and the seconds ``left`` (NaN: unknown); all open tabs share one poll."""
    return _snapshot(study).copy(deep=False)  # pandas copies what a page changes


def refresh() -> None:
    """Clear the caches of states and plans after a change."""
    _snapshot.clear()
    overview.clear()
    extension.clear()
    plan.clear()


@st.cache_data(ttl=15, max_entries=8, show_spinner="Planning")
def extension(
    study: StudyDir, subjects: Sequence[str], folds: Sequence[int] | None, seeds: Sequence[int] | None
) -> extend.Extension:
    """Return the runs that an extension would queue (``studies.extend.plan_extension``); nothing is written."""
    return extend.plan_extension(study, tuple(subjects) or None, folds, seeds)


#: For a page that stays open: all tabs together check once in five seconds.
scheduler_problem = st.cache_data(ttl=5, max_entries=8, show_spinner=False)(obstacle.start_scheduler)


def damaged_files(run: RunDir) -> list[str]:
    """Return sentences about missing or changed result files of a finished run; each file is checked once."""
    try:
        checksums = run.status().checksums
    except IntegrityError as error:
        return [str(error)]
    names = sorted({*checksums, run.predictions_file.name})
    return _damaged_files(run, names, [file_stamp(run.path / name) for name in names], checksums)


@st.cache_data(
    max_entries=4096,
    show_spinner=False,
    hash_funcs={StudyDir: lambda s: (str(s.path), file_stamp(s.study_file), file_stamp(s.control_file))},
)
def study_damage(study: StudyDir) -> str:
    """Return why study.json or control.json cannot be read, or an empty string; each file is read once."""
    return studies_overview.damage(study)


def paused(study: StudyDir) -> bool:
    """Return True if the study is paused; False if that is unknown, as :func:`study_damage` says."""
    with contextlib.suppress(IntegrityError):
        return study.paused
    return False


@st.cache_data(max_entries=256, show_spinner="Checking the files")
def _damaged_files(run: RunDir, names: list[str], stamps: list[Stamp], checksums: dict[str, str]) -> list[str]:
    problems = []
    for name in names:
        try:
            run.verify(name)
        except IntegrityError as error:
            problems.append(str(error))
    return problems


@st.cache_data(
    max_entries=16, show_spinner=False, hash_funcs={RunDir: lambda run: (str(run.path), file_stamp(run.log_file))}
)
def search_log(run: RunDir, text: str) -> logs.LogMatches:
    """Return the lines of a run's log that contain ``text``; the log is searched again when it has grown."""
    return logs.search(run.log_file, text)


def capacity(study: StudyDir, table: pd.DataFrame) -> int:
    """Return how many of a study's waiting runs can be computed at once; 0 if it is unknown or the study is paused."""
    waiting = table.loc[table["state"] == "queued", "run"]
    if waiting.empty or paused(study):
        return 0
    with contextlib.suppress(EavdashError):
        return parallel_runs(execution_of(study.run(waiting.iloc[0]).status().execution))
    return 0


@st.cache_data(ttl=600, max_entries=32, show_spinner=False)
def parallel_runs(settings: Execution) -> int:
    """Return the number of runs that can be computed at the same time; the machine is asked once in ten minutes."""
    return estimates.max_parallel_runs(settings)


@st.cache_data(ttl=60, max_entries=MOST, show_spinner="Planning")  # all of a sweep, whose plans take that long
def plan(
    root: str, name: str, config: StudyConfig, selection: Selection, checkpoints: Path, unusable: Unusable
) -> write.Plan:
    """Return the plan of a study, at most a minute old; nothing is written."""
    return write.plan(root, name, config, selection, checkpoints, unusable=unusable)


@st.cache_data(ttl=5, max_entries=4, show_spinner="Reading the studies")
def overview(root: Path) -> pd.DataFrame:
    """Return ``studies.overview`` with the archived studies, at most five seconds old."""
    return studies_overview.overview(root, archived=True)


@st.cache_resource(ttl=0.4, max_entries=16, show_spinner=False)  # not copied, unlike data: up to 10,000 rows
def _snapshot(study: StudyDir) -> pd.DataFrame:
    table = run_states.snapshot(study)
    left = estimates.seconds_left(table)
    if left.isna().any() and (expected := _expected_durations(study)):
        left = estimates.seconds_left(table, expected)
    return with_tested(table, study).assign(left=left)


@st.cache_data(ttl=60, max_entries=16, show_spinner=False, hash_funcs={StudyDir: lambda s: str(s.path)})
def _expected_durations(study: StudyDir) -> dict[str, float]:
    """Return ``estimates.expected_durations``, at most a minute old."""
    return estimates.expected_durations(study)
