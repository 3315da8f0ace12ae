"""Accuracy of the encoders on real recordings, compared with a logistic regression on simple features.

``python benchmarks/real_signals.py DATA [--checkpoints DIR] [--write docs/evaluation.md]`` expects DATA/speech
(RAVDESS) and DATA/eeg (EEGMAT) with their trials.csv. It trains all missing studies with the preset quick, prints a
JSON line and a table, and with ``--write`` puts the table between the two markers of that file.

The input of the regression is the mean and standard deviation over time of every log-mel band (audio), or the log-power
of five frequency bands at every electrode (EEG), standardised on training windows. Its regularisation is chosen by the
cross-entropy on validation windows, like the encoders' epoch; a trial is classified by its windows' mean
log-probability. Both use the same folds.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eavdash.config.choices import COLUMN
from eavdash.config.convert import recorded_config
from eavdash.data.eeg.bandpower import band_power
from eavdash.data.inputs import load_windows
from eavdash.data.table import open_table, select
from eavdash.data.windows import WindowSet
from eavdash.results.statistics import chance_line
from eavdash.results.tables import predictions, score_table
from eavdash.store import StudyDir, checkpoints_root, find_study

BEGIN, END = "<!-- real signals: begin -->", "<!-- real signals: end -->"
STRENGTHS = (0.001, 0.01, 0.1, 1.0)
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Experiment:
    """One study: its dataset's folder, protocol and encoder."""

    folder: str
    modality: str
    protocol: str
    encoder: str

    @property
    def name(self) -> str:
        return f"real-{self.folder}-{self.protocol}-{self.encoder.replace(':', '-')}".lower()


def experiments() -> list[Experiment]:
    """Return the experiments that can be run; braindecode's EEGNet only if it is installed."""
    encoders = ["eegformer", "yin", "tangent"] + ["braindecode:EEGNet"] * bool(importlib.util.find_spec("braindecode"))
    speech = [Experiment("speech", "audio", protocol, "ast") for protocol in ("conversation", "loso")]
    return speech + [Experiment("eeg", "eeg", p, e) for p in ("conversation", "loso") for e in encoders]


def train(data: Path, each: Experiment, checkpoints: Path) -> StudyDir:
    """Train the study of an experiment unless it is finished, and return it."""
    command = [sys.executable, "-m", "eavdash", "train", str(data / each.folder / "trials.csv"), "--study", each.name]
    command += ["--stages", each.modality, "--protocol", each.protocol, "--checkpoints", str(checkpoints), "--wait"]
    command += ["--set", f"{each.modality}.encoder={each.encoder}"]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return find_study(checkpoints, each.name)


def features(windows: WindowSet) -> np.ndarray:
    """Return the input of the regression (window, feature)."""
    if windows.modality == "audio":
        spoken = [values[mask] for values, mask in zip(windows.values, windows.mask, strict=True)]
        return np.stack([np.concatenate([x.mean(axis=0), x.std(axis=0)]) for x in spoken])
    rate = float(windows.meta["rate"])
    recorded = [values[:, mask] * 1e6 for values, mask in zip(windows.values, windows.mask, strict=True)]
    return np.stack([band_power(x, rate).decibel.mean(axis=2).ravel() for x in recorded])


def regression(study: StudyDir, modality: str) -> pd.DataFrame:
    """Return test rows like an encoder's predictions, with stage ``logistic``, over the folds of ``study``."""
    document = study.study()
    config, classes = recorded_config(document), document.classes
    frame = select(open_table(document.dataset.path), config).frame
    windows = load_windows(frame[frame[COLUMN[modality]] != ""], modality, config, study.cache_dir)
    index = windows.index.reset_index(drop=True)
    x = features(windows)
    splits = pd.read_csv(study.splits_file, dtype=str, keep_default_na=False)
    parts = []
    for _, fold in splits.groupby("fold"):
        for who in [None] if config.protocol.name in ("loso", "subject-kfold") else sorted(set(fold["subject"])):
            mine = fold if who is None else fold[fold["subject"] == who]
            at = index.merge(mine[["subject", "trial", "fold", "split"]], on=["subject", "trial"], how="left")
            rows = {split: np.flatnonzero((at["split"] == split).to_numpy()) for split in SPLITS}
            model = _chosen(x, at["label"].to_numpy(str), rows)
            p = pd.DataFrame(0.0, index=range(len(rows["test"])), columns=[f"p_{c}" for c in classes])
            p[[f"p_{c}" for c in model.classes_]] = model.predict_proba(x[rows["test"]])
            tested = at.iloc[rows["test"]][["subject", "trial", "group", "label", "window", "fold", "split"]]
            tested = pd.concat([tested.reset_index(drop=True), p], axis=1)
            parts.append(tested.assign(predicted=np.array(classes)[p.to_numpy().argmax(axis=1)]))
    return pd.concat(parts, ignore_index=True).assign(
        study=study.name, run="logistic", stage="logistic", seed=0, frame=-1
    )


def _chosen(x: np.ndarray, labels: np.ndarray, rows: dict[str, np.ndarray]) -> LogisticRegression:
    """Fit the regression, choosing its regularisation on validation windows; C = 0.01 without any."""

    def fitted(strength: float) -> LogisticRegression:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        return model.fit(x[rows["train"]], labels[rows["train"]])

    if not len(rows["validation"]):
        return fitted(0.01)
    models = [fitted(strength) for strength in STRENGTHS]
    held = rows["validation"]
    losses = [log_loss(labels[held], m.predict_proba(x[held]), labels=m.classes_) for m in models]
    return models[int(np.argmin(losses))]


def summary(rows: pd.DataFrame) -> dict[str, float | int | str]:
    """Return scores over all test trials of a study, and over its subjects."""
    every = score_table(rows.assign(subject="all", trial=rows["subject"] + "/" + rows["trial"])).iloc[0]
    each = score_table(rows)["accuracy"]
    labels = rows.drop_duplicates(["subject", "trial"])["label"].value_counts(normalize=True)
    line = chance_line(int(every["n"]), len(labels), majority=float(labels.max()))
    percent = {k: round(100 * float(every[k]), 1) for k in ("accuracy", "balanced_accuracy", "macro_f1")}
    people = ", ".join(f"{100 * value:.0f}" for value in each)
    return {**percent, "n": int(every["n"]), "chance_line": round(100 * line, 1), "subjects": people}


def markdown(table: pd.DataFrame) -> str:
    """Return the table as Markdown."""
    heads = ["data", "protocol", "model", "accuracy, %", "balanced, %", "macro-F1, %", "n", "chance line, %"]
    lines = ["| " + " | ".join([*heads, "subjects, %"]) + " |", "|" + "---|" * (len(heads) + 1)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False)]
    return "\n".join(lines)


def main() -> None:
    """Train, compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--checkpoints")
    parser.add_argument("--write", type=Path, help="a file with the two markers")
    options = parser.parse_args()
    checkpoints = checkpoints_root(options.checkpoints)
    found: dict[tuple[str, str, str], dict[str, float | int | str]] = {}
    for each in experiments():
        study = train(options.data, each, checkpoints)
        found[each.folder, each.protocol, each.encoder] = summary(predictions(study))
        if (each.folder, each.protocol, "logistic regression") not in found:
            baseline = summary(regression(study, each.modality))
            found[each.folder, each.protocol, "logistic regression"] = baseline
    rows = [{"data": k[0], "protocol": k[1], "model": k[2], **v} for k, v in found.items()]
    print(json.dumps(rows))
    table = markdown(pd.DataFrame(rows))
    print(table)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        options.write.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
