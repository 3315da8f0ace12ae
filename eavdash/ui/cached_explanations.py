"""Caches of explanations between reruns of the pages.

Keys contain the times of the files on which a result depends, so that nothing stale is shown; every cache is bounded.
torch and mne are imported inside functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from eavdash.data.frozen import planned_table
from eavdash.errors import TableError
from eavdash.explain.check_record import Check
from eavdash.explain.records import StoredExplanation as Stored
from eavdash.explain.run_receipts import load_run_receipts
from eavdash.report.figures import scalps, window_maps
from eavdash.results import shapley
from eavdash.store import RunDir, StudyDir
from eavdash.ui.cached_results import MISSING, Stamp, file_stamp

if TYPE_CHECKING:
    from eavdash.data.table import TrialTable
    from eavdash.explain.explanation import Explanation


def stored(run: RunDir, subject: str, trial: str) -> tuple[Stored, ...]:
    """Return which explanations of a trial are stored for a run's current weights."""
    if (stamp := file_stamp(run.explain_dir)) == MISSING:
        return ()
    return _stored(run, subject, trial, [stamp, file_stamp(run.status_file)])


class Opened(NamedTuple):
    """A stored explanation, which must not be changed, and the values with the full colour in its maps."""

    explanation: Explanation
    limits: dict[str, float]  # ``window_maps.limits``
    electrodes: dict[str, float]  # ``window_maps.electrode_limits``


def opened(run: RunDir, subject: str, trial: str, which: Stored) -> Opened | None:
    """Return a stored explanation of a trial for a run's current weights, or None."""
    from eavdash.explain.explanation import explanation_name

    name = explanation_name(run, subject, trial)
    stamps = [file_stamp(file) for file in (*run.explain_files(name, *which), run.status_file)]
    return None if MISSING in stamps[:2] else _opened(run, name, which, stamps)


def planned_trial(study: StudyDir, subject: str, trial: str) -> TrialTable:
    """Return the trial table of one trial, as the study was planned with it.

    Raises:
        EavdashError: the table cannot be read, or has no such trial.
    """
    table = _planned(study, subject, [file_stamp(study.table_file)])
    row = table.frame[(table.frame["subject"] == subject) & (table.frame["trial"] == trial)]
    if len(row) != 1:
        expected = f"one trial {trial} of subject {subject}"
        found, remedy = str(len(row)), "restore the study's table"
        raise TableError.at(study.table_file, expected=expected, found=found, remedy=remedy)
    return replace(table, frame=row)


def run_checks(run: RunDir) -> tuple[Check, ...]:
    """Return the checks of a run that are made once for all of its maps; none if they were not made.

    Raises:
        IntegrityError: the file is damaged.
    """
    if (stamp := file_stamp(run.receipts_file)) == MISSING:
        return ()
    return _run_checks(run, [stamp, file_stamp(run.status_file)])


def waterfall(run: RunDir, subject: str, trial: str, label: str) -> shapley.Waterfall | None:
    """Return what each modality adds to a class of a trial; None if the run has no such file, or not of this trial.

    Raises:
        IntegrityError: the file is damaged.
    """
    if (stamp := file_stamp(run.shapley_file)) == MISSING:
        return None
    table = _coalitions(run, [stamp, file_stamp(run.status_file)])
    try:
        return shapley.waterfall(table, run.name, subject, trial, label)
    except KeyError:
        return None


@st.cache_data(max_entries=32, show_spinner=False, hash_funcs={np.ndarray: np.ndarray.tobytes})
def scalp(values: np.ndarray, channels: Sequence[str], limit: float, unit: str, dark: bool, note: str) -> bytes | str:
    """Return the scalp map of one float64 value per channel as PNG, or a sentence if none can be drawn."""
    return scalps.scalp(values, channels, limit, unit, dark, note)


@st.cache_resource(max_entries=8, show_spinner=False)  # not copied, unlike data
def _coalitions(run: RunDir, stamps: list[Stamp]) -> pd.DataFrame:
    return shapley.of_run(run)


@st.cache_resource(max_entries=16, show_spinner=False)  # not copied, unlike data
def _planned(study: StudyDir, subject: str, stamps: list[Stamp]) -> TrialTable:
    return planned_table(study.table_file, study.study().dataset.path, (subject,))


@st.cache_data(max_entries=256, show_spinner=False)
def _run_checks(run: RunDir, stamps: list[Stamp]) -> tuple[Check, ...]:
    found = load_run_receipts(run)
    return found.checks if found else ()


@st.cache_data(max_entries=1024, show_spinner=False)
def _stored(run: RunDir, subject: str, trial: str, stamps: list[Stamp]) -> tuple[Stored, ...]:
    from eavdash.explain.explanation import explanation_name, stored_explanations

    return tuple(stored_explanations(run, explanation_name(run, subject, trial)))


@st.cache_resource(max_entries=4, show_spinner="Reading the explanation")  # not copied, unlike data
def _opened(run: RunDir, trial: str, which: Stored, stamps: list[Stamp]) -> Opened | None:
    from eavdash.explain.explanation import load_explanation

    found = load_explanation(run, trial, *which)
    if found is None:
        return None
    return Opened(found, window_maps.limits(found), window_maps.electrode_limits(found))
