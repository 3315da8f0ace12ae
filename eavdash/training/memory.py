"""How many windows are in memory at once, and what happens when those are too many.

A batch is a matter of the optimisation, a micro-batch one of memory: gradients of micro-batches add up to the batch's.
When memory runs out, the size is halved, the log says so, and the same piece of work is done again; with one window
left the error is the caller's. The sizes go into resume.pt, so a resumed run adds up in the same order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

log = logging.getLogger(__name__)
T = TypeVar("T")
GIB = 2**30


@dataclass
class MicroBatchSize:
    """Windows at once; both are lowered where memory runs out, and never raised again within a phase."""

    training: int  # with gradients
    evaluation: int  # without

    @classmethod
    def of(cls, batch: int, micro_batch: int) -> MicroBatchSize:
        """The sizes that the configuration asks for (``micro_batch`` 0: the whole batch)."""
        size = min(micro_batch, batch) if micro_batch else batch
        return cls(size, size)

    def to_dict(self) -> dict[str, int]:
        """For resume.pt."""
        return asdict(self)

    def restore(self, state: dict[str, Any]) -> None:
        """The sizes that :meth:`to_dict` gave."""
        self.training, self.evaluation = int(state["training"]), int(state["evaluation"])


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of a GPU or of the machine, could not be had."""
    text = str(error)
    on_cpu = "DefaultCPUAllocator" in text and ("allocate memory" in text or "not enough memory" in text)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (isinstance(error, RuntimeError) and on_cpu)


def halve(size: int, name: str, what: str, error: BaseException) -> int:
    """Half of ``size``, said in the log.

    Raises:
        RuntimeError: ``error`` itself, where one window is already too many.
    """
    if size <= 1:
        raise error
    half = size // 2
    log.warning("%s: out of memory with %d windows at once (%s); going on with %d.", name, size, what, half)
    return half


def in_micro_batches(rows: Tensor, micro_batch: MicroBatchSize, compute: Callable[[Tensor], T], name: str) -> list[T]:
    """``compute`` of successive pieces of ``rows``, each of ``pieces.evaluation`` windows, fewer where memory is short.

    ``compute`` must depend on its rows alone, because a piece that did not fit is asked for again in smaller ones.
    """
    done: list[T] = []
    at = 0
    while at < len(rows):
        part = rows[at : at + micro_batch.evaluation]
        try:
            done.append(compute(part))
            at += len(part)
            continue
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            micro_batch.evaluation = halve(len(part), name, "evaluation", error)
        release()
    return done


def release() -> None:
    """Give a GPU's freed memory back to it; after the error is handled, for its traceback holds the tensors."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def peak_memory(work: Callable[[], object], device: torch.device) -> int:
    """Bytes at the peak of ``work`` on a GPU, what is there before included."""
    release()
    torch.cuda.reset_peak_memory_stats(device)
    work()
    return int(torch.cuda.max_memory_allocated(device))


def largest_fitting(peak: Callable[[int], int], budget: float, batch: int, reserve: int = 0) -> int:
    """The most windows, up to ``batch``, of which a step stays within a budget; at least 1.

    Args:
        peak: bytes at the peak of a step with so many windows, as measured; asked for 1 and 2.
        budget: GiB.
        reserve: bytes that a step takes besides and that ``peak`` has not seen (an optimiser's state).
    """
    if batch < 2:
        return 1
    one = peak(1)
    try:
        two = peak(2)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return 1
    each = max(1, two - one)
    room = budget * GIB - reserve - (one - each)
    return int(max(1, min(batch, room // each)))
