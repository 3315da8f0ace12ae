"""Computation of an explanation from recordings and weights, for :func:`eavdash.explain.trial.explain_trial`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from eavdash.config.choices import COLUMN, LOGMEL, TABLE
from eavdash.config.convert import recorded_config
from eavdash.config.schema import StudyConfig
from eavdash.data.frozen import planned_table
from eavdash.data.inputs import load_windows
from eavdash.data.standardise import raw_values, standardise
from eavdash.data.table import select
from eavdash.data.windows import WindowSet
from eavdash.errors import TableError, UsageError
from eavdash.explain.attributions import Completeness, integrated_gradients
from eavdash.explain.explanation import ExplainedWindow, Explanation, Receipts
from eavdash.explain.fused import FusedModel, FusedModelOutput, encoder_runs, load_fused_model
from eavdash.models.base import Encoder, to_encoder_input
from eavdash.models.people import read_people
from eavdash.results.decision import log_probabilities, normalised
from eavdash.store import RunDir, StudyDir
from eavdash.store.atomic import sha256

#: Maximum number of input values processed by the model at a time.
_BATCH_NUMBERS = 4_000_000
#: How many input values of other encoders a sample of sound counts as: wide convolutions read it.
_PER_SAMPLE = 16


@dataclass(frozen=True)
class _Window:
    """Encoder input of one window: a batch of one per present modality."""

    number: int
    start: float
    stop: float
    rows: dict[str, int]  # row of each modality's window set
    inputs: dict[str, Tensor]
    masks: dict[str, Tensor]


def compute(
    study: StudyDir, run: RunDir, subject: str, trial: str, method: str, device: str, steps: int
) -> Explanation:
    """Compute the explanation of a trial by ``run``; only the cache of windows is written."""
    info = run.config()
    classes = info.classes
    where = _device(device)
    model = load_fused_model(study, run, where, subject)
    row = _row(study, recorded_config(info), subject, trial)
    sets = _window_sets(study, run, row)
    windows = _windows(sets, where)
    with torch.no_grad():
        outputs = [model.predict(w.inputs, w.masks) for w in windows]
    stage = info.stage
    probabilities = _probabilities(stage, sets, outputs, len(classes))
    trial_probabilities = {s: normalised(np.nanmean(log_probabilities(p), axis=0)) for s, p in probabilities.items()}
    target = int(trial_probabilities[stage].argmax())
    attributions, completeness = _attribute(model, sets, windows, target, steps)
    found = probabilities[stage]
    return Explanation(
        study=study.name,
        run=run.name,
        stage=stage,
        method=method,
        subject=subject,
        trial=trial,
        label=str(row["label"].iloc[0]),
        predicted=classes[target],
        classes=classes,
        modalities=model.modalities,
        windows=tuple(
            ExplainedWindow(
                window=w.number,
                start=w.start,
                stop=w.stop,
                predicted=classes[c],
                modalities=tuple(w.inputs),
            )
            for w, c in zip(windows, found.argmax(axis=1).tolist(), strict=True)
        ),
        window_probabilities=probabilities,
        trial_probabilities=trial_probabilities,
        attributions=attributions,
        inputs={m: _aligned(s, raw_values(s), windows) for m, s in sets.items()},
        masks={m: _aligned(s, s.mask, windows) for m, s in sets.items()},
        attention=_stacked([d.fused.attention for d in outputs]),
        map=_stacked([d.fused.map for d in outputs]),
        maps=_stacked([d.fused.maps for d in outputs]),
        channels=tuple(sets["eeg"].meta["channels"]) if "eeg" in sets else (),
        front_end=sets["audio"].meta.get("front_end", LOGMEL) if "audio" in sets else LOGMEL,
        rate=float(sets["eeg"].meta["rate"]) if "eeg" in sets else 0.0,
        columns={m: tuple(s.meta["columns"]) for m, s in sets.items() if s.kind == TABLE},
        receipts=Receipts(
            steps=steps,
            target=classes[target],
            output="logit",
            baselines={m: _BASELINES[_heard(model, m, s.kind)] for m, s in sets.items()},
            scaled_as_others=tuple(m for m, each in encoder_runs(study, run).items() if _unknown(each, subject)),
            completeness=[c.to_dict() for c in completeness],
            reproduction=_reproduction(run, subject, trial, classes, windows, found),
            checksums={r.name: sha256(r.model_file) for r in (run, *encoder_runs(study, run).values())},
        ),
    )


_BASELINES = {
    "vision": "the colour that the input scaling was fitted to (mid-grey for pretrained encoders)",
    "audio": "the mean spectrum that the input scaling was fitted to",
    "wave": "white noise as loud as the window",
    "eeg": "each channel's mean over the training windows (no signal for encoders with an input scale of their own)",
    TABLE: "each column's mean over the training windows",
}


def _heard(model: FusedModel, modality: str, kind: str) -> str:
    """Return the key of the baseline's description: what the encoder hears if that is not the log-mel spectrogram."""
    domain = str(cast(Encoder, model.encoders[modality]).domain)
    return kind if domain == Encoder.domain else domain


def _unknown(encoder: RunDir, subject: str) -> bool:
    """Return True if the encoder was trained on people scaled by their statistics, and has none of this one."""
    known = encoder.config().input.subject_scaling or read_people(encoder).names
    return bool(known) and subject not in known


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError.at(
            "device", expected="auto, cpu or a CUDA device of this machine", found=repr(name), remedy="choose one"
        ) from error
    return device


