"""The visible training loop: one function for both stages, and the rules that both follow.

* AdamW. By default the learning rate rises over the first tenth of the steps and then falls along a cosine, the
  cross-entropy is smoothed and the gradient's norm is clipped; the ``paper`` preset has none of these
  (:data:`PUBLISHED`).
* Head-only epochs, for encoders that start from someone else's weights, come first, at a constant rate and with an
  optimiser of their own.
* The epoch kept is the one with the lowest validation loss per window (the earlier of two equals). Without validation
  windows it is the last.
* After every epoch the state goes to resume.pt and then the line to metrics.jsonl. Every epoch is seeded on its own,
  so a run that goes on from resume.pt ends with the weights of one that was never interrupted, bit for bit.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eavdash.config import TrainConfig
from eavdash.errors import TrainingError
from eavdash.files import write_atomic
from eavdash.training import resume
from eavdash.training.seeds import Seeder, generator

Report = Callable[[dict[str, Any]], None]


class StoppedError(Exception):
    """``should_stop()`` became true; what was finished is in resume.pt."""


@dataclass
class Decision:
    """A model's answer to a batch of windows."""

    logits: Tensor  # (B, K)
    frame_logits: Tensor | None = None  # (B, F, K) where frames are decided on their own
    frame_mask: Tensor | None = None  # (B, F) bool, with frame_logits
    attention: Tensor | None = None  # (B, modality), of fusion


class Source(Protocol):
    """The windows of a run, and how a model is asked about some of them."""

    labels: Tensor  # (window,) int64, class indices, on the CPU

    def decide(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> Decision:
        """The decision on windows ``rows`` (int64 indices); ``augment`` is given for training batches only."""
        ...


@dataclass(frozen=True)
class Recipe:
    """The parts of the optimisation that a preset decides."""

    smoothing: float = 0.1  # of the training labels
    warm_up: float = 0.1  # share of the steps
    cosine: bool = True
    clip: float = 1.0  # gradient norm; 0: not clipped


PUBLISHED = Recipe(smoothing=0.0, warm_up=0.0, cosine=False, clip=0.0)


def recipe(preset: str) -> Recipe:
    """The recipe of a study's preset: :data:`PUBLISHED` for ``paper``, the default otherwise."""
    return PUBLISHED if preset == "paper" else Recipe()


@dataclass(frozen=True)
class Checkpoint:
    """Where the loop keeps its state and its lines."""

    resume_file: Path
    metrics_file: Path
    signature: str  # of the data and the configuration: a state of others is not used


@dataclass(frozen=True)
class Fitted:
    """What the loop returns; the model holds the weights of ``best_epoch`` (from 1) afterwards."""

    best_epoch: int
    history: list[dict[str, Any]]


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
    checkpoint: Checkpoint | None = None,
    report: Report | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Fitted:
    """Train ``model`` on the windows ``train``, choosing the epoch on ``validation``.

    Raises:
        TrainingError: the loss is not a finite number, or a file cannot be written.
        StoppedError: ``should_stop()`` was true between two batches.
    """
    history: list[dict[str, Any]] = []
    best: dict[str, Tensor] = _weights(model)
    best_epoch, best_loss = 0, math.inf
    state = resume.load(checkpoint.resume_file, checkpoint.signature) if checkpoint else None
    if state is not None:
        model.load_state_dict(state["model"])
        history, best = list(state["history"]), state["best"]
        best_epoch, best_loss = int(state["best_epoch"]), float(state["best_loss"])
    if checkpoint:
        _write_metrics(checkpoint.metrics_file, history)
    optimiser: torch.optim.Optimizer | None = None
    for epoch in range(len(history) + 1, settings.epochs + 1):
        if history and settings.patience and len(history) - best_epoch >= settings.patience and len(validation):
            break
        began = time.monotonic()
        head_only = epoch <= head_epochs
        if optimiser is None or epoch == head_epochs + 1:
            optimiser = _optimiser(model, settings, head_only)
            if state is not None and epoch != head_epochs + 1:
                optimiser.load_state_dict(state["optimiser"])
        loss, accuracy, rate = _epoch(
            model, source, train, settings, optimiser, epoch, head_epochs, seed, rules, name, should_stop
        )
        row: dict[str, Any] = {"epoch": epoch, "loss": loss, "accuracy": accuracy}
        row |= {"validation_loss": None, "validation_accuracy": None}
        if len(validation):
            row["validation_loss"], row["validation_accuracy"] = measure(model, source, validation, settings.batch)
            _finite(row["validation_loss"], name, epoch, "validation loss")
        if not len(validation) or row["validation_loss"] < best_loss:
            best, best_epoch, best_loss = _weights(model), epoch, row["validation_loss"] or 0.0
        row |= {"learning_rate": rate, "seconds": round(time.monotonic() - began, 3)}
        history.append(row)
        if checkpoint:
            content: dict[str, Any] = {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "history": history,
            }
            content |= {"best": best, "best_epoch": best_epoch, "best_loss": best_loss}
            resume.save(checkpoint.resume_file, content, checkpoint.signature)
            _write_metrics(checkpoint.metrics_file, history)
        if report:
            report(row)
    model.load_state_dict(best)
    model.requires_grad_(True)
    return Fitted(best_epoch, history)


def _epoch(
    model: nn.Module,
    source: Source,
    train: Sequence[int],
    settings: TrainConfig,
    optimiser: torch.optim.Optimizer,
    epoch: int,
    head_epochs: int,
    seed: Seeder,
    rules: Recipe,
    name: str,
    should_stop: Callable[[], bool],
) -> tuple[float, float, float]:
    """One pass over the training windows: mean loss, accuracy per window, last learning rate."""
    torch.manual_seed(seed("epoch", epoch))  # dropout inside the model
    random = generator(seed("batches", epoch))  # order and augmentation
    order = torch.as_tensor(train, dtype=torch.int64)[torch.randperm(len(train), generator=random)]
    parts = batches(order, settings.batch)
    steps = (settings.epochs - head_epochs) * len(parts)
    total, correct, rate = 0.0, 0, 0.0
    model.train()
    for number, rows in enumerate(parts):
        if should_stop():
            raise StoppedError
        if epoch <= head_epochs:
            rate = settings.head_learning_rate
        else:
            step = (epoch - head_epochs - 1) * len(parts) + number
            rate = settings.learning_rate * share(step, steps, rules)
        for group in optimiser.param_groups:
            group["lr"] = rate
        decision = source.decide(model, rows, random)
        labels = source.labels[rows].to(decision.logits.device)
        loss = cross_entropy(decision, labels, rules.smoothing)
        _finite(float(loss.detach()), name, epoch, "loss")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if rules.clip:
            nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], rules.clip)
        optimiser.step()
        total += float(loss.detach()) * len(rows)
        correct += int((decision.logits.detach().argmax(1) == labels).sum())
    return total / len(train), correct / len(train), rate


