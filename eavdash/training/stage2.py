"""Stage 2: training of the fusion on the cached features of frozen encoders, and of its baselines.

The encoders stay in evaluation mode and never change. Their features are standardised with the training windows'
statistics (stored in the fusion's buffers, so that a checkpoint is complete) and, in training batches, made as
unreliable as they are on new windows (:mod:`eavdash.training.reliability`). The published layer (kind ``paper``) is
trained as published, on unchanged features.

On request, copies of the encoders are then fine-tuned together with the fusion (:mod:`eavdash.training.joint`), and
finally a temperature is fitted on the validation windows (:mod:`eavdash.training.calibration`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, cast

import pandas as pd
import torch
from torch import Tensor, nn

from eavdash.config.schema import StudyConfig
from eavdash.models import build
from eavdash.models.fusion import Fusion
from eavdash.models.layers import mean_log_softmax
from eavdash.models.people import read_people
from eavdash.models.transformer_fusion import TransformerFusion
from eavdash.results.tables import BESIDE
from eavdash.store.atomic import sha256
from eavdash.training import baselines, evaluate, phases
from eavdash.training.calibration import Calibration, fit_temperature
from eavdash.training.checkpoint import Checkpoint
from eavdash.training.coalitions import write_coalitions
from eavdash.training.features import features, load_encoder
from eavdash.training.fusion_features import FeatureSource, join_features
from eavdash.training.joint import JointModel, JointSource, fine_tune, joint_features
from eavdash.training.loading import Source
from eavdash.training.loop import RECIPES, Fitted, fit
from eavdash.training.memory import MicroBatchSize
from eavdash.training.parents import parent, windows_of_parents
from eavdash.training.reliability import Reliability, reliability
from eavdash.training.run_context import (
    RunContext,
    check_training,
    labels_of,
    rows_of,
    signature,
    window_counts,
)
from eavdash.training.stage1 import finish, numerics, table_of
from eavdash.training.start import gain, opinion_temperatures
from eavdash.training.step import outputs

log = logging.getLogger(__name__)


def train_fusion(context: RunContext) -> None:
    """Train the fusion of the run's parents and write its files.

    Raises:
        EavdashError: an encoder is missing or damaged, or the files of the run are unusable.
        StoppedError: the run was asked to stop.
    """
    windows, missing = windows_of_parents(context)
    joined = join_features(
        {m: features(parent(context, m), w, context.device, context.execution) for m, w in windows.items()}
    )
    check_training(context, joined.index)
    train, validation = rows_of(joined.index, "train"), rows_of(joined.index, "validation")
    rates = _reliabilities(context)
    matched = context.config.fusion.match_reliability and context.config.fusion.kind != "paper"
    replaced = {m: rate.replaced if matched else 0.0 for m, rate in rates.items()}
    spec = build.fusion_spec(context.config, len(context.classes), joined.dims)
    context.describe(
        model=spec,
        input={
            "modalities": list(joined.tokens),
            "dims": joined.dims,
            "windows": window_counts(joined.index),
            "reliability": {m: {**asdict(rate), "replaced": replaced[m]} for m, rate in rates.items()},
        },
        left_out=missing,
        computed=numerics(context),
    )
    source = FeatureSource(joined, labels_of(joined.index, context.classes), train, replaced, context.device)
    encoders = [f"{m} {sha256(parent(context, m).model_file)}" for m in joined.tokens]
    checkpoint = Checkpoint(
        context.run.resume_file, context.run.metrics_file, signature(context, *encoders), on_start=context.mark_start
    )
    model, fitted = _fit(context, spec, source, train, checkpoint)
    whole: nn.Module = model
    last: Source = source
    best, epochs, micro_batch = fitted.best_epoch, context.settings.epochs, fitted.micro_batch
    if context.config.fusion.joint_epochs:
        whole = JointModel({m: load_encoder(parent(context, m)) for m in windows}, model)
        augment = [m for m in windows if context.config.training(m).augment]
        last = JointSource(source, windows, augment, {m: read_people(parent(context, m)) for m in windows})
        joint, micro_batch = fine_tune(
            context, whole, last, train, validation, fitted, signature(context, "joint", *encoders)
        )
        context.describe(encoders={m: parent(context, m).config().model for m in windows}, joint=joint.to_dict())
        build.save_weights(whole.encoders, context.run.encoders_file)
        best = len(fitted.history) + joint.epoch if joint.epoch else best
        epochs = len(fitted.history) + joint.epochs
    if context.config.fusion.calibrate:
        calibration = _calibrate(context, model, whole, last, validation, micro_batch)
        context.describe(calibration=asdict(calibration))
    phases.enter(phases.TESTING)
    every = range(len(joined.index))
    predicted = evaluate.predict(
        whole, last, every, micro_batch.evaluation, context.settings.precision, context.run.name
    )
    predictions = table_of(context, joined.index, predicted, tuple(joined.tokens))
    heads = evaluate.attention_table(joined.index, predicted, context.fold, context.study_seed, tuple(joined.tokens))
    if heads is not None:
        evaluate.write(context.run.attention_file, heads)
    evaluate.write(context.run.baselines_file, _baselines(context, source, train, validation, predictions))
    size, precision = micro_batch.evaluation, context.settings.precision
    if isinstance(whole, JointModel) and isinstance(last, JointSource):
        joined = joint_features(whole, last, size, precision, context.run.name)
    write_coalitions(context, model, joined, predictions, batch=size)
    finish(context, model, predictions, best)
    context.run.update(epochs=epochs)


def _fit(
    context: RunContext,
    spec: dict[str, Any],
    source: FeatureSource,
    train: Sequence[int],
    checkpoint: Checkpoint | None,
) -> tuple[Fusion, Fitted]:
    """Train a fusion of ``spec`` on the features; without ``checkpoint`` nothing is written or reported."""
    torch.manual_seed(context.seed("init"))
    model: Fusion = build.build(spec)
    if spec["name"] != "paper":
        for name, x in source.joined.tokens.items():
            valid = x[torch.as_tensor(train)][source.joined.masks[name][torch.as_tensor(train)]].double()
            shift, scale = valid.mean(dim=0), valid.std(dim=0, correction=0)
            model.set_scaling(name, shift.float(), torch.where(scale > 0, scale, 1.0).float())
    if isinstance(model, TransformerFusion):
        known = rows_of(source.joined.index, "validation")
        model.set_temperatures(opinion_temperatures(source.joined, source.labels, known, mute=model.flat_absence))
    model.to(context.device)
    validation = rows_of(source.joined.index, "validation")
    began = {name: value.clone() for name, value in model.state_dict().items()}
    fitted = fit(
        model,
        source,
        train,
        validation,
        context.settings,
        name=context.run.name,
        seed=context.seed,
        rules=RECIPES[context.config.train.recipe],
        checkpoint=checkpoint,
        report=context.epoch_done if checkpoint else None,
        execution=context.execution,
        should_stop=context.should_stop,
    )
    if checkpoint and fitted.compiled is not None:
        context.describe(computed={**numerics(context), "compile": fitted.compiled})
    if isinstance(model, TransformerFusion):
        fitted = _kept_if_better(context, model, began, source, validation, fitted)
    return model, fitted


def _kept_if_better(
    context: RunContext,
    model: Fusion,
    began: dict[str, Tensor],
    source: FeatureSource,
    validation: Sequence[int],
    fitted: Fitted,
) -> Fitted:
    """Give the model the weights that it began with unless training was clearly better on the validation windows."""

    def logits() -> Tensor:
        parts = outputs(model, source, validation, fitted.micro_batch, context.settings.precision, context.run.name)
        return torch.cat([p.logits for p in parts]) if parts else torch.zeros(0, 1)

    trained = {name: value.clone() for name, value in model.state_dict().items()}
    after = logits()
    model.load_state_dict(began)
    index = source.joined.index.iloc[list(validation)]
    labels = source.labels[torch.as_tensor(validation, dtype=torch.int64)]
    found = gain(logits(), after, labels, (index["subject"] + "/" + index["trial"]).tolist())
    if not found.clear:
        log.info(
            "%s: training gained %.3f ± %.3f in log-loss on validation trials; the fusion stays as it began",
            context.run.name,
            found.mean,
            found.error,
        )
        return replace(fitted, best_epoch=0)
    model.load_state_dict(trained)
    return fitted


def _calibrate(
    context: RunContext,
    fusion: Fusion,
    model: nn.Module,
    source: Source,
    validation: Sequence[int],
    micro_batch: MicroBatchSize,
) -> Calibration:
    """Fit the temperature of ``fusion``, a part of ``model``, on the validation windows."""
    if not len(validation):
        log.warning(
            "%s: fusion.calibrate needs validation windows, but there are none; not calibrated",
            context.run.name,
        )
    fitted = fit_temperature_on(model, source, validation, micro_batch, context.run.name, context.settings.precision)
    fusion.set_temperature(fitted.temperature)
    return fitted


def fit_temperature_on(
    model: nn.Module, source: Source, rows: Sequence[int], micro_batch: MicroBatchSize, name: str, precision: str
) -> Calibration:
    """Fit the temperature of a model's logits, or of its frame logits if it has any, on the windows ``rows``.

    ``precision``: that of the stage, so that the temperature is fitted on the logits that are tested.
    """
    parts = outputs(model, source, rows, micro_batch, precision, name)
    labels = source.labels[torch.as_tensor(rows, dtype=torch.int64)]
    if not parts or parts[0].frame_logits is None:
        return fit_temperature(torch.cat([p.logits for p in parts]) if parts else torch.zeros(0, 1), labels)
    frames = torch.cat([cast(Tensor, p.frame_logits) for p in parts])
    mask = torch.cat([cast(Tensor, p.frame_mask) for p in parts]).cpu()
    # A window without frames is classified once, from its other modalities, at the position of its first frame.
    mask[:, 0] |= ~mask.any(dim=1)
    return fit_temperature(frames, labels, lambda values, t: mean_log_softmax(values / t, mask))


def _baselines(
    context: RunContext,
    source: FeatureSource,
    train: Sequence[int],
    validation: Sequence[int],
    predictions: pd.DataFrame,
) -> pd.DataFrame:
    """Return rows like the predictions' window rows for each baseline, with the column ``stage``."""
    phases.enter(phases.BASELINES)
    joined = source.joined
    table = partial(table_of, context, joined.index)
    given = joined.logits, joined.masks
    ranking = baselines.rank(*given, source.labels, train, validation)
    temperatures = baselines.temperatures(*given, source.labels, validation)
    made = {
        "fusion:best": table(baselines.best_single(*given, ranking.order)),
        "fusion:mean": table(baselines.mean_of_modalities(*given)),
        "fusion:calibrated": table(baselines.calibrated_mean(*given, temperatures)),
        "majority": table(baselines.majority(joined.index, context.classes)),
    }
    for kind, name in baselines.TRAINED.items():
        if kind == context.config.fusion.kind:  # the run itself is this baseline, without its attention shares
            made[name] = predictions.loc[predictions["frame"] == -1, made["majority"].columns]
        else:
            made[name] = table(_trained(context, kind, source, train))
    context.describe(
        baselines={
            "fusion:best": ranking.to_dict(),
            "fusion:calibrated": {
                "by": "validation windows" if len(validation) else "nothing: no validation windows, equal to the mean",
                "temperatures": {m: c.temperature for m, c in temperatures.items()},
            },
        }
    )
    return pd.concat([made[b].assign(stage=b) for b in BESIDE["fusion"] if b in made], ignore_index=True)


def _trained(context: RunContext, kind: str, source: FeatureSource, train: Sequence[int]) -> evaluate.Predictions:
    """Train another kind of fusion on the same features for as many epochs; return its window predictions."""
    fusion = replace(context.config.fusion, kind=kind, calibrate=False)
    if kind == "paper":  # as published: its own dropout and heads, and uncorrupted features
        fusion = replace(fusion, dropout=0.5, heads=4)
        source = FeatureSource(source.joined, source.labels, train, {}, context.device)
    config: StudyConfig = replace(context.config, fusion=fusion)
    model, fitted = _fit(
        context, build.fusion_spec(config, len(context.classes), source.joined.dims), source, train, None
    )
    every = range(len(source.joined.index))
    predicted = evaluate.predict(
        model, source, every, fitted.micro_batch.evaluation, context.settings.precision, context.run.name
    )
    return evaluate.Predictions(predicted.windows)


def _reliabilities(context: RunContext) -> dict[str, Reliability]:
    rates = {}
    for modality in context.info.parents:
        predictions = pd.read_parquet(parent(context, modality).verify("predictions.parquet"))
        rates[modality] = reliability(predictions, context.classes)
    return rates
