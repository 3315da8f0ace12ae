"""Synthetic study folders, written according to docs/architecture.md, "Files", without training or recordings.

States of runs and accuracies of stages can be chosen; numbers come from a seed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eavdash.config.choices import MODALITIES, STAGES
from eavdash.config.convert import to_dict
from eavdash.config.presets import preset
from eavdash.results.tables import BESIDE
from eavdash.results.trial_scores import add_scores
from eavdash.store import RunDir, StudyDir, unit_name
from eavdash.store.atomic import write_atomic, write_json
from eavdash.store.documents import RunConfig

CLASSES = ("Anger", "Calmness", "Happiness", "Neutral", "Sadness")
SKILL = {"vision": 0.72, "audio": 0.55, "eeg": 0.45, "fusion": 0.8}


def make_study(
    root: Path,
    name: str = "demo",
    *,
    subjects: Sequence[str] = ("1", "2", "3"),
    stages: Sequence[str] = STAGES,
    folds: Sequence[int] = (0,),
    seeds: Sequence[int] = (0,),
    states: Mapping[str, str] | None = None,
    trials: int = 10,
    windows: int = 2,
    classes: Sequence[str] = CLASSES,
    protocol: str = "conversation",
    fusion: str = "attention",
    simulated: bool = True,
    dataset: str | Path = "/nowhere/EAV",
    seed: int = 0,
    beside: bool = True,
    compact: bool = True,
) -> StudyDir:
    """Write the study.

    ``states``: run name → state (``done`` by default; the key ``*`` changes the default). ``trials``: test trials per
    subject and fold. ``beside``: False for a study of an earlier version, whose encoders have no baselines.
    ``compact``: False for runs of an earlier version, without scores.parquet.
    """
    study = StudyDir(root / name)
    study.path.mkdir(parents=True)
    base = preset("quick")
    config = replace(
        base,
        stages=tuple(stages),
        protocol=replace(base.protocol, name=protocol),
        fusion=replace(base.fusion, kind=fusion),
    )
    document: dict[str, Any] = {
        "name": name,
        "created": "2026-01-01T00:00:00+0000",
        "config": to_dict(config),
        "selection": {"subjects": list(subjects), "folds": list(folds), "seeds": list(seeds)},
        "dataset": {
            "path": str(dataset),
            "kind": "eav",
            "simulated": simulated,
            "trials": trials * len(folds) * len(subjects),
            "fingerprint": dict.fromkeys(subjects, "0" * 12),
        },
        "classes": list(classes),
        "naming": {
            "fold": folds[0] if len(folds) == 1 else None,
            "seed": seeds[0] if len(seeds) == 1 else None,
        },
        "versions": {"eavdash": "0.1.0"},
        "git_commit": "",
        "notes": [],
    }
    write_json(study.study_file, document)
    splits = []
    for subject in subjects:
        for fold in folds:
            for index, trial in enumerate(_trial_names(fold, trials)):
                group = f"{subject}-c{fold}-{index // 4}"
                splits.append((subject, trial, group, fold, "test"))
                splits.append((subject, f"{int(trial) + 100}", f"{group}-train", fold, "train"))
    frame = pd.DataFrame(splits, columns=["subject", "trial", "group", "fold", "split"])
    write_atomic(study.splits_file, lambda file: file.write(frame.to_csv(index=False).encode()))

    states = states or {}
    for subject in subjects:
        for fold in folds:
            for number in seeds:
                suffix = ("" if len(folds) == 1 else f"-fold{fold}") + ("" if len(seeds) == 1 else f"-seed{number}")
                names = {s: f"{unit_name(subject)}-{s}{suffix}" for s in stages}
                for stage, run_name in names.items():
                    run = study.run(run_name)
                    run.create(
                        RunConfig.model_validate(
                            {
                                "study": name,
                                "run": run_name,
                                "unit": unit_name(subject),
                                "stage": stage,
                                "fold": fold,
                                "seed": number,
                                "subject": subject,
                                "classes": list(classes),
                                "parents": {m: names[m] for m in MODALITIES if m in names} if stage == "fusion" else {},
                                "config": document["config"],
                            }
                        )
                    )
                    rng = np.random.default_rng([seed, number, fold, *run_name.encode()])
                    state = states.get(run_name, states.get("*", "done"))
                    _bring_to(run, state, stage, subject, fold, number, trials, windows, classes, rng, fusion, beside)
                    if compact and run.status().state == "done":
                        add_scores(run)
    return study


def _trial_names(fold: int, trials: int) -> list[str]:
    return [str(2 * (fold * trials + i) + 2) for i in range(trials)]


def _bring_to(
    run: RunDir,
    state: str,
    stage: str,
    subject: str,
    fold: int,
    seed: int,
    trials: int,
    windows: int,
    classes: Sequence[str],
    rng: np.random.Generator,
    fusion: str,
    beside: bool,
) -> None:
    if state == "queued":
        return
    if state in ("blocked", "cancelled"):
        run.transition(state, reason="cancelled on request" if state == "cancelled" else "waits for its encoders")
        return
    done = 12 if state == "done" else 7
    now, here = time.time(), os.uname().nodename
    run.transition(
        "running",
        attempt=2,
        epochs=12,
        from_epoch=2,
        heartbeat=now,
        host=here,
        started=now - 30,
        job={"executor": "local", "name": ""},
        usage={"cpu": 97.0, "rss": 480_000_000, "peak": 510_000_000},
        history=[earlier(here, now - 50)],
    )
    lines = [
        {
            "epoch": e + 1,
            "loss": 1.6 * 0.85**e,
            "accuracy": 0.2 + 0.05 * e,
            "validation_loss": 1.65 * 0.9**e,
            "validation_accuracy": 0.2 + 0.04 * e,
            "seconds": 0.5,
        }
        for e in range(done)
    ]
    run.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run.log_file.write_text(f"start {run.name}\n" + "".join(f"epoch {e + 1} of 12\n" for e in range(done)))
    run.update(epoch=done)
    if state == "running":
        return
    if state == "failed":
        reason = f"/data/{run.name}.wav: expected a sound file, found 0 bytes; copy it again."
        run.transition("failed", reason=reason, finished=time.time())
        return
    frame = prediction_rows(stage, subject, fold, seed, trials, windows, classes, rng, fusion)
    write_parquet(run.predictions_file, pd.concat([frame, _validation_rows(frame)], ignore_index=True))
    run.model_file.write_bytes(b"weights")
    accuracy = float((frame["label"] == frame["predicted"]).mean())
    if stage == "fusion" or beside:
        write_parquet(run.baselines_file, baseline_rows(frame, classes, rng, BESIDE[stage]))
    if stage == "fusion" and fusion == "attention":
        write_parquet(run.attention_file, attention_rows(frame))
    if stage == "fusion":
        write_parquet(run.shapley_file, coalition_rows(frame))
    run.transition("done", checksums=run.seal(), accuracy=accuracy, finished=time.time(), peak=510_000_000)


def earlier(host: str, started: float) -> dict[str, Any]:
    """Return the history entry of a first attempt that was killed after two epochs."""
    return {
        "attempt": 1,
        "host": host,
        "executor": "local",
        "started": started,
        "finished": started + 15,
        "from_epoch": 0,
        "epoch": 2,
        "state": "queued",
        "reason": "its process was killed (signal 9); it goes on after epoch 2",
    }


def prediction_rows(
    stage: str,
    subject: str,
    fold: int,
    seed: int,
    trials: int,
    windows: int,
    classes: Sequence[str],
    rng: np.random.Generator,
    fusion: str = "attention",
) -> pd.DataFrame:
    """Make predictions.parquet of one run: test and train rows, with frame rows for vision and fusion ``paper``."""
    frames = (-1, 0, 1) if stage == "vision" or (stage == "fusion" and fusion == "paper") else (-1,)
    rows = []
    for split, shift in (("test", 0), ("train", 100)):
        for index, name in enumerate(_trial_names(fold, trials)):
            label = index % len(classes)
            right = rng.random() < SKILL[stage]
            for window in range(windows):
                for frame in frames:
                    logits = rng.normal(0, 0.5, len(classes))
                    logits[label if right else (label + 1) % len(classes)] += 2
                    p = np.exp(logits) / np.exp(logits).sum()
                    row: dict[str, Any] = {
                        "subject": subject,
                        "trial": str(int(name) + shift),
                        "group": f"{subject}-c{fold}-{index // 4}" + ("-train" if shift else ""),
                        "label": classes[label],
                        "predicted": classes[int(p.argmax())],
                        "split": split,
                        "window": window,
                        "frame": frame,
                        "fold": fold,
                        "seed": seed,
                        **{f"p_{c}": v for c, v in zip(classes, p, strict=True)},
                    }
                    if stage == "fusion" and fusion == "attention":
                        shares = rng.dirichlet((4, 2, 1))
                        row |= {f"attention_{m}": v for m, v in zip(MODALITIES, shares, strict=True)}
                    rows.append(row)
    return pd.DataFrame(rows)


def _validation_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Make validation trials of the training trials' rows: other names, the same decisions."""
    rows = frame[frame["split"] == "train"]
    names = [str(int(name) + 100) for name in rows["trial"]]
    return rows.assign(split="validation", trial=names, group=rows["group"] + "-validation")


