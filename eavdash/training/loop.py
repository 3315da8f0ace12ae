"""Training loop of both stages.

* AdamW. By default the learning rate warms up over the first tenth of the steps and then follows a cosine, labels are
  smoothed and the gradient norm is clipped; the recipe ``published``, that of the preset ``paper``, does none of this
  (:data:`PUBLISHED`).
* Encoders with pretrained weights start with head-only epochs, at a constant learning rate and with their own
  optimiser, on cached features (:mod:`eavdash.training.headphase`).
* The epoch with the lowest validation loss per window is kept (the first of equals). Without validation windows it is
  the last, unless test windows are given for the choice, as published.
* A batch is split into micro-batches that fit into memory (:mod:`eavdash.training.step`), in the number format of
  :mod:`eavdash.training.precision`.
* After every epoch the state is written to resume.pt, then the line to metrics.jsonl. Every epoch has its own seed, so
  a resumed run ends with the weights of an uninterrupted one, bit for bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eavdash.config.schema import Execution, TrainConfig
from eavdash.models.seeds import Seeder, generator
from eavdash.training import headphase, phases, resume, warmup
from eavdash.training.batching import epoch_batches
from eavdash.training.checkpoint import Checkpoint
from eavdash.training.loading import Source, stream
from eavdash.training.memory import MicroBatchSize
from eavdash.training.optimiser import optimiser_of
from eavdash.training.precision import device_of, resolve_precision
from eavdash.training.step import check_finite, check_gradients, gradients, outputs
from eavdash.training.warmup import DEFAULT_EXECUTION

Report = Callable[[dict[str, Any]], None]


class StoppedError(Exception):
    """Raised when ``should_stop()`` returns True; finished epochs are in resume.pt."""


@dataclass(frozen=True)
class Recipe:
    """The rules of the optimisation that the setting ``train.recipe`` chooses."""

    smoothing: float = 0.1  # label smoothing
    warm_up: float = 0.1  # fraction of the steps
    cosine: bool = True
    clip: float = 1.0  # gradient norm; 0: no clipping
    decay_all: bool = False  # apply weight decay to biases and norms too
    patience_after: int = 0  # epoch after which patience starts


#: Yin et al. (2025): a plain AdamW; the EEG encoder's patience begins after epoch 150.
PUBLISHED = Recipe(smoothing=0.0, warm_up=0.0, cosine=False, clip=0.0, decay_all=True, patience_after=150)


#: By the name of the setting ``train.recipe``.
RECIPES = {"default": Recipe(), "published": PUBLISHED}


@dataclass(frozen=True)
class Fitted:
    """Result of the loop, after which the model has the weights of ``best_epoch`` (from 1)."""

    best_epoch: int
    history: list[dict[str, Any]]
    micro_batch: MicroBatchSize = field(default_factory=lambda: MicroBatchSize(1, 1))  # that fitted into memory
    precision: str = "float32"
    compiled: bool | None = None  # True if torch.compile worked; None: not requested, or no epoch left to train
    last: dict[str, Tensor] | None = None  # weights of the last epoch, if the epoch was chosen on test windows


def fit(
    model: nn.Module,
    source: Source,
    train: Sequence[int],
    validation: Sequence[int],
    settings: TrainConfig,
    *,
    name: str,
    seed: Seeder,
    rules: Recipe,
    head_epochs: int = 0,
    test: Sequence[int] = (),
    checkpoint: Checkpoint | None = None,
    execution: Execution = DEFAULT_EXECUTION,
    report: Report | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Fitted:
    """Train ``model`` on the windows ``train``, choosing the epoch on ``validation``.

    Args:
        test: windows whose accuracy (per window, the first of equals) chooses the epoch and controls patience instead.
            The published figures were obtained this way; the result is not an unbiased estimate.

    Raises:
        TrainingError: a loss or a gradient is not a finite number, or a file cannot be written.
        StoppedError: ``should_stop()`` returned True between two batches.
        RuntimeError: a single window does not fit into memory.
    """
    history: list[dict[str, Any]] = []
    best_epoch, best_score = 0, math.inf
    compiled: bool | None = None
    precision = resolve_precision(settings.precision, device_of(model))
    micro_batch = MicroBatchSize.from_config(settings.batch, settings.micro_batch)
    best: dict[str, Tensor] = _weights(model)
    state = resume.load(checkpoint.resume_file, checkpoint.signature) if checkpoint else None
    if state is not None:
        best = {**best, **state["best"]}  # head-only epochs save only the new parts; the rest is unchanged
        model.load_state_dict({**model.state_dict(), **state["model"]})
        history = list(state["history"])
        best_epoch, best_score = int(state["best_epoch"]), float(state["best_loss"])
        micro_batch = MicroBatchSize(**state.get("pieces", asdict(micro_batch)))
    if checkpoint:
        checkpoint.write_metrics(history)
        checkpoint.on_start(len(checkpoint.before) + len(history))
    optimiser: torch.optim.Optimizer | None = None
    for epoch in range(len(history) + 1, settings.epochs + 1):
        waited = len(history) - max(best_epoch, rules.patience_after)
        if history and settings.patience and waited >= settings.patience and (len(validation) or len(test)):
            break
        started = time.monotonic()
        head_only = epoch <= head_epochs
        if optimiser is None or epoch == head_epochs + 1:
            continued = state is not None and epoch != head_epochs + 1
            if not continued:
                micro_batch = MicroBatchSize.from_config(settings.batch, settings.micro_batch)
            current: Source = source
            if head_only:
                every = [*train, *validation, *test]
                current = headphase.head_source(model, source, every, micro_batch, precision, name, execution)
            else:
                model.requires_grad_(True)
                model.train()
                if not continued:
                    warmup.limit_to_budget(model, source, train, micro_batch, execution, precision, name)
                if execution.compile:
                    phases.enter(phases.COMPILING)
                    compiled = warmup.compile_model(model, source, train, micro_batch, precision, name)
            optimiser = optimiser_of(model, settings, rules.decay_all)
            if continued and state is not None:
                optimiser.load_state_dict(state["optimiser"])
        if checkpoint:
            before = len(checkpoint.before)
            phases.enter(phases.TRAINING, before + epoch - 1, before + settings.epochs)
        task = _Task(model, current, settings, rules, micro_batch, precision, name, seed, should_stop)
        loss, accuracy, rate = _epoch(task, optimiser, train, epoch, head_epochs)
        row: dict[str, Any] = {"epoch": epoch, "loss": loss, "accuracy": accuracy}
        row |= {"validation_loss": None, "validation_accuracy": None}
        score: float | None = None
        if len(validation):
            score, accuracy = measure(model, current, validation, micro_batch, precision, name)
            row |= {"validation_loss": score, "validation_accuracy": accuracy}
            check_finite(score, f"{name}, epoch {epoch}", "validation loss")
        if len(test):
            loss, row["test_accuracy"] = measure(model, current, test, micro_batch, precision, name)
            check_finite(loss, f"{name}, epoch {epoch}", "test loss")
            score = -row["test_accuracy"]
        if score is None or score < best_score:
            best, best_epoch, best_score = {**best, **_weights(model, head_only)}, epoch, score or 0.0
        row |= {"learning_rate": rate, "seconds": round(time.monotonic() - started, 3)}
        history.append(row)
        if checkpoint:
            content: dict[str, Any] = {
                "model": _weights(model, head_only),
                "optimiser": optimiser.state_dict(),
                "history": history,
                "pieces": asdict(micro_batch),
            }
            kept = {k: best[k] for k in content["model"]}  # the new parts alone while only these have changed
            content |= {"best": kept, "best_epoch": best_epoch, "best_loss": best_score}
            resume.save(checkpoint.resume_file, content, checkpoint.signature)
            checkpoint.write_metrics(history)
        if report:
            report(row)
    warmup.uncompile(model)
    last = _weights(model) if len(test) else None
    model.load_state_dict(best)
    model.requires_grad_(True)
    return Fitted(best_epoch, history, replace(micro_batch), precision, compiled, last)


@dataclass(frozen=True)
class _Task:
    """Arguments that stay constant during an epoch."""

    model: nn.Module
    source: Source
    settings: TrainConfig
    rules: Recipe
    micro_batch: MicroBatchSize
    precision: str
    name: str
    seed: Seeder
    should_stop: Callable[[], bool]


def _epoch(
    task: _Task, optimiser: torch.optim.Optimizer, train: Sequence[int], epoch: int, head_epochs: int
) -> tuple[float, float, float]:
    """Train one epoch; return mean loss, accuracy per window and last learning rate."""
    model, settings, where = task.model, task.settings, f"{task.name}, epoch {epoch}"
    torch.manual_seed(task.seed("epoch", epoch))  # dropout inside the model
    random = generator(task.seed("batches", epoch))  # order and augmentation
    parts = epoch_batches(torch.as_tensor(train, dtype=torch.int64), settings, random)
    shown = sum(map(len, parts))
    steps = (settings.epochs - head_epochs) * len(parts)
    total, correct, rate = 0.0, 0, 0.0
    if epoch <= head_epochs:
        headphase.freeze(model)
    else:
        model.train()
    with stream(model, task.source, parts, random, device_of(model)) as loaded:
        for number, batch in enumerate(loaded):
            if task.should_stop():
                raise StoppedError
            if epoch <= head_epochs:
                rate = settings.head_learning_rate
            else:
                step = (epoch - head_epochs - 1) * len(parts) + number
                rate = settings.learning_rate * rate_factor(step, steps, task.rules)
            for group in optimiser.param_groups:
                group["lr"] = rate
            labels = task.source.labels[batch.rows]
            got = gradients(model, batch, labels, task.micro_batch, task.precision, task.rules.smoothing, task.name)
            check_finite(got.loss, where, "loss")
            check_gradients(model, task.rules.clip, where)
            optimiser.step()
            total += got.loss * len(batch.rows)
            correct += got.correct
    return total / shown, correct / shown, rate


def measure(
    model: nn.Module, source: Source, rows: Sequence[int], micro_batch: MicroBatchSize, precision: str, name: str
) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy per window in evaluation mode."""
    parts = outputs(model, source, rows, micro_batch, precision, name)
    labels = source.labels[torch.as_tensor(rows, dtype=torch.int64)]
    total, correct = 0.0, 0
    for part, given in zip(parts, torch.split(labels, [len(part.logits) for part in parts]), strict=True):
        truth = given.to(part.logits.device)
        total += float(F.cross_entropy(part.logits.double(), truth, reduction="sum"))
        correct += int((part.logits.argmax(1) == truth).sum())
    return total / len(rows), correct / len(rows)


def rate_factor(step: int, steps: int, rules: Recipe) -> float:
    """Return the fraction of the full learning rate at a step: linear warm-up, then a half cosine down to 0.01."""
    if not rules.cosine:
        return 1.0
    rise = max(1, int(steps * rules.warm_up))
    if step < rise:
        return (step + 1) / rise
    done = (step - rise) / max(1, steps - rise)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


def _weights(model: nn.Module, new_only: bool = False) -> dict[str, Tensor]:
    """Return copies on the CPU of the model's state, or of its new parts only."""
    state = model.state_dict()
    if new_only:
        new = {id(t) for part in headphase.new_parts(model) for t in part.state_dict(keep_vars=True).values()}
        names = {key for key, value in model.state_dict(keep_vars=True).items() if id(value) in new}
        state = {key: value for key, value in state.items() if key in names}
    return {key: value.detach().cpu().clone() for key, value in state.items()}
