"""Stage 1: one encoder alone, with cross-entropy, from windows to model.safetensors and predictions.parquet."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from eavdash.config import TrainConfig
from eavdash.data.windows import WindowSet
from eavdash.errors import DataError
from eavdash.models import build, weights
from eavdash.models.ast import AudioSpectrogramTransformer
from eavdash.models.base import Encoder
from eavdash.models.vit import FrameViT
from eavdash.training import evaluate, inputs
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
from eavdash.training.loop import Checkpoint, Decision, fit, recipe
from eavdash.training.scaling import fit_scaling

log = logging.getLogger(__name__)


class WindowSource:
    """Windows of one modality as the loop asks for them."""

    def __init__(self, windows: Windows, labels: Tensor, device: torch.device, augment: bool) -> None:
        self.windows, self.labels, self.device, self.augment = windows, labels, device, augment
        self.at = torch.as_tensor(windows.index["row"].to_numpy(copy=True))

    def decide(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> Decision:
        """The encoder's decision on windows ``rows`` of the index, augmented if a generator is given."""
        x, mask = inputs.tensors(self.windows.values, self.at[rows])
        if augment is not None and self.augment:
            x, mask = inputs.augmented(self.windows.values.modality, x, mask, model, augment)
        encoded = model(x.to(self.device), mask.to(self.device))
        frames = encoded.mask if encoded.frame_logits is not None else None
        return Decision(encoded.logits, encoded.frame_logits, frames)


def train_encoder(job: Job) -> None:
    """Train the encoder of the job's stage and write its files.

    Raises:
        EavdashError: the recordings or the files of the run do not allow it.
        StoppedError: the job was asked to stop.
    """
    windows = read_windows(job, job.stage)
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
    job.describe(model=spec, input=described, left_out=windows.missing)

    model = new_encoder(job, spec)
    rows = [int(r) for r in index["row"].to_numpy()[train]]
    fitted_scaling = job.config.audio.scaling == "training" if job.stage == "audio" else not pretrained(job)
    scaling = fit_scaling(windows.values, rows, fitted_scaling)
    if scaling is not None:
        model.set_scaling(*scaling)
    model.to(job.device)
    source = WindowSource(windows, labels_of(index, job.classes), job.device, job.settings.augment)
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
        checkpoint=Checkpoint(
            job.run.resume_file, job.run.metrics_file, signature(job, str(windows.values.meta["key"]))
        ),
        report=job.epoch_done,
        should_stop=job.should_stop,
    )
    decided = evaluate.decide(model, source, range(len(index)), job.settings.batch)
    predictions = evaluate.table(index, decided, job.classes, job.fold, job.number)
    finish(job, model, predictions, fitted.best_epoch)


def new_encoder(job: Job, spec: dict[str, Any]) -> Encoder:
    """The encoder before training: random by the run's seed, or with the weights that the configuration names."""
    torch.manual_seed(job.seed("init"))
    model = cast(Encoder, build.build(spec))
    path = job.config.modality(job.stage).weights
    if path:
        if isinstance(model, FrameViT):
            left_out = weights.load_hf_vit(model, path)
        elif isinstance(model, AudioSpectrogramTransformer):
            left_out = weights.load_hf_ast(model, path)
        else:  # there is no published checkpoint of an EEG encoder: the file is one of ours
            build.load_weights(model, Path(path))
            left_out = []
        log.info("%s: weights of %s loaded, left out: %s", job.run.name, path, ", ".join(left_out) or "nothing")
    return model


def pretrained(job: Job) -> bool:
    """Whether the encoder starts from weights that the configuration names."""
    return bool(job.config.modality(job.stage).weights)


def head_epochs(job: Job) -> int:
    """Epochs that train the head alone: only where the rest comes with weights of its own."""
    settings: TrainConfig = job.settings
    if settings.head_epochs and not pretrained(job):
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


def finish(job: Job, model: nn.Module, predictions: Any, best_epoch: int) -> None:
    """Write the weights and the predictions and show the test accuracy.

    resume.pt stays until the worker has marked the run as done: killed in between, the run need not begin again.
    """
    build.save_weights(model, job.run.model_file)
    evaluate.write(job.run.predictions_file, predictions)
    accuracy, trials = evaluate.trial_accuracy(predictions, job.classes)
    job.run.update(accuracy=accuracy, n=trials, best_epoch=best_epoch, epochs=job.settings.epochs)
