"""Simulated outputs of frozen encoders on the demo's recordings, drawn from the demo's plan instead of trained.

The plan (eavdash/demo/plan.py) defines which emotion each modality expresses in each trial, and how strongly; one
modality of each subject is unrelated to the label. Like real encoders trained on a few dozen trials, these have
memorised their training windows, including noise, and are overconfident on others.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from documents import run_config

from eavdash.config import schema as cfg
from eavdash.config.convert import to_dict, with_epochs
from eavdash.config.schema import StudyConfig
from eavdash.demo.plan import EMOTIONS, MODALITIES, NOISE, SMALL, TrialPlan, plan_subject
from eavdash.store import StudyDir
from eavdash.training import evaluate
from eavdash.training.features import Features
from eavdash.training.run_context import RunContext

WINDOWS = 2  # of a trial: 10 s in windows of 5 s
DIM = 16
TESTED = 4  # further recordings of the same subject, all test trials


@dataclass(frozen=True)
class Subject:
    """Features of one simulated subject; ``noise`` is its uninformative modality."""

    noise: str
    trials: pd.DataFrame
    features: dict[str, Features]
    predictions: dict[str, pd.DataFrame]  # of each encoder


def subject(seed: int, number: int) -> Subject:
    """Simulate subject ``number`` (from 1) of the demo of ``seed``: 60 training, 20 validation and 400 test trials."""
    rows, plans = [], []
    for recording in range(1 + TESTED):
        for trial in plan_subject(1000 * seed + recording, number, SMALL).trials:
            if not trial.speaking:
                continue
            split = "test" if recording else ("train", "train", "train", "validation", "unused")[trial.number // 10 % 5]
            if split == "unused":
                continue
            keys = {"subject": str(number), "trial": f"{recording}-{trial.number}", "group": f"{trial.number // 10}"}
            rows += [{**keys, "label": trial.label, "window": w, "split": split} for w in range(WINDOWS)]
            plans += [trial] * WINDOWS
    index = pd.DataFrame(rows)
    index["place"] = np.repeat(np.arange(len(index) // WINDOWS), WINDOWS)
    index["row"] = np.arange(len(index))
    features, predictions = {}, {}
    for modality in MODALITIES:
        logits, tokens = _encoded(seed, number, modality, index, plans)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool)
        features[modality] = Features(index, tokens, mask, logits)
        predicted = evaluate.Predictions(logits.double().softmax(1).numpy())
        predictions[modality] = evaluate.table(index, predicted, EMOTIONS, 0, seed)
    trials = index.drop_duplicates("trial")[["subject", "trial", "group", "label", "split"]].reset_index(drop=True)
    return Subject(NOISE[(number - 1) % len(NOISE)], trials, features, predictions)


def _encoded(
    seed: int, number: int, modality: str, index: pd.DataFrame, plans: list[TrialPlan]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw logits (window, K) and tokens (window, 1 or 5, D)."""
    random = np.random.default_rng([seed, number, zlib.crc32(modality.encode())])
    label = np.array([EMOTIONS.index(x) for x in index["label"]])
    shown = np.array([EMOTIONS.index(p.expressions[modality].emotion) for p in plans])
    strength = np.array([p.expressions[modality].strength for p in plans])
    train = (index["split"] == "train").to_numpy()
    signal = np.eye(len(EMOTIONS))[np.where(train, label, shown)]
    signal = signal * np.where(train, 1.3, strength)[:, None] + random.normal(
        0, np.where(train, 0.15, 0.35)[:, None], signal.shape
    )
    mixing = random.normal(size=(len(EMOTIONS), DIM))
    count = 5 if modality == "vision" else 1
    tokens = (signal @ mixing)[:, None] + random.normal(0, 0.5, (len(index), count, DIM))
    return torch.tensor(5.0 * signal, dtype=torch.float32), torch.tensor(tokens, dtype=torch.float32)


def context(folder: Path, seed: int, made: Subject, fusion: cfg.FusionConfig, epochs: int) -> RunContext:
    """Return the context of a fusion run of these encoders in the quick preset, with its parents' files on disk."""
    config = with_epochs(StudyConfig(fusion=fusion), epochs)
    study = StudyDir(folder / "study")
    parents = {}
    for modality, table in made.predictions.items():
        parent = study.run(f"s01-{modality}")
        parents[modality] = parent.name
        parent.create(run_config(parent.name))
        parent.model_file.write_bytes(b"drawn")
        evaluate.write(parent.predictions_file, table)
    run = study.run("s01-fusion")
    run.create(run_config(run.name, seed=seed, classes=EMOTIONS, parents=parents, config=to_dict(config)))
    return RunContext(run, run.config(), config, made.trials, torch.device("cpu"))
