"""Caches of what the page Attention compares, between its reruns.

Keys contain the times and sizes of the files on which a result depends, so that nothing stale is shown; every cache is
bounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from eavdash.results import agreement, shapley
from eavdash.store import StudyDir
from eavdash.ui import cached_results
from eavdash.ui.cached_results import file_stamp


@dataclass(frozen=True)
class Compared:
    """Shares that the measures give the modalities in a study's fused decisions, and what is missing."""

    table: pd.DataFrame  # of ``agreement.decisions``
    without: tuple[str, ...]  # finished fusion runs without Shapley values
    additive: float  # part of the windows that the additive part of the fusion decides alike; NaN: unknown
    method: str  # of the attributions; empty: there are none
    baseline: str
    problems: tuple[str, ...]


def _key(study: StudyDir) -> tuple[object, ...]:
    stamps = [(file_stamp(run.shapley_file), file_stamp(run.explain_dir)) for run in study.runs()]
    return cached_results.results_key(study), stamps


@st.cache_data(max_entries=4, show_spinner="Reading the Shapley values", hash_funcs={StudyDir: _key})
def compared(study: StudyDir) -> Compared:
    """Return the shares that attention, Shapley values and attributions give the modalities of every fused decision."""
    from eavdash.explain.sums import attribution_sums

    trials, found, sums = cached_results.trials(study), shapley.coalitions(study), attribution_sums(study)
    keys = ["run", "subject", "trial", "class"]
    predicted = trials[trials["stage"] == "fusion"].rename(columns={"predicted": "class"})[keys]
    games = found.table.merge(predicted, on=keys)  # those of the predicted class, a small part of all
    values = shapley.by_trial(shapley.shapley_values(games), games)
    table = agreement.decisions(trials, values, sums.table)
    fitted = shapley.emap(study)
    additive = float(np.average(fitted["unchanged"], weights=fitted["windows"])) if len(fitted) else math.nan
    return Compared(table, found.without, additive, sums.method, sums.baseline, (*found.problems, *sums.problems))


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs={StudyDir: _key})
def agreements(study: StudyDir, first: str, second: str) -> pd.DataFrame:
    """Return ``agreement.agreements`` of two measures."""
    return agreement.agreements(compared(study).table, first, second)


@st.cache_data(max_entries=32, show_spinner=False, hash_funcs={StudyDir: _key})
def orders_by(study: StudyDir, column: str, first: str, second: str) -> pd.DataFrame:
    """Return ``agreement.orders_by`` of two measures."""
    return agreement.orders_by(compared(study).table, column, first, second)
