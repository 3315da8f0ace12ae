"""Gain in accuracy from choosing the epoch on the test trials, as the published evaluation did.

In: the status of finished runs with both accuracies per test trial: ``accuracy`` of the chosen epoch and
``honest_accuracy`` of the last one. Out: a table and a sentence.
"""

from __future__ import annotations

import pandas as pd

from eavdash.config.choices import STAGES
from eavdash.results import study_scores
from eavdash.store import StudyDir

COLUMNS = ("stage", "runs", "accuracy", "honest_accuracy", "added")


def epoch_gain(study: StudyDir) -> pd.DataFrame:
    """Return ``runs``, the mean accuracies of chosen and of last epochs, and their difference (fractions) per stage.

    Damaged runs are left out; the tables of scores report them.
    """
    found = study_scores.read(study, verify=False).epochs.values()
    rows = [(stage, accuracy, honest, accuracy - honest) for stage, accuracy, honest in found]
    if not rows:
        return pd.DataFrame(columns=list(COLUMNS))
    frame = pd.DataFrame(rows, columns=["stage", "accuracy", "honest_accuracy", "added"])
    table = frame.groupby("stage").mean().assign(runs=frame.groupby("stage").size()).reset_index()
    order = {stage: n for n, stage in enumerate(STAGES)}
    return table.sort_values("stage", key=lambda s: s.map(order))[list(COLUMNS)].reset_index(drop=True)


def gain_sentence(table: pd.DataFrame) -> str:
    """Return a sentence about the gain; empty for an empty table."""
    if table.empty:
        return ""
    parts = [f"{stage} {100 * added:+.1f}" for stage, added in zip(table["stage"], table["added"], strict=True)]
    mean = (table["added"] * table["runs"]).sum() / table["runs"].sum()
    return (
        f"Choosing the epoch on the test trials added {100 * mean:.1f} points on average ({', '.join(parts)}), "
        "compared with the last epoch of the same runs."
    )
