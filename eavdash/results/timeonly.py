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
    positions: dict[tuple[str, str], int] = {}
    for subject, of in rows.groupby("subject", sort=False):
        positions |= {(str(subject), trial): n for n, trial in enumerate(natural_order(of["trial"]))}
    rows = rows.assign(position=[positions[key] for key in zip(rows["subject"], rows["trial"], strict=True)])
    hits: dict[str, list[bool]] = {}
    for _, part in rows.groupby("fold" if across else ["fold", "subject"], sort=True):
        train = part[part["split"] == "train"]
        if train.empty:
            continue
        known, label_of = train["position"].to_numpy(), train["label"].to_numpy(dtype=object)
        for row in part[part["split"] == "test"].itertuples(index=False):
            distance = np.abs(known - row.position)
            limit = np.unique(distance)[:neighbours][-1]
            votes = Counter(label_of[distance <= limit])
            hits.setdefault(str(row.subject), []).append(
                min(votes, key=lambda label: (-votes[label], label)) == row.label
            )
    tested = rows[rows["split"] == "test"].drop_duplicates(["subject", "trial"])
    out = []
    for subject in natural_order(hits):
        own = tested.loc[tested["subject"] == subject, "label"]
        share = float(own.value_counts(normalize=True).max())
        out.append((subject, len(own), float(np.mean(hits[subject])), share))
    return pd.DataFrame(out, columns=["subject", "n", "accuracy", "majority"])
