"""Accuracy of guessing the label from a trial's position in the session alone, without any recording.

In: a study's splits and the labels of its trials. Out: accuracy per test subject. If emotions come in blocks, or in the
same order for every subject, it is far above chance, and slow drifts of a recording can be mistaken for emotion.

The guess for a test trial is the most frequent label among the nearest training trials in time: those of the same
subject or, across subjects, those at the nearest positions in the other subjects' sessions.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from eavdash.text import natural_order


def time_scores(splits: pd.DataFrame, labels: pd.DataFrame, across: bool, neighbours: int = 1) -> pd.DataFrame:
    """Return the accuracy of the guess per subject, in natural order.

    Columns: subject, n (distinct test trials), accuracy (fraction, over all folds), majority (share of the most
    frequent label among the test trials).

    Args:
        splits: subject, trial, fold, split. labels: subject, trial, label.
        across: use training trials of all subjects instead of the same subject's only.
        neighbours: number of distinct distances in time whose trials vote.
    """
    rows = splits[["subject", "trial", "fold", "split"]].merge(
        labels[["subject", "trial", "label"]], on=["subject", "trial"]
    )
    places = positions(rows)
    hits: dict[str, list[bool]] = {}
    for _, part in rows.groupby("fold" if across else ["fold", "subject"], sort=True):
        train, test = part[part["split"] == "train"], part[part["split"] == "test"]
        if train.empty:
            continue
        nearest = votes(places[train.index], train["label"], places[test.index], neighbours)
        for subject, label, count in zip(test["subject"], test["label"], nearest, strict=True):
            hits.setdefault(str(subject), []).append(min(count, key=lambda name: (-count[name], name)) == label)
    tested = rows[rows["split"] == "test"].drop_duplicates(["subject", "trial"])
    out = []
    for subject in natural_order(hits):
        own = tested.loc[tested["subject"] == subject, "label"]
        share = float(own.value_counts(normalize=True).max())
        out.append((subject, len(own), float(np.mean(hits[subject])), share))
    return pd.DataFrame(out, columns=["subject", "n", "accuracy", "majority"])


def positions(rows: pd.DataFrame) -> pd.Series:
    """Return each row's position in its subject's session, by the natural order of the trials' names, from 0."""
    places: dict[tuple[str, str], int] = {}
    for subject, of in rows.groupby("subject", sort=False):
        places |= {(str(subject), trial): n for n, trial in enumerate(natural_order(of["trial"]))}
    return pd.Series([places[key] for key in zip(rows["subject"], rows["trial"], strict=True)], rows.index, dtype=int)


def votes(known: ArrayLike, labels: ArrayLike, asked: ArrayLike, neighbours: int = 1) -> list[Counter[str]]:
    """Return for each position ``asked`` the labels of the training trials nearest to it; ``known``: their positions.

    ``neighbours``: number of distinct distances in time whose trials vote.
    """
    places, names = np.asarray(known), np.asarray(labels, dtype=object)
    out = []
    for position in np.asarray(asked):
        distance = np.abs(places - position)
        out.append(Counter(names[distance <= np.unique(distance)[:neighbours][-1]]))
    return out
