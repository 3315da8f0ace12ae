"""Accuracy, balanced accuracy and macro-F1 of many groups of decisions at once.

In: arrays of codes, one entry per decision. Out: one row per group. Balanced accuracy is the mean recall over the
classes that occur among a group's labels, macro-F1 the mean F1 over those that occur among its labels or predictions.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

#: The metrics, in the order of the columns of :func:`score_groups`, and their names for people.
METRICS = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro-F1"}


def score_groups(
    group: np.ndarray, label: np.ndarray, predicted: np.ndarray, weight: np.ndarray, groups: int, classes: int
) -> np.ndarray:
    """Return the metrics (group, metric) in the order of :data:`METRICS`, as fractions; NaN for a group without rows.

    Args:
        group, label, predicted: codes from 0 (row,). weight: of each row (row,).
        groups, classes: their numbers.
    """
    shape, size = (groups, classes), groups * classes

    def total(code: np.ndarray, of: np.ndarray) -> np.ndarray:
        return np.bincount(group * classes + code, of, minlength=size).reshape(shape)

    hits, labelled, guessed = (
        total(label, weight * (label == predicted)),
        total(label, weight),
        total(predicted, weight),
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, f1 = hits / labelled, 2 * hits / (labelled + guessed)
        return np.stack(
            [
                hits.sum(axis=1) / labelled.sum(axis=1),
                _mean_where(recall, labelled > 0),
                _mean_where(f1, labelled + guessed > 0),
            ],
            axis=1,
        )


def codes(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a code from 0 for each combination of the columns' codes (row,), and the first row of each code."""
    combined = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        combined = combined * (int(column.max(initial=0)) + 1) + column
    _, first, inverse = np.unique(combined, return_index=True, return_inverse=True)
    return inverse, first


def shared_weights(item: np.ndarray) -> np.ndarray:
    """Return the weight of each decision, given the codes of what is decided (row,): they share the weight of one."""
    return np.asarray(1 / np.bincount(item)[item]) if len(item) else np.zeros(0)


def trial_weights(rows: pd.DataFrame) -> np.ndarray:
    """Return the weight of each decision in a table with subject and trial: those on one trial share one."""
    subject, trial = (pd.factorize(rows[name])[0].astype(np.int64) for name in ("subject", "trial"))
    return shared_weights(codes(subject, trial)[0])


def scores_of(rows: pd.DataFrame, by: str, metric: str) -> pd.Series:
    """Return a metric of each value of the column ``by``, in their order of appearance.

    ``rows``: decisions with subject, trial, label and predicted; those on one trial share the weight of one.
    """
    group, names = pd.factorize(rows[by])
    code, classes = pd.factorize(pd.concat([rows["label"], rows["predicted"]], ignore_index=True))
    label, predicted = code[: len(rows)], code[len(rows) :]
    found = score_groups(group, label, predicted, trial_weights(rows), len(names), max(1, len(classes)))
    return pd.Series(found[:, [*METRICS].index(metric)], pd.Index(names, name=by))


def _mean_where(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(where, values, 0).sum(axis=1) / where.sum(axis=1))
