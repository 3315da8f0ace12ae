"""Caches of explanations between reruns of the pages.

Keys contain the times of the files on which a result depends, so that nothing stale is shown; every cache is bounded.
torch and mne are imported inside functions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from eavdash.store import RunDir, StudyDir

if TYPE_CHECKING:
    from eavdash.explain.explanation import Explanation

METHOD = "integrated_gradients"


def explanation(run: RunDir, subject: str, trial: str) -> Explanation | None:
    """Return the stored explanation of a trial for a run's current weights, or None."""
    from eavdash.explain.explanation import explanation_name

    name = explanation_name(run, subject, trial)
    arrays, receipts = run.explain_files(name, METHOD)
    if not (arrays.exists() and receipts.exists()):
        return None
    stamp = tuple(file.stat().st_mtime_ns for file in (arrays, receipts, run.status_file))
    return _explanation(str(run.path), name, stamp)


def compute_explanation(study: StudyDir, subject: str, trial: str, fold: int, seed: int) -> None:
    """Compute and store the attributions of one trial, in this process."""
    from eavdash.explain.trial import explain_trial

    explain_trial(study, subject, trial, fold=fold, seed=seed, method=METHOD)


def scalp(values: np.ndarray, channels: Sequence[str]) -> bytes | str:
    """Return the scalp map of one value per channel as PNG, or a sentence if none can be drawn."""
    values = np.ascontiguousarray(values, dtype=np.float64)
    return _scalp(hashlib.sha256(values.tobytes()).hexdigest(), tuple(channels), values)


@st.cache_data(max_entries=4, show_spinner="Reading the explanation")
def _explanation(run: str, trial: str, stamp: tuple[int, ...]) -> Explanation | None:
    from eavdash.explain.explanation import load_explanation

    return load_explanation(RunDir(Path(run)), trial, METHOD)


@st.cache_data(max_entries=32, show_spinner=False)
def _scalp(key: str, channels: tuple[str, ...], _values: np.ndarray) -> bytes | str:
    from eavdash.ui.figures import explain

    return explain.scalp(_values, channels)
