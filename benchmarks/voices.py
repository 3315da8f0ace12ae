"""Accuracy of ``audio.encoder=voice`` on real speech: its states' mean and spread under a logistic regression.

``python benchmarks/voices.py DATA`` expects DATA/speech (RAVDESS) with its trials.csv. It prints a table: within each
speaker (protocol conversation) and across speakers (loso), plain and with the features standardised by all windows of
each speaker (transductive). The network is frozen; the regression's strength is chosen on validation windows, and a
trial is classified by its windows' mean log-probability.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.data.inputs import load_windows
from eavdash.data.splits import make_splits
from eavdash.data.table import open_table, select
from eavdash.models import weights
from eavdash.models.voice import VoiceEncoder
from eavdash.results.statistics import chance_line

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
SETTINGS = ("stages=audio", "audio.encoder=voice")


def main() -> None:
    """Compute the features once, fit the regressions, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    table = parser.parse_args().data / "speech" / "trials.csv"
    config = with_settings(preset("quick"), SETTINGS)
    trials = select(open_table(table), config).frame
    with tempfile.TemporaryDirectory() as cache:
        windows = load_windows(trials, "audio", config, Path(cache))
        model = VoiceEncoder(len(set(trials["label"])))
        weights.load_configured(model, config, "audio")
        parts = zip(np.array_split(windows.values, 20), np.array_split(windows.mask, 20), strict=True)
        with torch.no_grad():
            found = [model.forward_features(torch.tensor(x), torch.tensor(mask))[:, 0].numpy() for x, mask in parts]
    index, features = windows.index.reset_index(drop=True), np.concatenate(found).astype(np.float64)
    people = index["subject"].to_numpy(str)
    own = features.copy()
    for person in set(people):
        mine = people == person
        own[mine] = (features[mine] - features[mine].mean(axis=0)) / features[mine].std(axis=0)
    print("| protocol | features | accuracy, % | n | chance line, % | speakers, % |\n|" + "---|" * 6)
    for protocol in ("conversation", "loso"):
        splits = make_splits(trials, with_settings(config, [f"protocol.name={protocol}"]).protocol).frame
        for name, x in (("plain", features), ("by speaker", own)):
            right = scored(index, x, splits, within=protocol == "conversation")
            labels = trials["label"].value_counts(normalize=True)
            line = 100 * chance_line(len(right), len(labels), majority=float(labels.max()))
            each = ", ".join(f"{100 * value:.0f}" for value in right.groupby("subject").mean())
            print(f"| {protocol} | {name} | {100 * right.mean():.1f} | {len(right)} | {line:.1f} | {each} |")


def scored(index: pd.DataFrame, x: np.ndarray, splits: pd.DataFrame, within: bool) -> pd.Series:
    """Return whether each trial was classified correctly in the fold that tests it, by subject and trial."""
    right: dict[tuple[str, str], bool] = {}
    labels = index["label"].to_numpy(str)
    for _, fold in splits.groupby(["fold", "subject"] if within else ["fold"]):
        at = index.merge(fold[["subject", "trial", "split"]], on=["subject", "trial"], how="left")["split"].to_numpy()
        models = [_fitted(x[at == "train"], labels[at == "train"], strength) for strength in STRENGTHS]
        held = at == "validation"
        losses = [log_loss(labels[held], m.predict_proba(x[held]), labels=m.classes_) for m in models]
        best = models[int(np.argmin(losses))]
        logs = pd.DataFrame(best.predict_log_proba(x[at == "test"]), columns=best.classes_)
        tested = pd.concat([index[at == "test"].reset_index(drop=True), logs], axis=1)
        means = tested.groupby(["subject", "trial", "label"])[list(best.classes_)].mean()
        for (subject, trial, label), row in means.iterrows():
            right[subject, trial] = str(row.idxmax()) == label
    keys = pd.MultiIndex.from_tuples(right, names=["subject", "trial"])
    return pd.Series(list(right.values()), keys, dtype=float)


def _fitted(x: np.ndarray, labels: np.ndarray, strength: float) -> LogisticRegression:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000)).fit(x, labels)


if __name__ == "__main__":
    main()
