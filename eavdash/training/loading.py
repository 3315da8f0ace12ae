"""The windows of a run: their source, and the batches of an epoch, which a background thread prefetches for a GPU.

A source loads windows as tensors, augmented if requested, and computes the model's output for them separately: a step
that ran out of memory is repeated on the same tensors, and augmentation does not depend on the micro-batch size.
"""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")
PREFETCH = 2  # batches


@dataclass
class ModelOutput:
    """Output of an encoder or a fusion for a batch of windows."""

    logits: Tensor  # (B, K)
    frame_logits: Tensor | None = None  # (B, F, K) if frames are classified on their own
    frame_mask: Tensor | None = None  # (B, F) bool, with frame_logits
    attention: Tensor | None = None  # (B, heads, modality), of fusion
    maps: Tensor | None = None  # (B, layers, heads, modality, modality), of fusion
    ordered: bool = False  # True if the logits depend on the frames' order and have their own term in the loss


class Source(ABC):
    """The windows of a run, and the model's output for some of them."""

    labels: Tensor  # (window,) int64, class indices, on the CPU

    @abstractmethod
    def load(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> tuple[Tensor, ...]:
        """Return the tensors of windows ``rows`` (int64 indices) on the CPU; the first axis of each is the window.

        ``augment`` is given for training batches only.
        """

    @abstractmethod
    def forward(self, model: nn.Module, loaded: tuple[Tensor, ...]) -> ModelOutput:
        """Return the model's output for loaded windows."""

    def items(self, loaded: tuple[Tensor, ...]) -> Tensor | None:
        """Return the number of loss items per window (B,): its recorded frames, at least one.

        Return None if the output is never ``ordered``: only ordered outputs need the numbers in advance.
        """
        return None

    def frozen_features(self, model: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return the features of the encoder's frozen part and their mask; None if the encoder cannot be split."""
        return None

    def output(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> ModelOutput:
        """Return the model's output for windows ``rows``."""
        return self.forward(model, self.load(model, rows, augment))


@dataclass(frozen=True)
class Batch:
    """Windows of one optimisation step."""

    rows: Tensor  # (B,) int64
    forward: Callable[[slice], ModelOutput]  # output for some of them
    items: Tensor | None = None  # (B,) loss items per window, if known in advance


@contextmanager
def stream(
    model: nn.Module, source: Source, parts: Iterable[Tensor], random: torch.Generator | None, device: torch.device
) -> Iterator[Iterator[Batch]]:
    """Yield the batches ``parts`` in order; for a GPU the next ones are prefetched into page-locked memory."""
    pin = device.type == "cuda"

    def load(rows: Tensor) -> Batch:
        loaded = source.load(model, rows, random)
        if pin:
            loaded = tuple(tensor.pin_memory() for tensor in loaded)

        def forward(part: slice) -> ModelOutput:
            return source.forward(model, tuple(tensor[part] for tensor in loaded))

        return Batch(rows, forward, source.items(loaded))

    if not pin:
        yield (load(rows) for rows in parts)
        return
    with prefetch(load, parts) as batches:
        yield batches


@contextmanager
def prefetch(work: Callable[[Tensor], T], items: Iterable[Tensor], ahead: int = PREFETCH) -> Iterator[Iterator[T]]:
    """Yield ``work`` of each item in order, computed by one background thread up to ``ahead`` results in advance.

    An error in ``work`` is raised in place of its result; leaving the block ends the thread.
    """
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(ahead)
    over = threading.Event()

    def put(kind: str, value: Any) -> None:
        while not over.is_set():
            try:
                return ready.put((kind, value), timeout=0.1)
            except queue.Full:
                continue

    def run() -> None:
        try:
            for item in items:
                if over.is_set():
                    return
                put("result", work(item))
        except BaseException as error:
            put("error", error)
        else:
            put("end", None)

    def results() -> Iterator[T]:
        while True:
            kind, value = ready.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value

    thread = threading.Thread(target=run, name="prefetch", daemon=True)
    thread.start()
    try:
        yield results()
    finally:
        over.set()
        thread.join()
