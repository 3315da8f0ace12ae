"""One optimisation step: gradients of a batch, accumulated over micro-batches that fit into memory.

The losses of the micro-batches are summed, and the gradients divided by the number of items (windows or frames) of the
whole batch. They equal the gradients of the batch's mean loss for any micro-batch size, unless windows interact (batch
normalisation) or random draws differ (dropout).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eavdash.errors import TrainingError
from eavdash.training.loading import Batch, ModelOutput, Source
from eavdash.training.memory import MicroBatchSize, halve, in_micro_batches, out_of_memory, peak_memory, release
from eavdash.training.precision import autocast, device_of, resolve_precision


@dataclass(frozen=True)
class Gradients:
    """Loss and correct windows of a batch; the gradients are in the parameters."""

    loss: float  # mean over items
    correct: int  # windows


def cross_entropy(output: ModelOutput, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the training loss over recorded frames if the model has frame logits (B, F, K), else over windows (B, K).

    A window without frames counts once, with its own logits. If the window's logits depend on the order of its frames,
    the loss is the mean of the loss over frames and the loss over windows, so that the order is learned.
    """
    logits, truth = _items(output, labels)
    loss = F.cross_entropy(logits, truth, label_smoothing=smoothing)
    if output.ordered and output.frame_logits is not None:
        loss = (loss + F.cross_entropy(output.logits, labels, label_smoothing=smoothing)) / 2
    return loss


def _partial_loss(output: ModelOutput, labels: Tensor, smoothing: float, items: Tensor | None) -> tuple[Tensor, int]:
    """Return a micro-batch's part of the loss times the number of items of the batch, and its own number of items.

    ``items`` (B,) is the number of items of each window of the whole batch, if known.
    """
    logits, truth = _items(output, labels)
    loss = F.cross_entropy(logits, truth, label_smoothing=smoothing, reduction="sum")
    if output.ordered and output.frame_logits is not None:
        assert items is not None, "a source with ordered outputs must count their items"
        windows = F.cross_entropy(output.logits, labels, label_smoothing=smoothing, reduction="sum")
        loss = (loss + windows * (float(items.sum()) / len(items))) / 2
    return loss, len(truth)


def _items(output: ModelOutput, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (item, K) and labels (item,) of the loss items."""
    logits = output.logits
    if output.frame_logits is None or output.frame_mask is None:
        return logits, labels
    kept = output.frame_mask
    alone = ~kept.any(dim=1)
    logits = torch.cat([output.frame_logits[kept], logits[alone]])
    return logits, torch.cat([labels[:, None].expand(kept.shape)[kept], labels[alone]])


def gradients(
    model: nn.Module,
    batch: Batch,
    labels: Tensor,
    micro_batch: MicroBatchSize,
    precision: str,
    smoothing: float,
    name: str,
) -> Gradients:
    """Compute the gradients of the batch's mean loss into the parameters; ``labels`` (B,) belong to ``batch.rows``.

    When memory runs out, halve ``micro_batch.training`` and repeat the step from the same random state and buffers.

    Raises:
        RuntimeError: a single window does not fit into memory.
    """
    while True:
        restore = _Snapshot(model)
        try:
            return _accumulate(model, batch, labels, micro_batch.training, precision, smoothing)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            micro_batch.training = halve(min(micro_batch.training, len(batch.rows)), name, "training", error)
            micro_batch.evaluation = min(micro_batch.evaluation, 2 * micro_batch.training)
        restore()
        release()


def _accumulate(
    model: nn.Module, batch: Batch, labels: Tensor, size: int, precision: str, smoothing: float
) -> Gradients:
    model.zero_grad(set_to_none=True)
    device = device_of(model)
    total, correct, count = torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device), 0
    spans = _spans(len(batch.rows), size)
    whole = len(spans) == 1
    for span in spans:
        truth = labels[span].to(device)
        with autocast(precision, device):
            output = batch.forward(span)
            if whole:
                loss, items = cross_entropy(output, truth, smoothing), 1
            else:
                loss, items = _partial_loss(output, truth, smoothing, batch.items)
        torch.autograd.backward(loss)
        total += loss.detach()
        correct += (output.logits.detach().argmax(1) == truth).sum()
        count += items
    if not whole:
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.div_(count)
    return Gradients(float(total) / count, int(correct))


def _spans(count: int, size: int) -> list[slice]:
    """Split 0..count into slices of ``size``; a single remaining window joins the slice before it unless size is 1."""
    starts = list(range(0, count, size))
    if size > 1 and len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], count], strict=True)]


@torch.no_grad()
def outputs(
    model: nn.Module, source: Source, rows: Sequence[int], micro_batch: MicroBatchSize, precision: str, name: str
) -> list[ModelOutput]:
    """Return the model's output for windows ``rows``, in their order and in evaluation mode, per micro-batch.

    ``precision``: ``TrainConfig.precision`` of the stage that trained the model.
    """
    model.eval()
    device = device_of(model)
    precision = resolve_precision(precision, device)

    def compute(part: Tensor) -> ModelOutput:
        with autocast(precision, device):
            return source.output(model, part, None)

    return in_micro_batches(torch.as_tensor(rows, dtype=torch.int64), micro_batch, compute, name)


def check_gradients(model: nn.Module, clip: float, where: str) -> None:
    """Clip the norm of the gradients to ``clip`` (0: no clipping).

    Raises:
        TrainingError: the norm is not a finite number.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    if clip:
        norm = nn.utils.clip_grad_norm_(trained, clip)
    else:
        norm = nn.utils.get_total_norm([p.grad for p in trained if p.grad is not None])
    check_finite(float(norm), where, "norm of the gradients")


def check_finite(value: float, where: str, what: str) -> None:
    """Check that a value is finite.

    Raises:
        TrainingError: ``value`` is infinite or NaN.
    """
    if not math.isfinite(value):
        raise TrainingError.at(
            where,
            expected=f"a finite {what}",
            found=str(value),
            remedy="lower the learning rate of this stage, or check the recordings with eavdash check",
        )


@contextlib.contextmanager
def dry_run_step(model: nn.Module) -> Iterator[None]:
    """Run a step without side effects: restore random state and buffers afterwards, and drop the gradients."""
    restore = _Snapshot(model)
    try:
        yield
    finally:
        model.zero_grad(set_to_none=True)
        restore()


def peak(model: nn.Module, batch: Batch, labels: Tensor, precision: str) -> int:
    """Return the peak GPU memory in bytes of the forward and backward pass of a whole batch."""
    with dry_run_step(model):
        return peak_memory(lambda: _accumulate(model, batch, labels, len(batch.rows), precision, 0.0), device_of(model))


def optimiser_bytes(model: nn.Module) -> int:
    """Return the bytes of AdamW's two moments."""
    return 2 * sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)


class _Snapshot:
    """Snapshot of torch's random state and a model's buffers; calling it restores them."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.device = model, device_of(model)
        self.buffers: list[tuple[Tensor, Tensor]] = [(b, b.detach().clone()) for b in model.buffers()]
        self.random: Any = torch.get_rng_state()
        self.on_gpu = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None

    def __call__(self) -> None:
        torch.set_rng_state(self.random)
        if self.on_gpu is not None:
            torch.cuda.set_rng_state(self.on_gpu, self.device)
        for buffer, value in self.buffers:
            buffer.copy_(value)
