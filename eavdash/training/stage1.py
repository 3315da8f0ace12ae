"""Stage 1: training of a single encoder with cross-entropy, from windows to weights and predictions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, cast

import pandas as pd
import torch
from torch import Tensor, nn

from eavdash.config.choices import TABLE
from eavdash.config.schema import TrainConfig
from eavdash.data.windows import WindowSet
from eavdash.errors import DataError
from eavdash.models import build, weights
from eavdash.models.base import Encoder, to_encoder_input
from eavdash.store import RunDir
from eavdash.training import evaluate, headphase, inputs
from eavdash.training.checkpoint import Checkpoint
from eavdash.training.loading import ModelOutput, Source
from eavdash.training.loop import RECIPES, Fitted, fit
from eavdash.training.precision import resolve_precision
from eavdash.training.run_context import (
    RunContext,
    Windows,
    check_training,
    labels_of,
    read_windows,
    rows_of,
    signature,
    window_counts,
)
from eavdash.training.scaling import fit_scaling

log = logging.getLogger(__name__)


class WindowSource(Source):
    """Source of the windows of one modality."""

    def __init__(self, windows: Windows, labels: Tensor, device: torch.device, augment: bool) -> None:
        self.windows, self.labels, self.device, self.augment = windows, labels, device, augment
        self.at = torch.as_tensor(windows.index["row"].to_numpy(copy=True))

    def load(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> tuple[Tensor, ...]:
        """Return windows ``rows`` and their masks on the CPU; frames that are not augmented are still bytes."""
        x, mask = inputs.raw(self.windows.values, self.at[rows])
        if augment is not None and self.augment:
            values = self.windows.values
            x, mask = inputs.augment(values.kind, to_encoder_input(values.modality, x), mask, model, augment)
        return x, mask

    def forward(self, model: nn.Module, loaded: tuple[Tensor, ...]) -> ModelOutput:
        return headphase.model_output(model(*self._on_device(loaded)))

    def items(self, loaded: tuple[Tensor, ...]) -> Tensor:
        """Return the loss items (B,): recorded frames per window for vision, otherwise one."""
        mask = loaded[1]
        return headphase.items(mask) if self.windows.values.kind == "vision" else torch.ones_like(mask[:, 0]).long()

    def frozen_features(self, model: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor] | None:
        x, mask = self._on_device(self.load(model, rows, None))
        features = cast(Encoder, model).forward_features(x, mask)
        return None if features is None else (features, mask)

    def _on_device(self, loaded: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        x, mask = (tensor.to(self.device, non_blocking=True) for tensor in loaded)
        return to_encoder_input(self.windows.values.modality, x), mask


def train_encoder(context: RunContext) -> None:
    """Train the encoder of the run's stage and write its files.

    Raises:
        EavdashError: the recordings or the files of the run are unusable.
        StoppedError: the run was asked to stop.
    """
    parent = parent_run(context)
    windows = read_windows(context, context.stage, parent.config().input.channels if parent else ())
    if windows is None:
        raise DataError.at(
            context.run.name,
            expected=f"trials with {context.stage} recordings",
            found="none",
            remedy="leave this stage out or add the files to the trial table",
        )
    index = windows.index
    check_training(context, index)
    train, validation = rows_of(index, "train"), rows_of(index, "validation")
    shape = shape_of(windows.values)
    spec = build.encoder_spec(context.stage, context.config, len(context.classes), shape)
    described: dict[str, Any] = {**shape, "key": windows.values.meta["key"], "windows": window_counts(index)}
    if "rate" in windows.values.meta:
        described["rate"] = windows.values.meta["rate"]
    if "subject_scaling" in windows.values.meta:
        described["subject_scaling"] = windows.values.meta["subject_scaling"]
    context.describe(model=spec, input=described, left_out=windows.missing)

    model = new_encoder(context, spec)
    rows = [int(r) for r in index["row"].to_numpy()[train]]
    fitted_scaling = (
        context.config.audio.scaling == "training" if windows.values.kind == "audio" else not is_pretrained(context)
    )
    scaling = fit_scaling(windows.values, rows, fitted_scaling)
    if scaling is not None:
        model.set_scaling(*scaling)
    model.to(context.device)
    by_test = context.config.protocol.test_epoch
    context.describe(
        computed=numerics(context),
        epoch_chosen_by="test" if by_test else "validation" if validation else "last",
    )
    source = WindowSource(windows, labels_of(index, context.classes), context.device, context.settings.augment)
    # Head-only epochs save only the head, so their state is valid only for the same initial weights.
    initial = headphase.fingerprint(model) if parent or is_pretrained(context) else ""
    fitted = fit(
        model,
        source,
        train,
        validation,
        context.settings,
        name=context.run.name,
        seed=context.seed,
        rules=RECIPES[context.config.train.recipe],
        head_epochs=head_epochs(context),
        test=rows_of(index, "test") if by_test else (),
        execution=context.execution,
        checkpoint=Checkpoint(
            context.run.resume_file,
            context.run.metrics_file,
            signature(context, str(windows.values.meta["key"]), initial),
            on_start=context.mark_start,
        ),
        report=context.epoch_done,
        should_stop=context.should_stop,
    )
    if fitted.compiled is not None:
        context.describe(computed={**numerics(context), "compile": fitted.compiled})
    predictions = _predictions(context, model, source, index, fitted)
    honest: dict[str, float | None] = {}
    if fitted.last is not None:
        best = {key: value.clone() for key, value in model.state_dict().items()}
        model.load_state_dict(fitted.last)
        last = _predictions(context, model, source, index, fitted)
        honest["honest_accuracy"] = evaluate.trial_accuracy(last, context.classes)[0]
        model.load_state_dict(best)
    finish(context, model, predictions, fitted.best_epoch, **honest)


def _predictions(
    context: RunContext, model: nn.Module, source: WindowSource, index: pd.DataFrame, fitted: Fitted
) -> pd.DataFrame:
    predicted = evaluate.predict(
        model, source, range(len(index)), fitted.micro_batch.evaluation, fitted.precision, context.run.name
    )
    return table_of(context, index, predicted)


def table_of(
    context: RunContext, index: pd.DataFrame, predicted: evaluate.Predictions, modalities: Sequence[str] = ()
) -> pd.DataFrame:
    """Return the run's table of predictions for the windows of ``index``, with the attention of ``modalities``."""
    return evaluate.table(index, predicted, context.classes, context.fold, context.study_seed, modalities)


