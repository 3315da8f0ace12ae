"""Micro-batch sizes, and recovery when memory runs out.

The batch size is a setting of the optimisation, the micro-batch size one of memory: the gradients of micro-batches add
up to those of the batch. When memory runs out, the size is halved, the log records it, and the same work is repeated;
if a single window does not fit, the error is raised. The sizes are saved in resume.pt, so a resumed run accumulates in
the same order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

log = logging.getLogger(__name__)
T = TypeVar("T")
GIB = 2**30


@dataclass
class MicroBatchSize:
    """Windows at once; lowered when memory runs out, and never raised again within a phase."""

    training: int  # with gradients
    evaluation: int  # without gradients

    @classmethod
    def from_config(cls, batch: int, micro_batch: int) -> MicroBatchSize:
        """Return the configured sizes (``micro_batch`` 0: the whole batch)."""
        size = min(micro_batch, batch) if micro_batch else batch
        return cls(size, size)


def out_of_memory(error: BaseException) -> bool:
    """Return True if an error means that GPU or main memory was exhausted."""
    text = str(error)
    on_cpu = "DefaultCPUAllocator" in text and ("allocate memory" in text or "not enough memory" in text)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (isinstance(error, RuntimeError) and on_cpu)


def halve(size: int, name: str, what: str, error: BaseException) -> int:
    """Return half of ``size`` and log it.

    Raises:
        RuntimeError: ``error`` itself, if ``size`` is one window.
    """
    if size <= 1:
        raise error
    half = size // 2
    log.warning("%s: out of memory with %d windows at once (%s); continuing with %d.", name, size, what, half)
    return half


def in_micro_batches(
    rows: Tensor,
    micro_batch: MicroBatchSize,
    compute: Callable[[Tensor], T],
    name: str,
    report: Callable[[int, int], object] | None = None,
) -> list[T]:
    """Apply ``compute`` to successive micro-batches of ``rows``, smaller ones if memory runs out.

    ``compute`` must depend on its rows only, because a micro-batch that did not fit is repeated in smaller ones.
    ``report`` is called with the number of rows done and of all.
    """
    done: list[T] = []
    at = 0
    while at < len(rows):
        part = rows[at : at + micro_batch.evaluation]
        try:
            done.append(compute(part))
            at += len(part)
            if report is not None:
                report(at, len(rows))
            continue
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            micro_batch.evaluation = halve(len(part), name, "evaluation", error)
        release()
    return done


def release() -> None:
    """Release cached GPU memory. Call it after the error is handled: its traceback references the tensors."""
    torch.cuda.empty_cache()


def peak_memory(work: Callable[[], object], device: torch.device) -> int:
    """Return the peak GPU memory in bytes during ``work``, including what was allocated before."""
    release()
    torch.cuda.reset_peak_memory_stats(device)
    work()
    return int(torch.cuda.max_memory_allocated(device))


def largest_fitting(peak: Callable[[int], int], budget: float, batch: int, reserve: int = 0) -> int:
    """Return the largest number of windows, from 1 to ``batch``, whose step stays within a memory budget.

    Args:
        peak: measures the peak memory in bytes of a step with a number of windows; called with 1 and 2.
        budget: GiB.
        reserve: further bytes that a step needs and ``peak`` does not measure (an optimiser's state).
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
    available = budget * GIB - reserve - (one - each)
    return int(max(1, min(batch, available // each)))
