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
from eavdash.models import build, packaged, weights
from eavdash.models.base import Encoder, to_encoder_input
from eavdash.models.people import People
from eavdash.store import RunDir
from eavdash.training import evaluate, frozen, headphase, inputs, phases
from eavdash.training.checkpoint import Checkpoint
from eavdash.training.loading import ModelOutput, Source
from eavdash.training.loop import RECIPES, Fitted, fit
from eavdash.training.person_scaling import statistics_of_people
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
from eavdash.training.scaling import fit_features, fit_scaling, keeps_scaling

log = logging.getLogger(__name__)


class WindowSource(Source):
    """Source of the windows of one modality, with the statistics of their ``people``."""

    def __init__(
        self, windows: Windows, labels: Tensor, device: torch.device, augment: bool, people: People | None = None
    ) -> None:
        self.windows, self.labels, self.device, self.augment = windows, labels, device, augment
        self.people = people or People()
        self.places = self.people.places(windows.index["subject"])
        self.at = torch.as_tensor(windows.index["row"].to_numpy(copy=True))

    def load(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> tuple[Tensor, ...]:
        """Return windows ``rows``, their masks and the statistics of their people, on the CPU.

        Frames that are not augmented are still bytes.
        """
        x, mask = inputs.raw(self.windows.values, self.at[rows])
        if augment is not None and self.augment:
            values = self.windows.values
            x, mask = inputs.augment(values.kind, to_encoder_input(values.modality, x), mask, model, augment)
        return x, mask, *self.people.tensors(self.places[rows])

    def forward(self, model: nn.Module, loaded: tuple[Tensor, ...]) -> ModelOutput:
        x, mask, person = self._on_device(loaded)
        return headphase.model_output(model(x, mask, **person))

    def items(self, loaded: tuple[Tensor, ...]) -> Tensor:
        """Return the loss items (B,): recorded frames per window for vision, otherwise one."""
        mask = loaded[1]
        return headphase.items(mask) if self.windows.values.kind == "vision" else torch.ones_like(mask[:, 0]).long()

    def frozen_features(self, model: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor] | None:
        x, mask, person = self._on_device(self.load(model, rows, None))
        features = cast(Encoder, model).forward_features(x, mask, **person)
        return None if features is None else (features, mask)

    def _on_device(self, loaded: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, dict[str, Any]]:
        x, mask, *statistics = (tensor.to(self.device, non_blocking=True) for tensor in loaded)
        return to_encoder_input(self.windows.values.modality, x), mask, self.people.keyword(statistics)


def train_encoder(context: RunContext) -> Windows:
    """Train the encoder of the run's stage, write its files, and return the windows.

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
    spec = build.encoder_spec(context.stage, context.config, len(context.classes), shape_of(windows.values))
    context.describe(model=spec, input=described_input(windows), left_out=windows.missing)

    model = untrained(context, spec, windows)
    people = statistics_of_people(model, windows.values, windows.people, context.trials, context.device)
    people.save(context.run)
    by_test = context.config.protocol.test_epoch
    context.describe(
        computed=numerics(context),
        epoch_chosen_by="test" if by_test else "validation" if validation else "last",
    )
    source = WindowSource(windows, labels_of(index, context.classes), context.device, context.settings.augment, people)
    linear = context.settings.fit == "linear"
    # Epochs that train only the head save only the head, so their state is valid only for the same initial weights.
    initial = headphase.fingerprint(model) if parent or linear or is_pretrained(context) else ""
    shared: dict[str, Any] = {
        "name": context.run.name,
        "execution": context.execution,
        "checkpoint": Checkpoint(
            context.run.resume_file,
            context.run.metrics_file,
            signature(context, str(windows.values.meta["key"]), initial),
            on_start=context.mark_start,
        ),
        "report": context.epoch_done,
        "should_stop": context.should_stop,
    }
    if linear:
        fitted, chosen = frozen.fit_head(
            model, source, train, validation, context.settings, groups=frozen.groups_of(index), **shared
        )
        context.describe(linear=chosen)
    else:
        fitted = fit(
            model,
            source,
            train,
            validation,
            context.settings,
            seed=context.seed,
            rules=RECIPES[context.config.train.recipe],
            head_epochs=head_epochs(context),
            test=rows_of(index, "test") if by_test else (),
            **shared,
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
    return windows


def _predictions(
    context: RunContext, model: nn.Module, source: WindowSource, index: pd.DataFrame, fitted: Fitted
) -> pd.DataFrame:
    phases.enter(phases.TESTING)
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
    path, left_out = weights.load_configured(model, context.config, context.stage)
    if path:
        log.info("%s: loaded the weights of %s, left out %s", context.run.name, path, ", ".join(left_out) or "nothing")
    return model


def untrained(context: RunContext, spec: dict[str, Any], windows: Windows) -> Encoder:
    """Return the encoder with which training starts, its input scaling fitted on the training windows."""
    model = new_encoder(context, spec)
    rows = [int(r) for r in windows.index["row"].to_numpy()[rows_of(windows.index, "train")]]
    scaling = fit_scaling(windows.values, rows, not keeps_scaling(context.config, context.stage))
    if scaling is not None:
        model.set_scaling(*scaling)
    model.to(context.device)
    if parent_run(context) is None:
        fit_features(model, windows.values, rows)
    return model


def is_pretrained(context: RunContext) -> bool:
    """Return True if the encoder starts from pretrained weights, which it has itself or the configuration names."""
    return packaged.is_pretrained(context.config, context.stage)


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


def described_input(windows: Windows) -> dict[str, Any]:
    """Return the windows' shape, key, number per split, rate and people's statistics, for config.json."""
    meta = windows.values.meta
    kept: dict[str, Any] = {key: meta[key] for key in ("rate", "subject_scaling") if key in meta}
    return {**shape_of(windows.values), "key": meta["key"], "windows": window_counts(windows.index), **kept}


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