def parent_run(context: RunContext) -> RunDir | None:
    """Return the run of all subjects (``protocol.pooled``) whose weights initialise this one, if any."""
    name = context.info.parents.get(context.stage)
    return context.run.sibling(name) if name else None


def new_encoder(context: RunContext, spec: dict[str, Any]) -> Encoder:
    """Build the encoder with the weights of the run of all subjects, the configured weights, or random ones."""
    torch.manual_seed(context.seed("init"))
    model: Encoder = build.build(spec)
    if parent := parent_run(context):
        build.load_weights(model, parent.verify("model.safetensors"))
        log.info("%s: starts from the weights of %s", context.run.name, parent.name)
        return model
    path = context.config.modality(context.stage).weights
    if path:
        left_out = weights.load_pretrained(model, path)
        log.info("%s: loaded the weights of %s, left out %s", context.run.name, path, ", ".join(left_out) or "nothing")
    return model


def is_pretrained(context: RunContext) -> bool:
    """Return True if the configuration names pretrained weights for the encoder."""
    return bool(context.config.modality(context.stage).weights)


def head_epochs(context: RunContext) -> int:
    """Return the number of head-only epochs: 0 unless the encoder has pretrained weights."""
    settings: TrainConfig = context.settings
    if settings.head_epochs and not is_pretrained(context):
        if parent_run(context):  # the head comes from the run of all subjects and is already trained
            return 0
        log.warning(
            "%s: configured for fine-tuning (learning rate %g after %d head-only epochs), but %s.weights names no "
            "pretrained weights; training the whole encoder from scratch at %g.",
            context.run.name,
            settings.learning_rate,
            settings.head_epochs,
            context.stage,
            settings.learning_rate,
        )
        return 0
    return min(settings.head_epochs, settings.epochs)


def shape_of(windows: WindowSet) -> dict[str, Any]:
    """Return the shape of the windows, for :func:`eavdash.models.build.encoder_spec`."""
    shape = windows.values.shape
    if windows.kind == TABLE:
        return {"frames": shape[1], "columns": list(windows.meta["columns"])}
    if windows.kind == "vision":
        return {"frames": shape[1], "size": shape[2]}
    if windows.kind == "audio":
        return {"frames": shape[1], "mels": shape[2]}
    return {"channels": list(windows.meta["channels"]), "samples": shape[2]}


def numerics(context: RunContext) -> dict[str, Any]:
    """Return device type and precision of the computation, for config.json."""
    precision = resolve_precision(context.settings.precision, context.device)
    return {"device": context.device.type, "precision": precision}


def finish(context: RunContext, model: nn.Module, predictions: Any, best_epoch: int, **more: float | None) -> None:
    """Write weights and predictions, and the test accuracy and ``more`` to status.json.

    If the epoch was chosen on test trials, ``accuracy`` is that of the chosen epoch and ``honest_accuracy`` that of
    the last one, both per trial.

    resume.pt stays until the worker has marked the run as done, so a run killed in between need not start over.
    """
    build.save_weights(model, context.run.model_file)
    evaluate.write(context.run.predictions_file, predictions)
    accuracy, trials = evaluate.trial_accuracy(predictions, context.classes)
    context.run.update(accuracy=accuracy, n=trials, best_epoch=best_epoch, epochs=context.settings.epochs, **more)
