"""A linear fit: the encoder stays frozen, and its last linear layer is a regularised regression on what reaches it.

In: an encoder whose ``head`` ends with a linear layer, and its windows. Out: the same encoder with that layer's weight
and bias set by :func:`eavdash.training.linear.fit_linear`, and one line of metrics.jsonl. Where frames are classified
one by one, a window's features are the mean over its recorded frames. Each window passes through the frozen part once
if the encoder can be split (:mod:`eavdash.training.headphase`). Nothing is drawn at random.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from eavdash.config.schema import Execution, TrainConfig
from eavdash.errors import TrainingError
from eavdash.models.base import last_linear
from eavdash.models.layers import masked_mean
from eavdash.training import headphase, phases, resume
from eavdash.training.checkpoint import Checkpoint
from eavdash.training.linear import fit_linear
from eavdash.training.loading import Source
from eavdash.training.loop import Fitted, Report, StoppedError, measure
from eavdash.training.memory import MicroBatchSize, in_micro_batches
from eavdash.training.precision import autocast, device_of, resolve_precision
from eavdash.training.step import check_finite
from eavdash.training.warmup import DEFAULT_EXECUTION


def fit_head(
    model: nn.Module,
    source: Source,
    train: Sequence[int],
    validation: Sequence[int],
    settings: TrainConfig,
    *,
    name: str,
    groups: np.ndarray | None = None,
    checkpoint: Checkpoint | None = None,
    execution: Execution = DEFAULT_EXECUTION,
    report: Report | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[Fitted, dict[str, Any]]:
    """Set the last linear layer of ``model.head`` by a regression on the windows ``train``.

    Args:
        groups: (window,) names of what is not split where no validation window chooses the penalty.

    Returns:
        The fit, as of a loop with one epoch, and the entry ``linear`` of config.json.

    Raises:
        TrainingError: a feature is not a finite number, or a file cannot be written.
        StoppedError: ``should_stop()`` returned True between two batches.
        RuntimeError: a single window does not fit into memory.
    """
    started = time.monotonic()
    layer = last_linear(cast(Any, model).head)
    assert layer is not None, "planning refuses encoders without one"
    device = device_of(model)
    precision = resolve_precision(settings.precision, device)
    micro_batch = MicroBatchSize.from_config(settings.batch, settings.micro_batch)
    state = resume.load(checkpoint.resume_file, checkpoint.signature) if checkpoint else None
    history: list[dict[str, Any]] = list(state["history"]) if state else []
    if checkpoint:
        checkpoint.write_metrics(history)
        checkpoint.on_start(len(history))
    if state:
        layer.load_state_dict(state["layer"])
        model.eval()
        return Fitted(1, history, MicroBatchSize(**state["pieces"]), precision), dict(state["linear"])
    used = [*train, *validation]
    watched = _Stoppable(source, should_stop)
    current = headphase.head_source(model, watched, used, micro_batch, precision, name, execution)
    if should_stop():
        raise StoppedError
    phases.enter(phases.FITTING)
    features = _inputs_of(layer, model, current, used, micro_batch, precision, name)
    at_train, at_validation = range(len(train)), range(len(train), len(used))
    labels = source.labels.numpy()[used]
    found = fit_linear(
        features, labels, at_train, at_validation, layer.out_features, None if groups is None else groups[used]
    )
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(found.weight))
        layer.bias.copy_(torch.from_numpy(found.bias))
    loss, accuracy = measure(model, current, train, micro_batch, precision, name)
    check_finite(loss, name, "loss")
    row: dict[str, Any] = {"epoch": 1, "loss": loss, "accuracy": accuracy}
    row |= {"validation_loss": None, "validation_accuracy": None}
    if len(validation):
        loss, accuracy = measure(model, current, validation, micro_batch, precision, name)
        row |= {"validation_loss": loss, "validation_accuracy": accuracy}
    row |= {"learning_rate": 0.0, "seconds": round(time.monotonic() - started, 3)}
    history.append(row)
    chosen = {"strength": found.strength, "chosen_by": found.chosen_by}
    if checkpoint:
        weights = {key: value.detach().cpu().clone() for key, value in layer.state_dict().items()}
        content = {"layer": weights, "history": history, "pieces": asdict(micro_batch), "linear": chosen}
        resume.save(checkpoint.resume_file, content, checkpoint.signature)
        checkpoint.write_metrics(history)
    if report:
        report(row)
    model.requires_grad_(True)
    return Fitted(1, history, micro_batch, precision), chosen


def groups_of(index: pd.DataFrame) -> np.ndarray:
    """Return what folds inside the training windows must not split: the subject, or within one its groups or trials."""
    if index.loc[index["split"] == "train", "subject"].nunique() > 1:
        return index["subject"].to_numpy(dtype=str)
    return index["group"].where(index["group"] != "", index["trial"]).to_numpy(dtype=str)


class _Stoppable(headphase.Unaugmented):
    """A source without augmentation that asks before every batch whether to stop."""

    def __init__(self, source: Source, should_stop: Callable[[], bool]) -> None:
        super().__init__(source)
        self.should_stop = should_stop

    def load(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> tuple[Tensor, ...]:
        self._ask()
        return super().load(model, rows, augment)

    def frozen_features(self, model: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor] | None:
        self._ask()
        return self.source.frozen_features(model, rows)

    def _ask(self) -> None:
        if self.should_stop():
            raise StoppedError


def _inputs_of(
    layer: nn.Linear,
    model: nn.Module,
    source: Source,
    rows: Sequence[int],
    micro_batch: MicroBatchSize,
    precision: str,
    name: str,
) -> np.ndarray:
    """Return the input (window, D) of ``layer`` in evaluation mode."""
    model.eval()
    device = device_of(model)

    @torch.no_grad()
    def compute(part: Tensor) -> Tensor:
        with autocast(precision, device):
            found = input_of(layer, model, source, part).float()
        if found.shape != (len(part), layer.in_features):
            raise TrainingError.at(
                name,
                expected=f"{layer.in_features} features per window before the last linear layer",
                found=f"an array of shape {tuple(found.shape[1:])}",
                remedy="set the stage's train.STAGE.fit=gradient",
            )
        return found.cpu()

    parts = in_micro_batches(torch.as_tensor(rows, dtype=torch.int64), micro_batch, compute, name)
    return torch.cat(parts).numpy()


def input_of(layer: nn.Module, model: nn.Module, source: Source, rows: Tensor) -> Tensor:
    """Return what reaches a layer of ``model`` for windows ``rows``; of frames, the mean over the recorded ones."""
    seen: list[Tensor] = []  # the layer may also classify single frames; the window's own call comes last
    handle = layer.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    try:
        output = source.output(model, rows, None)
    finally:
        handle.remove()
    return seen[-1] if output.frame_mask is None else masked_mean(seen[-1].float(), output.frame_mask)
