"""The decision on a trial: from the probabilities of its windows to those of the trial.

A trial's probabilities are the normalised exponential of its windows' mean log-probabilities; the decision is the class
with the largest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from eavdash.config.choices import MODALITIES

_SMALLEST = 1e-12  # keeps the logarithm of a probability finite


def log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Return the logarithm of float64 probabilities of any shape; NaN stays NaN."""
    return np.asarray(np.log(probabilities.clip(_SMALLEST)))


def normalised(logs: np.ndarray) -> np.ndarray:
    """Return the probabilities (..., class), which sum to one, of mean log-probabilities (..., class)."""
    values = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return np.asarray(values / values.sum(axis=-1, keepdims=True))


def mean_logs(
    rows: pd.DataFrame, classes: Sequence[str], keys: Sequence[str], also: Sequence[str] = ()
) -> pd.DataFrame:
    """Return a row per trial, in order of appearance, from the rows of its windows.

    Columns: ``keys``, which identify the trial; ``predicted``; the means of ``p_<class>``, as logarithms, and of the
    columns ``also``; ``windows``, their number.
    """
    columns = [f"p_{c}" for c in classes]
    logs = rows.assign(**{c: log_probabilities(rows[c].to_numpy(float)) for c in columns})
    groups = logs.groupby([*keys], sort=False)
    table = groups[[*columns, *also]].mean()
    table["windows"] = groups.size()
    table = table.reset_index()
    table["predicted"] = np.array(classes, dtype=object)[table[columns].to_numpy().argmax(axis=1)].astype(str)
    return table


def first_decisions(trials: pd.DataFrame, stage: str = "") -> pd.DataFrame:
    """Select a row per subject and trial from ``tables.trials``: of the first fold and seed that tested it.

    ``stage``: empty for fusion, or the first modality if there is no fusion.
    """
    there = set(trials["stage"])
    chosen = stage or next((name for name in ("fusion", *MODALITIES) if name in there), "")
    rows = trials[trials["stage"] == chosen].sort_values(["fold", "seed"], kind="stable")
    return rows.drop_duplicates(["subject", "trial"]).sort_index().reset_index(drop=True)