def _row(study: StudyDir, config: StudyConfig, subject: str, trial: str) -> pd.DataFrame:
    """Return the trial's row of the trial table, as a frame of one row."""
    path = study.study().dataset.path
    frame = select(planned_table(study.table_file, path, (subject,)), config, (subject,)).frame
    row = frame[frame["trial"] == trial].reset_index(drop=True)
    if len(row) != 1:
        raise TableError.at(
            path,
            expected=f"one trial {trial} of subject {subject}, as when the study was planned",
            found=f"{len(row)}",
            remedy="restore the dataset",
        )
    return row


def _window_sets(study: StudyDir, run: RunDir, row: pd.DataFrame) -> dict[str, WindowSet]:
    """Return the trial's windows in each recorded modality of the model, with the EEG channels used in training."""
    sets = {}
    for modality, encoder in encoder_runs(study, run).items():
        if row[COLUMN[modality]].iloc[0] == "":
            continue
        info = encoder.config()
        config = recorded_config(info)
        if modality == "eeg":
            config = replace(config, eeg=replace(config.eeg, channels=info.input.channels))
        windows = load_windows(row, modality, config, study.cache_dir)
        if statistics := info.input.subject_scaling:
            windows = standardise(windows, statistics)
        sets[modality] = windows
    return sets


def _windows(sets: Mapping[str, WindowSet], device: torch.device) -> list[_Window]:
    """Return the windows in order of their numbers, each with the modalities that are long enough."""
    rows_by_number: dict[int, dict[str, int]] = {}
    for modality, windows in sets.items():
        for row, number in enumerate(windows.index["window"]):
            rows_by_number.setdefault(int(number), {})[modality] = row
    made = []
    for number in sorted(rows_by_number):
        rows = rows_by_number[number]
        spans = [sets[m].index.iloc[i][["start", "stop"]].astype(float) for m, i in rows.items()]
        inputs = {
            m: to_encoder_input(m, torch.from_numpy(np.array(sets[m].values[i : i + 1]))).to(device)
            for m, i in rows.items()
        }
        masks = {m: torch.from_numpy(np.array(sets[m].mask[i : i + 1])).to(device) for m, i in rows.items()}
        start, stop = min(s["start"] for s in spans), max(s["stop"] for s in spans)
        made.append(_Window(number, float(start), float(stop), rows, inputs, masks))
    return made


def _aligned(windows: WindowSet, values: np.ndarray, every: list[_Window]) -> np.ndarray:
    """Align the ``values`` of one modality to the windows of all modalities, with zeros where a window lacks it."""
    out = np.zeros((len(every), *values.shape[1:]), dtype=values.dtype)
    for i, window in enumerate(every):
        if windows.modality in window.rows:
            out[i] = values[window.rows[windows.modality]]
    return out


def _attribute(
    model: FusedModel, sets: Mapping[str, WindowSet], windows: list[_Window], target: int, steps: int
) -> tuple[dict[str, np.ndarray], list[Completeness]]:
    found: dict[str, np.ndarray] = {}
    receipts = []
    for i, window in enumerate(windows):
        numbers = sum(
            x.numel() * (_PER_SAMPLE if _heard(model, m, sets[m].kind) == "wave" else 1)
            for m, x in window.inputs.items()
        )
        batch = max(1, min(steps, _BATCH_NUMBERS // numbers))
        values, receipt = integrated_gradients(model, window.inputs, window.masks, target, steps, batch)
        receipts.append(receipt)
        for modality, value in values.items():
            array = value[0].float().cpu().numpy()
            found.setdefault(modality, np.zeros((len(windows), *array.shape), dtype=np.float32))[i] = array
    return {m: found[m] for m in sets}, receipts


def _probabilities(
    stage: str, sets: Mapping[str, WindowSet], outputs: list[FusedModelOutput], classes: int
) -> dict[str, np.ndarray]:
    """Return probabilities (window, class) float64 of each encoder and of the explained stage."""
    found = {m: np.full((len(outputs), classes), np.nan) for m in sets}
    for i, one in enumerate(outputs):
        for modality, encoded in one.encoded.items():
            found[modality][i] = _softmax(encoded.logits)
    found[stage] = np.stack([_softmax(one.fused.logits) for one in outputs])
    return found


def _softmax(logits: Tensor) -> np.ndarray:
    return np.asarray(logits.double().softmax(-1).cpu().numpy()[0])


def _stacked(parts: list[Tensor | None]) -> np.ndarray | None:
    given = [p.detach().float().cpu().numpy() for p in parts if p is not None]
    return np.concatenate(given) if given else None


def _reproduction(
    run: RunDir, subject: str, trial: str, classes: tuple[str, ...], windows: list[_Window], found: np.ndarray
) -> float | None:
    """Return the largest difference between these probabilities and those in the run's predictions."""
    frame = pd.read_parquet(run.verify("predictions.parquet"))
    rows = frame[(frame["subject"] == subject) & (frame["trial"] == trial) & (frame["frame"] == -1)]
    stored = rows.set_index("window").reindex([w.number for w in windows])[[f"p_{c}" for c in classes]].to_numpy()
    difference = np.abs(stored - found)
    return None if np.isnan(difference).all() else float(np.nanmax(difference))
