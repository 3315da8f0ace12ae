"""Accuracies and attention shares of the fusion on demo recordings with held-out seeds.

``python benchmarks/fusion_seeds.py STUDY [STUDY ...] [--checkpoints DIR]`` reads finished studies, one per seed of
``eavdash make-demo DIR --seed N`` and ``eavdash train DIR --study NAME --folds 0 --wait``; it prints a JSON line and a
table. The subjects' noise modality is read from the recordings' truth.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd

from eavdash.results.tables import scores, trials
from eavdash.store import checkpoints_root, find_study


def noise_of(dataset: Path) -> dict[str, str]:
    """Return the uninformative modality of each subject from the demo's truth.json."""
    truth = json.loads(next(dataset.glob("**/truth.json")).read_text(encoding="utf-8"))
    return {s: min(reliability, key=reliability.get) for s, reliability in truth["reliability"].items()}


def main() -> None:
    """Print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="+")
    parser.add_argument("--checkpoints")
    options = parser.parse_args()
    tables, shares = [], []
    for name in options.studies:
        study = find_study(checkpoints_root(options.checkpoints), name)
        tables.append(scores(study, baselines=True))
        noise = noise_of(Path(study.study().dataset.path))
        fused = trials(study, ["fusion"])
        for subject, rows in fused.groupby("subject"):
            attention = {m: float(rows[f"attention_{m}"].mean()) for m in ("vision", "audio", "eeg")}
            shares.append({"study": name, "subject": subject, "noise": noise[str(subject)], **attention})
    wide = pd.concat(tables).pivot(index=["study", "subject"], columns="stage", values="accuracy")
    wide["best single"] = wide[["vision", "audio", "eeg"]].max(axis=1)
    attended = pd.DataFrame(shares)
    lowest = int((attended[["vision", "audio", "eeg"]].idxmin(axis=1) == attended["noise"]).sum())
    summary = {"n_subjects": len(wide), "mean": wide.mean().round(3).to_dict(), "noise_share_lowest": lowest}
    print(json.dumps(summary))
    print(wide.round(3).to_string())
    print(attended.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
