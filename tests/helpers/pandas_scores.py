"""The scores of a study by pandas alone, from predictions.parquet: what every table and export is compared with."""

from __future__ import annotations

import numpy as np
import pandas as pd

from eavdash.store import StudyDir


def by_hand(study: StudyDir, level: str, subject: str, stage: str) -> dict[str, float]:
    """Compute the scores of one subject and stage from predictions.parquet with pandas alone."""
    names = [run for run in study.runs() if f"-{stage}-" in f"{run.name}-" and run.model_file.exists()]
    rows = pd.concat([pd.read_parquet(run.predictions_file) for run in names])
    rows = rows[(rows["split"] == "test") & (rows["subject"] == subject)]
    p = [c for c in rows.columns if c.startswith("p_")]
    if level == "trial":
        rows = rows[rows["frame"] == -1]
        logs = rows.assign(**np.log(rows[p])).groupby(["trial", "fold", "seed", "label"])[p].mean()
        items = logs.idxmax(axis=1).str.removeprefix("p_").rename("predicted").reset_index()
        key = ["trial"]
    else:
        items = rows[(rows["frame"] >= 0) == (level == "frame")]
        key = ["trial", "window", "frame"]
    weight = 1 / items.groupby(key)["label"].transform("size")
    right = items["label"] == items["predicted"]
    names = sorted({*items["label"], *items["predicted"]})
    recall = [(weight * right)[items["label"] == c].sum() / weight[items["label"] == c].sum() for c in names]
    f1 = [
        2
        * (weight * right)[items["label"] == c].sum()
        / (weight[items["label"] == c].sum() + weight[items["predicted"] == c].sum())
        for c in names
    ]
    return {
        "n": len(items[key].drop_duplicates()),
        "accuracy": (weight * right).sum() / weight.sum(),
        "balanced_accuracy": float(np.nanmean(recall)),
        "macro_f1": float(np.mean(f1)),
    }