@torch.no_grad()
def measure(model: nn.Module, source: Source, rows: Sequence[int], batch: int) -> tuple[float, float]:
    """Mean cross-entropy and accuracy per window in evaluation mode."""
    model.eval()
    total, correct = 0.0, 0
    for part in torch.as_tensor(rows, dtype=torch.int64).split(batch):
        logits = source.decide(model, part, None).logits
        labels = source.labels[part].to(logits.device)
        total += float(F.cross_entropy(logits.double(), labels, reduction="sum"))
        correct += int((logits.argmax(1) == labels).sum())
    return total / len(rows), correct / len(rows)


def cross_entropy(decision: Decision, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """The training loss: over recorded frames where the model decides frames (B, F, K), else over windows (B, K).

    A window without any frame counts once, by its own decision.
    """
    logits = decision.logits
    if decision.frame_logits is not None and decision.frame_mask is not None:
        kept = decision.frame_mask
        alone = ~kept.any(dim=1)
        logits = torch.cat([decision.frame_logits[kept], logits[alone]])
        labels = torch.cat([labels[:, None].expand(kept.shape)[kept], labels[alone]])
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def batches(order: Tensor, size: int) -> list[Tensor]:
    """``order`` in pieces of ``size``; a single window left over joins the piece before it.

    Batch normalisation cannot be trained on one window.
    """
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def share(step: int, steps: int, rules: Recipe) -> float:
    """The part of the full learning rate at a step: linear rise, then half a cosine down to one hundredth."""
    if not rules.cosine:
        return 1.0
    rise = max(1, int(steps * rules.warm_up))
    if step < rise:
        return (step + 1) / rise
    done = (step - rise) / max(1, steps - rise)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


def _optimiser(model: nn.Module, settings: TrainConfig, head_only: bool) -> torch.optim.Optimizer:
    """AdamW over what is trained in this phase; biases, norms and other vectors are not decayed."""
    head = {id(p) for p in model.head.parameters()} if head_only else set()  # type: ignore[union-attr]
    for parameter in model.parameters():
        parameter.requires_grad_(not head_only or id(parameter) in head)
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.learning_rate)


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}


def _finite(value: float, name: str, epoch: int, what: str) -> None:
    if not math.isfinite(value):
        raise TrainingError.at(
            f"{name}, epoch {epoch}",
            expected=f"a finite {what}",
            found=str(value),
            remedy="lower the learning rate of this stage, or look for broken recordings with eavdash check",
        )


def _write_metrics(path: Path, history: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in history)
    write_atomic(path, lambda file: file.write(text.encode()))
