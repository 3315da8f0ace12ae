"""Caches of explanations between reruns of the pages.

Keys contain the times of the files on which a result depends, so that nothing stale is shown; every cache is bounded.
torch and mne are imported inside functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from eavdash.store import RunDir, StudyDir
from eavdash.ui.cached_results import MISSING, Stamp, file_stamp
from eavdash.ui.figures import explain as figures

if TYPE_CHECKING:
    from eavdash.explain.explanation import Explanation

METHOD = "integrated_gradients"


def explanation(run: RunDir, subject: str, trial: str) -> Explanation | None:
    """Return the stored explanation of a trial for a run's current weights, or None."""
    from eavdash.explain.explanation import explanation_name

    name = explanation_name(run, subject, trial)
    stamps = [file_stamp(file) for file in (*run.explain_files(name, METHOD), run.status_file)]
    return None if MISSING in stamps[:2] else _explanation(run, name, stamps)


def compute_explanation(study: StudyDir, subject: str, trial: str, fold: int, seed: int) -> None:
    """Compute and store the attributions of one trial, in this process."""
    from eavdash.explain.trial import explain_trial

    explain_trial(study, subject, trial, fold=fold, seed=seed, method=METHOD)


@st.cache_data(max_entries=32, show_spinner=False, hash_funcs={np.ndarray: np.ndarray.tobytes})
def scalp(values: np.ndarray, channels: Sequence[str]) -> bytes | str:
    """Return the scalp map of one float64 value per channel as PNG, or a sentence if none can be drawn."""
    return figures.scalp(values, channels)


@st.cache_data(max_entries=4, show_spinner="Reading the explanation")
def _explanation(run: RunDir, trial: str, stamps: list[Stamp]) -> Explanation | None:
    from eavdash.explain.explanation import load_explanation

    return load_explanation(run, trial, METHOD)
