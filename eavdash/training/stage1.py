"""Stage 1: one encoder alone, with cross-entropy, from windows to model.safetensors and predictions.parquet."""

from __future__ import annotations

import logging
from typing import Any, cast

import pandas as pd
import torch
from torch import Tensor, nn

from eavdash.config.schema import TrainConfig
from eavdash.data.windows import WindowSet
from eavdash.errors import DataError
from eavdash.models import build, weights
from eavdash.models.base import Encoder
from eavdash.store import RunDir
from eavdash.training import evaluate, headphase, inputs
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
from eavdash.training.loop import Checkpoint, Decision, Fitted, fit, recipe
from eavdash.training.precision import chosen
from eavdash.training.scaling import fit_scaling

log = logging.getLogger(__name__)


class WindowSource:
    """Windows of one modality as the loop asks for them."""

    def __init__(self, windows: Windows, labels: Tensor, device: torch.device, augment: bool) -> None:
        self.windows, self.labels, self.device, self.augment = windows, labels, device, augment
        self.at = torch.as_tensor(windows.index["row"].to_numpy(copy=True))

    def decide(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> Decision:
        """The encoder's decision on windows ``rows`` of the index, augmented if a generator is given."""
        return self.ask(model, self.load(model, rows, augment))

    def load(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> tuple[Tensor, ...]:
        """Windows ``rows`` and their masks on the CPU; pictures that are not augmented are still bytes."""
        x, mask = inputs.raw(self.windows.values, self.at[rows])
        if augment is not None and self.augment:
            modality = self.windows.values.modality
            x, mask = inputs.augmented(modality, inputs.ready(modality, x), mask, model, augment)
        return x, mask

    def ask(self, model: nn.Module, loaded: tuple[Tensor, ...]) -> Decision:
        """The encoder's decision on what was loaded."""
        return headphase.decision(model(*self._there(loaded)))

    def items(self, loaded: tuple[Tensor, ...]) -> Tensor:
        """(B,) recorded frames of windows with frames, otherwise one."""
        mask = loaded[1]
        return headphase.items(mask) if self.windows.values.modality == "vision" else torch.ones_like(mask[:, 0]).long()

    def look(self, model: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor] | None:
        """What the frozen part of the encoder makes of windows ``rows``, and their mask; None where it has none."""
        x, mask = self._there(self.load(model, rows, None))
        features = cast(Encoder, model).look(x, mask)
        return None if features is None else (features, mask)

    def _there(self, loaded: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        x, mask = (tensor.to(self.device, non_blocking=True) for tensor in loaded)
        return inputs.ready(self.windows.values.modality, x), mask


def train_encoder(job: Job) -> None:
    """Train the encoder of the job's stage and write its files.

    Raises:
        EavdashError: the recordings or the files of the run do not allow it.
        StoppedError: the job was asked to stop.
    """
    parent = start(job)
    windows = read_windows(job, job.stage, parent.config()["input"].get("channels", ()) if parent else ())
    if windows is None:
        raise DataError.at(
            job.run.name,
            expected=f"trials with {job.stage} recordings",
            found="none",
            remedy="leave this stage out or add the files to the trial table",
        )
    index = windows.index
    check_training(job, index)
    train, validation = rows_of(index, "train"), rows_of(index, "validation")
    shape = shape_of(windows.values)
    spec = build.encoder_spec(job.stage, job.config, len(job.classes), shape)
    described: dict[str, Any] = {**shape, "key": windows.values.meta["key"], "windows": window_counts(index)}
    if "rate" in windows.values.meta:
        described["rate"] = windows.values.meta["rate"]
    if "subject_scaling" in windows.values.meta:
        described["subject_scaling"] = windows.values.meta["subject_scaling"]
    job.describe(model=spec, input=described, left_out=windows.missing)

    model = new_encoder(job, spec)
    rows = [int(r) for r in index["row"].to_numpy()[train]]
    fitted_scaling = job.config.audio.scaling == "training" if job.stage == "audio" else not pretrained(job)
    scaling = fit_scaling(windows.values, rows, fitted_scaling)
    if scaling is not None:
        model.set_scaling(*scaling)
    model.to(job.device)
    by_test = job.config.protocol.test_epoch
    job.describe(
        computed=computed(job),
        epoch_chosen_by="test" if by_test else "validation" if validation else "last",
    )
    source = WindowSource(windows, labels_of(index, job.classes), job.device, job.settings.augment)
    # States of head-only epochs hold the head: they are of use only together with the rest as it was at the start.
    begun = headphase.fingerprint(model) if parent or pretrained(job) else ""
    fitted = fit(
        model,
        source,
        train,
        validation,
        job.settings,
        name=job.run.name,
        seed=job.seed,
        rules=recipe(job.config.preset),
        head_epochs=head_epochs(job),
        test=rows_of(index, "test") if by_test else (),
        execution=job.execution,
        checkpoint=Checkpoint(
            job.run.resume_file,
            job.run.metrics_file,
            signature(job, str(windows.values.meta["key"]), begun),
            begins=job.begins,
        ),
        report=job.epoch_done,
        should_stop=job.should_stop,
    )
    if fitted.compiled is not None:
        job.describe(computed={**computed(job), "compile": fitted.compiled})
    predictions = _predictions(job, model, source, index, fitted)
    honest: dict[str, float | None] = {}
    if fitted.last is not None:
        best = {key: value.clone() for key, value in model.state_dict().items()}
        model.load_state_dict(fitted.last)
        last = _predictions(job, model, source, index, fitted)
        honest["honest_accuracy"] = evaluate.trial_accuracy(last, job.classes)[0]
        model.load_state_dict(best)
    finish(job, model, predictions, fitted.best_epoch, **honest)


def _predictions(job: Job, model: nn.Module, source: WindowSource, index: pd.DataFrame, fitted: Fitted) -> pd.DataFrame:
    decided = evaluate.decide(
        model, source, range(len(index)), fitted.pieces.evaluation, fitted.precision, job.run.name
    )
    return evaluate.table(index, decided, job.classes, job.fold, job.number)


def start(job: Job) -> RunDir | None:
    """The run of all subjects (``protocol.pooled``) whose weights this one starts from."""
    name = (job.info.get("parents") or {}).get(job.stage)
    return job.run.sibling(name) if name else None


def new_encoder(job: Job, spec: dict[str, Any]) -> Encoder:
    """The encoder before training: with the weights of the run of all subjects, or of those that the configuration
    names, or random by the run's seed."""
    torch.manual_seed(job.seed("init"))
    model = cast(Encoder, build.build(spec))
    if parent := start(job):
        build.load_weights(model, parent.verify("model.safetensors"))
        log.info("%s: starts from the weights of %s", job.run.name, parent.name)
        return model
    path = job.config.modality(job.stage).weights
    if path:
        left_out = weights.load_pretrained(model, path)
        log.info("%s: weights of %s loaded, left out: %s", job.run.name, path, ", ".join(left_out) or "nothing")
    return model


def pretrained(job: Job) -> bool:
    """Whether the encoder starts from weights that the configuration names."""
    return bool(job.config.modality(job.stage).weights)


def head_epochs(job: Job) -> int:
    """Epochs that train the head alone: only where the rest comes with weights of its own."""
    settings: TrainConfig = job.settings
    if settings.head_epochs and not pretrained(job):
        if start(job):  # from the run of all subjects, whose head is trained already
            return 0
        log.warning(
            "%s: set up to fine-tune (learning rate %g after %d epochs of the head alone), but %s.weights names no "
            "pretrained weights; the whole encoder is trained from scratch at %g.",
            job.run.name,
            settings.learning_rate,
            settings.head_epochs,
            job.stage,
            settings.learning_rate,
        )
        return 0
    return min(settings.head_epochs, settings.epochs)


def shape_of(windows: WindowSet) -> dict[str, Any]:
    """What an encoder must know about its input, for :func:`eavdash.models.build.encoder_spec`."""
    shape = windows.values.shape
    if windows.modality == "vision":
        return {"frames": shape[1], "size": shape[2]}
    if windows.modality == "audio":
        return {"frames": shape[1], "mels": shape[2]}
    return {"channels": list(windows.meta["channels"]), "samples": shape[2]}


def computed(job: Job) -> dict[str, Any]:
    """For config.json: what the numbers were computed with, besides the versions."""
    precision = chosen(job.settings.precision, job.device)
    return {"device": job.device.type, "precision": precision}


def finish(job: Job, model: nn.Module, predictions: Any, best_epoch: int, **more: float | None) -> None:
    """Write the weights and the predictions and show the test accuracy; ``more`` goes into status.json beside it.

    Where the epoch was chosen on test trials, ``accuracy`` is that of the chosen epoch and ``honest_accuracy`` that of
    the last one, both per trial.

    resume.pt stays until the worker has marked the run as done: killed in between, the run need not begin again.
    """
    build.save_weights(model, job.run.model_file)
    evaluate.write(job.run.predictions_file, predictions)
    accuracy, trials = evaluate.trial_accuracy(predictions, job.classes)
    job.run.update(accuracy=accuracy, n=trials, best_epoch=best_epoch, epochs=job.settings.epochs, **more)
