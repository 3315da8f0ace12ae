"""Stage 2: the fusion of frozen encoders, from their cached features to its files and the baselines beside it.

The encoders stay in evaluation mode and are never changed. Their features are standardised with the training windows'
statistics (kept in the fusion's buffers, so that a checkpoint is complete) and, in training batches, made as
unreliable as they are on new windows (:mod:`eavdash.training.reliability`). The published layer (kind ``paper``) is
trained as published: on the features as they are.

On request copies of the encoders are then fine-tuned together with the fusion (:mod:`eavdash.training.joint`), and
last a temperature is fitted on the validation windows (:mod:`eavdash.training.calibration`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import pandas as pd
import torch
from torch import Tensor, nn

from eavdash.config.schema import StudyConfig
from eavdash.models import build
from eavdash.models.fusion import Fusion
from eavdash.models.layers import mean_log_softmax
from eavdash.store.atomic import sha256
from eavdash.training import baselines, evaluate
from eavdash.training.calibration import Calibration, fit_temperature
from eavdash.training.features import features, load_encoder
from eavdash.training.job import (
    Job,
    Windows,
    check_training,
    labels_of,
    read_windows,
    rows_of,
    signature,
    window_counts,
)
from eavdash.training.joined import FeatureSource, join
from eavdash.training.joint import JointModel, JointSource, fine_tune
from eavdash.training.loop import Checkpoint, Decision, Fitted, Source, fit, recipe
from eavdash.training.memory import Pieces, in_pieces
from eavdash.training.precision import autocast, chosen, device_of
from eavdash.training.reliability import Reliability, reliability
from eavdash.training.stage1 import computed, finish

log = logging.getLogger(__name__)


def train_fusion(job: Job) -> None:
    """Train the fusion of the job's parents and write its files.

    Raises:
        EavdashError: an encoder is missing or damaged, or the files of the run do not allow it.
        StoppedError: the job was asked to stop.
    """
    windows, missing = _windows(job)
    joined = join({m: features(_parent(job, m), w, job.device, job.execution) for m, w in windows.items()})
    check_training(job, joined.index)
    train, validation = rows_of(joined.index, "train"), rows_of(joined.index, "validation")
    rates = _reliabilities(job)
    matched = job.config.fusion.match_reliability and job.config.fusion.kind != "paper"
    replaced = {m: rate.replaced if matched else 0.0 for m, rate in rates.items()}
    spec = build.fusion_spec(job.config, len(job.classes), joined.dims)
    job.describe(
        model=spec,
        input={
            "modalities": list(joined.tokens),
            "dims": joined.dims,
            "windows": window_counts(joined.index),
            "reliability": {m: {**rate.to_dict(), "replaced": replaced[m]} for m, rate in rates.items()},
        },
        left_out=missing,
        computed=computed(job),
    )
    source = FeatureSource(joined, labels_of(joined.index, job.classes), train, replaced, job.device)
    encoders = [f"{m} {sha256(_parent(job, m).model_file)}" for m in joined.tokens]
    checkpoint = Checkpoint(job.run.resume_file, job.run.metrics_file, signature(job, *encoders), begins=job.begins)
    model, fitted = _fit(job, spec, source, train, checkpoint)
    tables = _Tables(job, joined.index, tuple(joined.tokens))

    whole: nn.Module = model
    last: Source = source
    best, epochs, pieces = fitted.best_epoch, job.settings.epochs, fitted.pieces
    if job.config.fusion.joint_epochs:
        whole, last = (
            JointModel({m: load_encoder(_parent(job, m)) for m in windows}, model),
            _joint(job, source, windows),
        )
        joint, pieces = fine_tune(job, whole, last, train, validation, fitted, signature(job, "joint", *encoders))
        job.describe(encoders={m: _parent(job, m).config()["model"] for m in windows}, joint=joint.to_dict())
        build.save_weights(whole.encoders, job.run.encoders_file)
        best = len(fitted.history) + joint.epoch if joint.epoch else best
        epochs = len(fitted.history) + joint.epochs
    if job.config.fusion.calibrate:
        calibration = _calibrate(job, model, whole, last, validation, pieces)
        job.describe(calibration=calibration.to_dict())
    every = range(len(joined.index))
    decided = evaluate.decide(whole, last, every, pieces.evaluation, job.settings.precision, job.run.name)
    predictions = tables.of(decided, attention=True)
    heads = evaluate.attention_table(joined.index, decided, job.fold, job.number, tuple(joined.tokens))
    if heads is not None:
        evaluate.write(job.run.attention_file, heads)
    evaluate.write(job.run.baselines_file, _baselines(job, tables, source, train, validation, predictions))
    finish(job, model, predictions, best)
    job.run.update(epochs=epochs)


@dataclass(frozen=True)
class _Tables:
    """Makes tables of predictions about the windows of one run."""

    job: Job
    index: pd.DataFrame
    modalities: tuple[str, ...]

    def of(self, decided: evaluate.Decided, attention: bool = False) -> pd.DataFrame:
        job = self.job
        shares = self.modalities if attention else ()
        return evaluate.table(self.index, decided, job.classes, job.fold, job.number, shares)


def _fit(
    job: Job, spec: dict[str, Any], source: FeatureSource, train: Sequence[int], checkpoint: Checkpoint | None
) -> tuple[Fusion, Fitted]:
    """A fusion of ``spec`` trained on the features; without ``checkpoint`` nothing is written or reported."""
    torch.manual_seed(job.seed("init"))
    model = cast(Fusion, build.build(spec))
    if spec["name"] != "paper":
        for name, x in source.joined.tokens.items():
            valid = x[torch.as_tensor(train)][source.joined.masks[name][torch.as_tensor(train)]].double()
            shift, scale = valid.mean(dim=0), valid.std(dim=0, correction=0)
            model.set_scaling(name, shift.float(), torch.where(scale > 0, scale, 1.0).float())
    model.to(job.device)
    fitted = fit(
        model,
        source,
        train,
        rows_of(source.joined.index, "validation"),
        job.settings,
        name=job.run.name,
        seed=job.seed,
        rules=recipe(job.config.preset),
        checkpoint=checkpoint,
        report=job.epoch_done if checkpoint else None,
        execution=job.execution,
        should_stop=job.should_stop,
    )
    if checkpoint and fitted.compiled is not None:
        job.describe(computed={**computed(job), "compile": fitted.compiled})
    return model, fitted


def _joint(job: Job, source: FeatureSource, windows: dict[str, Windows]) -> JointSource:
    return JointSource(source, windows, [m for m in windows if job.config.training(m).augment])


def _calibrate(
    job: Job, fusion: Fusion, model: nn.Module, source: Source, validation: Sequence[int], pieces: Pieces
) -> Calibration:
    """Give ``fusion``, which decides inside ``model``, the temperature that suits the validation windows."""
    if not len(validation):
        log.warning(
            "%s: fusion.calibrate needs validation windows, of which there are none; not calibrated",
            job.run.name,
        )
    fitted = fit_on(model, source, validation, pieces, job.run.name, job.settings.precision)
    fusion.set_temperature(fitted.temperature)
    return fitted


@torch.no_grad()
def fit_on(
    model: nn.Module, source: Source, rows: Sequence[int], pieces: Pieces, name: str, precision: str = "auto"
) -> Calibration:
    """The temperature of a model's logits on the windows ``rows``; of its frames' where it decides those.

    ``precision``: of the stage, so that the temperature suits the numbers that are tested.
    """
    model.eval()
    device = device_of(model)

    def compute(part: Tensor) -> Decision:
        with autocast(chosen(precision, device), device):
            return source.decide(model, part, None)

    held = torch.as_tensor(rows, dtype=torch.int64)
    parts = in_pieces(held, pieces, compute, name)
    labels = source.labels[held]
    if not parts or parts[0].frame_logits is None:
        return fit_temperature(torch.cat([p.logits for p in parts]) if parts else torch.zeros(0, 1), labels)
    frames = torch.cat([cast(Tensor, p.frame_logits) for p in parts])
    mask = torch.cat([cast(Tensor, p.frame_mask) for p in parts]).cpu()
    # A window without frames is decided once, on what else it has, in the place of its first frame.
    mask[:, 0] |= ~mask.any(dim=1)
    return fit_temperature(frames, labels, lambda values, t: mean_log_softmax(values / t, mask))


def _baselines(
    job: Job,
    tables: _Tables,
    source: FeatureSource,
    train: Sequence[int],
    validation: Sequence[int],
    predictions: pd.DataFrame,
) -> pd.DataFrame:
    """Rows like the predictions' window rows, one set per baseline, with the column ``stage``."""
    joined = source.joined
    given = joined.logits, joined.masks
    ranking = baselines.rank(*given, source.labels, train, validation)
    heat = baselines.temperatures(*given, source.labels, validation)
    made = {
        "fusion:best": tables.of(baselines.best_single(*given, ranking.order)),
        "fusion:mean": tables.of(baselines.mean_of_modalities(*given)),
        "fusion:calibrated": tables.of(baselines.calibrated_mean(*given, heat)),
        "majority": tables.of(baselines.majority(joined.index, job.classes)),
    }
    for kind, name in baselines.TRAINED.items():
        if kind == job.config.fusion.kind:  # the run itself is this baseline
            made[name] = predictions[predictions["frame"] == -1]
        else:
            made[name] = tables.of(_trained(job, kind, source, train))
    job.describe(
        baselines={
            "fusion:best": ranking.to_dict(),
            "fusion:calibrated": {
                "by": "validation windows" if len(validation) else "nothing: no validation windows, equal to the mean",
                "temperatures": {m: c.temperature for m, c in heat.items()},
            },
        }
    )
    return pd.concat([made[b].assign(stage=b) for b in baselines.BASELINES], ignore_index=True)