def baseline_rows(
    fused: pd.DataFrame, classes: Sequence[str], rng: np.random.Generator, names: Sequence[str]
) -> pd.DataFrame:
    """Make baselines.parquet, with the baselines ``names``, for a run's predictions."""
    windows = fused[fused["frame"] == -1].drop(columns=[c for c in fused.columns if c.startswith("attention_")])
    parts = []
    for name in names:
        p = rng.dirichlet(np.ones(len(classes)), len(windows))
        if name.endswith("majority"):
            p = np.tile(np.eye(len(classes))[0], (len(windows), 1))
        part = windows.assign(stage=name, **{f"p_{c}": p[:, i] for i, c in enumerate(classes)})
        parts.append(part.assign(predicted=np.array(classes)[p.argmax(axis=1)]))
    return pd.concat(parts, ignore_index=True)


def attention_rows(fused: pd.DataFrame, layers: int = 1) -> pd.DataFrame:
    """Make attention.parquet for a fusion run's predictions: four heads whose mean share is that of the predictions.

    A modality with a share of 0 is absent from the window: it neither attends nor is attended to.
    """
    tested = fused[fused["split"] == "test"].reset_index(drop=True)
    out = tested[["subject", "trial", "window", "fold", "seed"]].copy()
    shares = tested[[f"attention_{m}" for m in MODALITIES]].to_numpy()
    rng = np.random.default_rng(0)
    for head, tilt in enumerate(([1, -1, 0], [-1, 1, 0], [0, 1, -1], [0, -1, 1])):
        for number, m in enumerate(MODALITIES):
            out[f"head{head + 1}_{m}"] = shares[:, number] + 0.5 * shares.min(axis=1) * tilt[number]
        for layer in range(layers):
            for number, query in enumerate(MODALITIES):
                row = rng.dirichlet(np.roll((6, 2, 1), number + head), len(out)) * (shares > 0)
                row = row / row.sum(axis=1, keepdims=True) * (shares[:, [number]] > 0)
                for key, values in zip(MODALITIES, row.T, strict=True):
                    out[f"layer{layer + 1}_head{head + 1}_{query}_{key}"] = values
    return out


