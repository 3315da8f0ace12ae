"""Scores by class, and how far a stage's confidence can be trusted.

In: rows of ``tables.trials`` of one stage or several. Out: tables. A trial's decisions by several seeds or folds share
its weight, so that n counts distinct trials.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eavdash.results.metrics import trial_weights
from eavdash.results.paired import share_interval
from eavdash.results.scored import STAGE_RANK
from eavdash.results.tables import probability_labels

BINS = 10  # of the reliability diagram, of equal width


@dataclass(frozen=True)
class Reliability:
    """Accuracy by confidence of one stage.

    ``table``: low, high (ends of the bin), confidence (mean), accuracy, n (distinct trials, fractional over seeds), for
    the bins that occur. ``ece``: the expected calibration error (Guo et al. 2017, ICML): the mean over trials of the
    absolute difference of both.
    """

    table: pd.DataFrame
    ece: float


def class_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Return label, precision, recall, f1 and n (its test trials) by class, for the trials of one stage.

    Precision of a class that is never predicted, and recall of one without trials, are NaN.
    """
    classes, weight = probability_labels(rows), trial_weights(rows)
    label, predicted = rows["label"].to_numpy(str), rows["predicted"].to_numpy(str)
    found = []
    for name in classes:
        hits = float(weight[(label == name) & (predicted == name)].sum())
        n, guesses = float(weight[label == name].sum()), float(weight[predicted == name].sum())
        f1 = 2 * hits / (n + guesses) if n + guesses else math.nan
        found.append((name, hits / guesses if guesses else math.nan, hits / n if n else math.nan, f1, round(n)))
    return pd.DataFrame(found, columns=["label", "precision", "recall", "f1", "n"])


def reliability(rows: pd.DataFrame, bins: int = BINS) -> Reliability:
    """Return accuracy by confidence, the probability of the predicted class, for the trials of one stage."""
    weight, confidence = trial_weights(rows), rows["confidence"].to_numpy(float)
    right = rows["correct"].to_numpy(float)
    place = np.clip((confidence * bins).astype(int), 0, bins - 1)
    n = np.bincount(place, weight, bins)
    there = np.flatnonzero(n)
    table = pd.DataFrame(
        {
            "low": there / bins,
            "high": (there + 1) / bins,
            "confidence": np.bincount(place, weight * confidence, bins)[there] / n[there],
            "accuracy": np.bincount(place, weight * right, bins)[there] / n[there],
            "n": n[there],
        }
    )
    gap = (table["confidence"] - table["accuracy"]).abs()
    return Reliability(table, float((gap * table["n"]).sum() / table["n"].sum()) if len(table) else math.nan)


def recall_by_class(trials: pd.DataFrame) -> pd.DataFrame:
    """Return each stage's accuracy on the trials of each label, as a mean over subjects with its 95 % interval.

    Columns: stage, label, accuracy, low, high (NaN below two subjects), subjects, n (distinct trials).
    """
    found = subject_recall(trials)
    out = []
    for (stage, label), group in found.groupby(["stage", "label"], sort=False):
        values = group["accuracy"].to_numpy(float)
        ends = share_interval(values)
        out.append((stage, label, float(values.mean()), *ends, len(values), int(group["n"].sum())))
    table = pd.DataFrame(out, columns=["stage", "label", "accuracy", "low", "high", "subjects", "n"])
    return table.sort_values(["stage"], key=lambda s: s.map(STAGE_RANK), kind="stable").reset_index(drop=True)


def subject_recall(trials: pd.DataFrame) -> pd.DataFrame:
    """Return subject, stage, label, accuracy and n: recalls by subject; a trial's seeds share its weight."""
    keys = ["subject", "stage", "label"]
    items = trials.groupby([*keys, "trial"], sort=False)["correct"].mean().reset_index()
    groups = items.groupby(keys, sort=True)["correct"]
    return groups.agg(accuracy="mean", n="size").reset_index()
