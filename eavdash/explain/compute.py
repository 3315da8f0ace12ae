"""Computation of an explanation from recordings and weights, for :func:`eavdash.explain.trial.explain_trial`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from eavdash.config.choices import LOGMEL, TABLE
from eavdash.config.convert import recorded_config
from eavdash.data.axes import frequencies_of, times_of
from eavdash.data.recording import release
from eavdash.data.standardise import raw_values
from eavdash.data.windows import WindowSet
from eavdash.errors import UsageError
from eavdash.explain.attributions import Attributed, Output
from eavdash.explain.baselines import kind_for
from eavdash.explain.devices import device_of
from eavdash.explain.explanation import ExplainedWindow, Explanation, Receipts, StoredExplanation
from eavdash.explain.fused import FusedModel, FusedModelOutput, encoder_runs, load_fused_model
from eavdash.explain.method_registry import METHODS
from eavdash.explain.receipts.of_trial import check_trial
from eavdash.explain.recordings import TrialWindow, aligned, crops_of, trial_row, trial_windows, window_sets
from eavdash.explain.reproduction import reproduction
from eavdash.explain.spectrum import frequencies
from eavdash.explain.training_windows import TrainingWindows, training_windows
from eavdash.explain.units import unit_of
from eavdash.explain.window_method import WindowMethod
from eavdash.models.base import Encoder
from eavdash.models.layers import softmax
from eavdash.models.people import read_people
from eavdash.models.seeds import reproducible, seeder
from eavdash.results.decision import log_probabilities, normalised
from eavdash.store import RunDir, StudyDir
from eavdash.store.atomic import sha256


def compute(
    study: StudyDir,
    run: RunDir,
    subject: str,
    trial: str,
    asked: StoredExplanation,
    device: str,
    steps: int,
    receipts: bool = True,
) -> Explanation:
    """Compute the explanation of a trial by ``run`` with the deterministic settings of training, on one thread.

    Only the cache of windows is written, and nothing is kept in memory. ``steps`` 0: as many as completeness needs.
    ``receipts``: check the maps too (receipts/).
    """
    where = device_of(device)
    started = time.monotonic()
    try:
        with reproducible(where, threads=1):
            made = _compute(study, run, subject, trial, asked, where, steps, receipts)
        taken = made.receipts.replace(seconds=round(time.monotonic() - started, 1))
        return replace(made, receipts=taken)
    finally:
        release()


def _compute(
    study: StudyDir,
    run: RunDir,
    subject: str,
    trial: str,
    asked: StoredExplanation,
    where: torch.device,
    steps: int,
    receipts: bool,
) -> Explanation:
    info = run.config()
    classes = info.classes
    model = load_fused_model(study, run, where, subject)
    row = trial_row(study, recorded_config(info), subject, trial)
    sets = window_sets(study, run, row)
    windows = trial_windows(sets, where)
    with torch.no_grad():
        outputs = [model.predict(w.inputs, w.masks) for w in windows]
    stage = info.stage
    probabilities = _probabilities(stage, sets, [[each] for each in outputs], len(classes))
    trial_probabilities = {s: normalised(np.nanmean(log_probabilities(p), axis=0)) for s, p in probabilities.items()}
    kind = METHODS[asked.method]
    receipts = receipts and kind.attribution  # maps of attention are not checked
    drawn = tuple(m for m in sets if kind_for(m, asked.baseline) == "training")
    trained = _trained(study, run, drawn, tuple(sets) if receipts else drawn, where)
    output = Output(classes.index(asked.target), classes.index(asked.against) if asked.against else None)
    rate = float(sets["eeg"].meta["rate"]) if "eeg" in sets and sets["eeg"].kind != TABLE else 0.0
    draws = seeder(info.seed, info.fold, info.stage)
    method = WindowMethod(model, trained, drawn, steps, asked.method, rate, draws("explain", asked.method))
    found = [method.attribute(w.inputs, w.masks, output) for w in windows]
    checks = check_trial(method, windows, found, output, trained, draws) if receipts else ()
    attributions = _attributions(sets, found)
    if not attributions:
        raise UsageError.at(
            f"trial {trial} of subject {subject}",
            expected=f"a recording that {kind.label.lower()} can show",
            found="none",
            remedy="choose another method",
        )
    unit = kind.unit(unit_of(model, contrast=bool(asked.against)))
    gaps = [each.completeness for each in found if kind.baselines and each.completeness is not None]
    own = probabilities[stage]
    spectrum = _spectrum(sets, found)
    return Explanation(
        study=study.name,
        run=run.name,
        stage=stage,
        method=asked.method,
        subject=subject,
        trial=trial,
        label=str(row["label"].iloc[0]),
        predicted=classes[int(trial_probabilities[stage].argmax())],
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
            for w, c in zip(windows, own.argmax(axis=1).tolist(), strict=True)
        ),
        window_probabilities=probabilities,
        trial_probabilities=trial_probabilities,
        attributions=attributions,
        inputs={m: aligned(s, raw_values(s), windows) for m, s in sets.items()},
        masks={m: aligned(s, s.mask, windows) for m, s in sets.items()},
        attention=_stacked([d.fused.attention for d in outputs]),
        map=_stacked([d.fused.map for d in outputs]),
        maps=_stacked([d.fused.maps for d in outputs]),
        channels=tuple(sets["eeg"].meta["channels"]) if "eeg" in sets else (),
        front_end=sets["audio"].meta.get("front_end", LOGMEL) if "audio" in sets else LOGMEL,
        rate=float(sets["eeg"].meta["rate"]) if "eeg" in sets else 0.0,
        columns={m: tuple(s.meta["columns"]) for m, s in sets.items() if s.kind == TABLE},
        target=asked.target,
        against=asked.against,
        baseline=asked.baseline,
        unit=unit,
        baseline_probabilities=_probabilities(stage, sets, [each.at_baselines for each in found], len(classes))
        if kind.baselines
        else {},
        times={m: aligned(s, times_of(s), windows, np.nan) for m, s in sets.items()},
        crops=_crops(study, run, row, sets, windows),
        frequencies={m: hertz for m, s in sets.items() if (hertz := frequencies_of(s)) is not None},
        spectrum=spectrum,
        spectrum_frequencies=None
        if spectrum is None
        else frequencies(sets["eeg"].values.shape[2], float(sets["eeg"].meta["rate"])),
        receipts=Receipts(
            steps=max((each.steps for each in gaps), default=0),
            target=asked.target,
            output=unit,
            baselines={
                m: _TRAINING if m in drawn else _BASELINES[_heard(model, m, s.kind)]
                for m, s in sets.items()
                if kind.baselines
            },
            scaled_as_others=tuple(m for m, each in encoder_runs(study, run).items() if _unknown(each, subject)),
            completeness=[each.to_dict() for each in gaps],
            training_windows=trained.names if trained is not None and drawn else (),
            reproduction=reproduction(run, subject, trial, classes, [w.number for w in windows], own),
            checksums={r.name: sha256(r.model_file) for r in (run, *encoder_runs(study, run).values())},
            checks=checks,
        ),
    )


_TRAINING = "windows that the run was trained on"
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


def _trained(
    study: StudyDir, run: RunDir, drawn: tuple[str, ...], wanted: tuple[str, ...], where: torch.device
) -> TrainingWindows | None:
    """Return training windows in the ``wanted`` modalities; None if the method draws none and the run has none."""
    try:
        return training_windows(study, run, wanted, where) if wanted else None
    except UsageError:
        if drawn:
            raise
        return None


def _attributions(sets: Mapping[str, WindowSet], found: list[Attributed]) -> dict[str, np.ndarray]:
    """Return the attributions of all windows by modality, with zeros where a window lacks it."""
    arrays: dict[str, np.ndarray] = {}
    for i, each in enumerate(found):
        for modality, value in each.values.items():
            array = value[0].float().cpu().numpy()
            arrays.setdefault(modality, np.zeros((len(found), *array.shape), dtype=np.float32))[i] = array
    return {m: arrays[m] for m in sets if m in arrays}


def _crops(
    study: StudyDir, run: RunDir, row: pd.DataFrame, sets: Mapping[str, WindowSet], windows: list[TrialWindow]
) -> np.ndarray | None:
    found = crops_of(study, run, row, sets["vision"]) if "vision" in sets else None
    return None if found is None else aligned(sets["vision"], found.astype(np.float32), windows, np.nan)


def _spectrum(sets: Mapping[str, WindowSet], found: list[Attributed]) -> np.ndarray | None:
    """Return the EEG's attributions by frequency (W, C, frequency), with zeros where a window lacks it."""
    if "eeg" not in sets or sets["eeg"].kind == TABLE:
        return None
    shape = next((each.spectrum.shape for each in found if each.spectrum is not None), None)
    if shape is None:
        return None
    windows = [np.zeros(shape) if each.spectrum is None else each.spectrum for each in found]
    return np.stack(windows).astype(np.float32)


def _probabilities(
    stage: str, sets: Mapping[str, WindowSet], outputs: list[list[FusedModelOutput]], classes: int
) -> dict[str, np.ndarray]:
    """Return probabilities (window, class) float64 of each encoder and of the explained stage.

    ``outputs`` has one or several of each window, whose probabilities are averaged.
    """
    found = {m: np.full((len(outputs), classes), np.nan) for m in (*sets, stage)}
    for i, several in enumerate(outputs):
        for modality in several[0].encoded:
            found[modality][i] = np.mean([softmax(one.encoded[modality].logits)[0] for one in several], axis=0)
        found[stage][i] = np.mean([softmax(one.fused.logits)[0] for one in several], axis=0)
    return found


def _stacked(parts: list[Tensor | None]) -> np.ndarray | None:
    given = [p.detach().float().cpu().numpy() for p in parts if p is not None]
    return np.concatenate(given) if given else None
