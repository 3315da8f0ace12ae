"""The batches of an epoch, loaded ahead of a GPU by a background thread, and asked for piece by piece.

A source that can ``load`` gives up its windows as tensors (augmented, if they are to be): then a step that ran out of
memory is done again on the very same tensors, and the choices of augmentation do not depend on the micro-batch. From
any other source the same choices are had by turning its generator back.
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
    """A source whose windows can be read apart from asking the model about them."""

    def load(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> tuple[Tensor, ...]:
        """The tensors of windows ``rows`` on the CPU, the first axis of each being the window."""
        ...

    def forward(self, model: nn.Module, loaded: tuple[Tensor, ...]) -> Any:
        """The model's decision on what was loaded."""
        ...

    def items(self, loaded: tuple[Tensor, ...]) -> Tensor | None:
        """(B,) how many items of the loss each of the windows is: its recorded frames if it has any, otherwise one.

        None where no decision is :attr:`~eavdash.training.step.ModelOutput.ordered`: nothing else asks for it beforehand.
        """
        ...


@dataclass(frozen=True)
class Batch:
    """Windows of one optimisation step."""

    rows: Tensor  # (B,) int64
    forward: Callable[[slice], Any]  # the decision on some of them; a step asks from the first to the last, maybe again
    items: Tensor | None = None  # (B,) items of the loss per window, where they are known beforehand


@contextmanager
def stream(
    model: nn.Module, source: Any, parts: Iterable[Tensor], random: torch.Generator | None, device: torch.device
) -> Iterator[Iterator[Batch]]:
    """The batches ``parts`` in their order; on a GPU the next ones are loaded meanwhile, into page-locked memory."""
    if not isinstance(source, Loading):
        yield (_plain(model, source, rows, random) for rows in parts)
        return
    pin = device.type == "cuda"

    def load(rows: Tensor) -> Batch:
        loaded = source.load(model, rows, random)
        if pin:
            loaded = tuple(tensor.pin_memory() for tensor in loaded)
        forward = partial(_ask, source, model, loaded)
        return Batch(rows, forward, source.items(loaded))

    if not pin:
        yield (load(rows) for rows in parts)
        return
    with prefetch(load, parts) as batches:
        yield batches


def _ask(source: Loading, model: nn.Module, loaded: tuple[Tensor, ...], part: slice) -> Any:
    return source.forward(model, tuple(tensor[part] for tensor in loaded))


def _plain(model: nn.Module, source: Any, rows: Tensor, random: torch.Generator | None) -> Batch:
    start = None if random is None else random.get_state()

    def forward(part: slice) -> Any:
        if random is not None and start is not None and not part.start:
            random.set_state(start)
        return source.output(model, rows[part], random)

    return Batch(rows, forward)


@contextmanager
def prefetch(work: Callable[[Tensor], T], items: Iterable[Tensor], ahead: int = PREFETCH) -> Iterator[Iterator[T]]:
    """``work`` of each item in order, done by one background thread that is up to ``ahead`` results in front.

    An error of ``work`` appears where its result would have; leaving the block ends the thread.
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
