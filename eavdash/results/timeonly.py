"""What a guess from a trial's place in the session alone would score: no recording is looked at.

In: a study's splits and the labels of its trials. Out: accuracy per test subject. Where emotions come in blocks, or in
the same order for everybody, this is far above chance, and slow drift of any recording can stand in for emotion.

The guess for a test trial is the most frequent label among the training trials that are nearest in time: of the same
subject, or (across subjects) at the nearest places of the other subjects' sessions.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from eavdash.results.tables import natural


def time_scores(splits: pd.DataFrame, labels: pd.DataFrame, across: bool, neighbours: int = 1) -> pd.DataFrame:
    """Columns subject, n (distinct test trials), accuracy (fraction, over all folds), majority (share of the most
    frequent label among the test trials); in natural order of subjects.

    Args:
        splits: subject, trial, fold, split. labels: subject, trial, label.
        across: training trials of all subjects count, else only one's own.
        neighbours: so many places in time vote, all of those that are equally near.
    """
    rows = splits[["subject", "trial", "fold", "split"]].merge(
        labels[["subject", "trial", "label"]], on=["subject", "trial"]
    )
    places: dict[tuple[str, str], int] = {}
    for subject, of in rows.groupby("subject", sort=False):
        places |= {(str(subject), trial): n for n, trial in enumerate(natural(of["trial"]))}
    rows = rows.assign(place=[places[key] for key in zip(rows["subject"], rows["trial"], strict=True)])
    hits: dict[str, list[bool]] = {}
    for _, part in rows.groupby("fold" if across else ["fold", "subject"], sort=True):
        train = part[part["split"] == "train"]
        if train.empty:
            continue
        known, said = train["place"].to_numpy(), train["label"].to_numpy(dtype=object)
        for row in part[part["split"] == "test"].itertuples(index=False):
            distance = np.abs(known - row.place)
            limit = np.unique(distance)[:neighbours][-1]
            votes = Counter(said[distance <= limit])
            hits.setdefault(str(row.subject), []).append(
                min(votes, key=lambda label: (-votes[label], label)) == row.label
            )
    tested = rows[rows["split"] == "test"].drop_duplicates(["subject", "trial"])
    out = []
    for subject in natural(hits):
        own = tested.loc[tested["subject"] == subject, "label"]
        share = float(own.value_counts(normalize=True).max())
        out.append((subject, len(own), float(np.mean(hits[subject])), share))
    return pd.DataFrame(out, columns=["subject", "n", "accuracy", "majority"])
