"""Expressiveness of each modality, beside how often it was right.

In: ``expressiveness.parquet`` of a study (:mod:`eavdash.explain.expressiveness`) and ``tables.trials``. Out: tables by
subject and label, and rank correlations between a measure and the accuracy of its modality: over subjects, and over the
trials within each subject.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eavdash.errors import IntegrityError
from eavdash.results.inference import interval
from eavdash.results.reading import read_parquet
from eavdash.store import StudyDir
from eavdash.store.atomic import write_atomic

COLUMNS = ("subject", "trial", "modality", "measure", "value", "problem")
EEG_BANDS = ("theta", "alpha", "beta")
#: Measures of each modality: their names for people, and units.
MEASURES = {
    "motion": ("vision", "face motion", "% of the grey scale per frame"),
    "loudness": ("audio", "loudness range", "dB"),
    "pitch": ("audio", "pitch range", "semitones"),
    **{band: ("eeg", f"{band} power", "dB re 1 µV²") for band in EEG_BANDS},
}
LEAST = 5  # subjects or trials for a rank correlation


@dataclass(frozen=True)
class Relation:
    """Spearman's rank correlations of a measure with being right; NaN where there is too little.

    ``across``: of the subjects' means with their accuracies, ``p`` its permutation p value. ``within``: of the value
    with right or wrong over the trials of one subject, the mean over ``people`` with its 95 % interval.
    """

    measure: str
    subjects: int
    across: float
    p: float
    people: int
    within: float
    low: float
    high: float


def save(study: StudyDir, rows: Sequence[tuple[str, str, str, str, float, str]]) -> None:
    """Write the study's expressiveness.parquet."""
    table = pd.DataFrame([*rows], columns=[*COLUMNS])
    write_atomic(study.expressiveness_file, lambda file: table.to_parquet(file, index=False, compression="zstd"))


def load(study: StudyDir) -> pd.DataFrame | None:
    """Return :data:`COLUMNS`; None if it was not computed.

    Raises:
        IntegrityError: the file is damaged.
    """
    path = study.expressiveness_file
    if not path.exists():
        return None
    remedy = f"delete the file and make it again: eavdash expressiveness {study.name}"
    table = read_parquet(path, remedy)
    if lost := [name for name in COLUMNS if name not in table.columns]:
        raise IntegrityError.at(path, expected="the columns of this version", found=f"no {lost[0]}", remedy=remedy)
    return table


def beside(table: pd.DataFrame, trials: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return subject, trial, label, value and correct (share over folds and seeds) of a measure's modality."""
    modality = MEASURES[measure][0]
    decided = trials[trials["stage"] == modality].groupby(["subject", "trial", "label"], sort=False)["correct"].mean()
    values = table.loc[(table["measure"] == measure) & table["value"].notna(), ["subject", "trial", "value"]]
    return decided.reset_index().merge(values, on=["subject", "trial"])


def cells(rows: pd.DataFrame) -> pd.DataFrame:
    """Return value, accuracy and n by subject and label, of the rows of :func:`beside`."""
    groups = rows.groupby(["subject", "label"], sort=False)
    return groups.agg(value=("value", "mean"), accuracy=("correct", "mean"), n=("trial", "size")).reset_index()


def relation(rows: pd.DataFrame, measure: str) -> Relation:
    """Return the correlations of the rows of :func:`beside`."""
    people = rows.groupby("subject", sort=False)[["value", "correct"]].mean()
    across, p = _spearman(people["value"].to_numpy(float), people["correct"].to_numpy(float), test=True)
    own = [
        _spearman(mine["value"].to_numpy(float), mine["correct"].to_numpy(float))[0]
        for _, mine in rows.groupby("subject", sort=False)
    ]
    known = np.array([rho for rho in own if math.isfinite(rho)])
    low, high, _ = interval(known) if len(known) >= LEAST else (math.nan, math.nan, "")
    mean = float(known.mean()) if len(known) else math.nan
    return Relation(measure, len(people), across, p, len(known), mean, low, high)


def _spearman(x: np.ndarray, y: np.ndarray, test: bool = False) -> tuple[float, float]:
    """Return the rank correlation and, on request, its two-sided permutation p; NaN where one of them is constant."""
    if len(x) < LEAST or len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
        return math.nan, math.nan
    from scipy.stats import rankdata

    a, b = (rankdata(values) - (len(values) + 1) / 2 for values in (x, y))
    scale = math.sqrt(float((a**2).sum() * (b**2).sum()))
    rho = float(a @ b) / scale
    if not test:
        return rho, math.nan
    rng = np.random.default_rng(0)
    drawn = rng.permuted(np.tile(b, (4_999, 1)), axis=1) @ a / scale
    return rho, float((1 + np.count_nonzero(np.abs(drawn) >= abs(rho) - 1e-12)) / 5_000)