def coalition_rows(fused: pd.DataFrame) -> pd.DataFrame:
    """Make shapley.parquet for a fusion run's predictions: all three modalities give these, none a fifth per class."""
    tested = fused[(fused["split"] == "test") & (fused["frame"] == -1)].reset_index(drop=True)
    columns = [c for c in tested.columns if c.startswith("p_")]
    whole = np.log(tested[columns].to_numpy(float))
    empty = np.full_like(whole, -np.log(len(columns)))
    rng = np.random.default_rng(len(tested))
    weights = np.array([0.6, 0.3, 0.1])
    parts = []
    for bits in range(8):
        inside = np.array([bits >> number & 1 for number in range(3)], dtype=bool)
        value = empty + weights[inside].sum() * (whole - empty)
        value = value + (rng.normal(0, 0.05, whole.shape) if 0 < bits < 7 else 0)
        part = tested[["subject", "trial", "window"]].iloc[np.repeat(np.arange(len(tested)), len(columns))]
        part = part.assign(**{"class": np.tile([c[2:] for c in columns], len(tested))})
        name = "+".join(m for m, member in zip(MODALITIES, inside, strict=True) if member)
        parts.append(part.assign(coalition=name, value=value.ravel().astype(np.float32)))
    return pd.concat(parts, ignore_index=True)


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write the frame as parquet."""
    frame.to_parquet(path, index=False)


def make_explanation(study: StudyDir, run: str, subject: str, trial: str, windows: int = 2) -> Any:
    """Make an explanation of a trial with plausible shapes; the second window has no audio."""
    from eavdash.explain.explanation import ExplainedWindow, Explanation, Receipts
    from eavdash.store.atomic import sha256

    rng = np.random.default_rng(0)
    channels = ("Fp1", "Fp2", "F3", "F4", "C3", "Cz", "C4", "P3", "P4", "O1", "O2")
    shapes = {"vision": (windows, 5, 64, 64), "audio": (windows, 498, 128), "eeg": (windows, len(channels), 500)}
    blob = np.exp(-((np.linspace(-2, 2, 64)[:, None] - 0.8) ** 2) - np.linspace(-2, 2, 64)[None] ** 2)
    attributions = {m: rng.normal(0, 0.1, shape).astype(np.float32) for m, shape in shapes.items()}
    attributions["vision"] += blob.astype(np.float32)
    attributions["eeg"][:, 7:9, 100:300] += 0.5
    k = len(study.study().classes)
    p = rng.dirichlet(np.ones(k), windows)
    maps = rng.dirichlet((2, 2, 2), (windows, 2, 4, 3))
    return Explanation(
        study=study.name,
        run=run,
        stage="fusion",
        method="integrated_gradients",
        subject=subject,
        trial=trial,
        label="Anger",
        predicted="Anger",
        classes=study.study().classes,
        modalities=MODALITIES,
        windows=tuple(
            ExplainedWindow(
                window=w,
                start=5.0 * w,
                stop=5.0 * w + 5,
                predicted="Anger",
                modalities=MODALITIES if w != 1 else ("vision", "eeg"),
            )
            for w in range(windows)
        ),
        window_probabilities={"fusion": p},
        trial_probabilities={"fusion": p.mean(axis=0)},
        attributions=attributions,
        inputs={
            "vision": (255 * blob[None, None, :, :, None] * np.ones((windows, 5, 1, 1, 3))).astype(np.uint8),
            "audio": rng.normal(-5, 2, shapes["audio"]).astype(np.float32),
            "eeg": rng.normal(0, 1e-5, shapes["eeg"]).astype(np.float32),
        },
        masks={
            "vision": np.ones((windows, 5), bool),
            "audio": np.ones((windows, 498), bool),
            "eeg": np.ones((windows, 500), bool),
        },
        attention=rng.dirichlet((4, 2, 1), (windows, 4)),
        map=maps.mean(axis=(1, 2)),
        maps=maps,
        channels=channels,
        rate=100.0,
        receipts=Receipts(
            steps=32,
            target="Anger",
            baselines={"vision": "mid-grey pixels", "audio": "the mean spectrum", "eeg": "each channel's mean"},
            completeness=[{"gap": 0.01, "relative_gap": 0.004}] * windows,
            reproduction=1e-7,
            checksums={run: sha256(study.run(run).model_file)},
        ),
    )


def perfect_baselines(study: StudyDir, stage: str) -> None:
    """Make every baseline beside the runs of a stage right about every window."""
    for run in study.runs():
        if run.config().stage == stage:
            rows = pd.read_parquet(run.baselines_file)
            right = {f"p_{c}": (rows["label"] == c).astype(float) for c in run.config().classes}
            write_parquet(run.baselines_file, rows.assign(**right, predicted=rows["label"]))
            run.update(checksums=run.seal())