def _trained(job: Job, kind: str, source: FeatureSource, train: Sequence[int]) -> evaluate.Decided:
    """The window decisions of another kind of fusion, trained on the same features for as many epochs."""
    fusion = replace(job.config.fusion, kind=kind, calibrate=False)
    if kind == "paper":  # as published: its own dropout and heads, and the features as they are
        fusion = replace(fusion, dropout=0.5, heads=4)
        source = FeatureSource(source.joined, source.labels, train, {}, job.device)
    config: StudyConfig = replace(job.config, fusion=fusion)
    model, fitted = _fit(job, build.fusion_spec(config, len(job.classes), source.joined.dims), source, train, None)
    every = range(len(source.joined.index))
    decided = evaluate.decide(model, source, every, fitted.pieces.evaluation, job.settings.precision, job.run.name)
    return evaluate.Decided(decided.windows)


def _parent(job: Job, modality: str) -> Any:
    return job.run.sibling(job.info["parents"][modality])


def _windows(job: Job) -> tuple[dict[str, Windows], list[dict[str, str]]]:
    """The windows of each parent's modality, and the trials that no modality recorded."""
    parts = {}
    gone: dict[tuple[str, str], int] = {}
    for modality in job.info["parents"]:
        parent = _parent(job, modality)
        parent.verify("model.safetensors")
        windows = read_windows(job, modality, parent.config()["input"].get("channels", ()))
        if windows is None:
            continue
        for trial in windows.missing:
            gone[trial["subject"], trial["trial"]] = gone.get((trial["subject"], trial["trial"]), 0) + 1
        parts[modality] = windows
    wholly = [k for k, count in gone.items() if count == len(parts)]
    reason = "no recording or training window of any modality"
    return parts, [{"subject": s, "trial": t, "reason": reason} for s, t in wholly]


def _reliabilities(job: Job) -> dict[str, Reliability]:
    rates = {}
    for modality in job.info["parents"]:
        predictions = pd.read_parquet(_parent(job, modality).verify("predictions.parquet"))
        rates[modality] = reliability(predictions, job.classes)
    return rates
