"""Loading of an epoch's batches, prefetched by a background thread for a GPU and split into micro-batches.

A source with ``load`` returns its windows as tensors, augmented if requested: a step that ran out of memory is repeated
on the same tensors, and augmentation does not depend on the micro-batch size. For any other source the generator is
rewound to repeat the same draws.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

T = TypeVar("T")
PREFETCH = 2  # batches


@runtime_checkable
class Loading(Protocol):
    """A source that loads windows separately from running the model."""

    def load(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> tuple[Tensor, ...]:
        """Return the tensors of windows ``rows`` on the CPU; the first axis of each is the window."""
        ...

    def forward(self, model: nn.Module, loaded: tuple[Tensor, ...]) -> Any:
        """Return the model's output for loaded windows."""
        ...

    def items(self, loaded: tuple[Tensor, ...]) -> Tensor | None:
        """Return the number of loss items per window (B,): its recorded frames, at least one.

        Return None if the output is never ``ordered``: only ordered outputs need the numbers in advance.
        """
        ...


@dataclass(frozen=True)
class Batch:
    """Windows of one optimisation step."""

    rows: Tensor  # (B,) int64
    forward: Callable[[slice], Any]  # output for some of them; a step calls it from first to last, possibly again
    items: Tensor | None = None  # (B,) loss items per window, if known in advance


@contextmanager
def stream(
    model: nn.Module, source: Any, parts: Iterable[Tensor], random: torch.Generator | None, device: torch.device
) -> Iterator[Iterator[Batch]]:
    """Yield the batches ``parts`` in order; for a GPU the next ones are prefetched into page-locked memory."""
    if not isinstance(source, Loading):
        yield (_unloaded(model, source, rows, random) for rows in parts)
        return
    pin = device.type == "cuda"

    def load(rows: Tensor) -> Batch:
        loaded = source.load(model, rows, random)
        if pin:
            loaded = tuple(tensor.pin_memory() for tensor in loaded)
        forward = partial(_forward, source, model, loaded)
        return Batch(rows, forward, source.items(loaded))

    if not pin:
        yield (load(rows) for rows in parts)
        return
    with prefetch(load, parts) as batches:
        yield batches


def _forward(source: Loading, model: nn.Module, loaded: tuple[Tensor, ...], part: slice) -> Any:
    return source.forward(model, tuple(tensor[part] for tensor in loaded))


def _unloaded(model: nn.Module, source: Any, rows: Tensor, random: torch.Generator | None) -> Batch:
    start = None if random is None else random.get_state()

    def forward(part: slice) -> Any:
        if random is not None and start is not None and not part.start:
            random.set_state(start)
        return source.output(model, rows[part], random)

    return Batch(rows, forward)


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
