"""Preparation of a phase: measuring the micro-batch size that fits a memory budget, and compiling the model.

Both do dry-run steps on the phase's first windows (:func:`eavdash.training.step.dry_run_step`). Computations without
gradients before the first step (frozen features, a first evaluation) stay within the same budget.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from eavdash.config.schema import Execution
from eavdash.training.loading import Batch, Source, stream
from eavdash.training.memory import MicroBatchSize, largest_fitting, out_of_memory, peak_memory
from eavdash.training.precision import device_of
from eavdash.training.step import dry_run_step, gradients, optimiser_bytes, peak

log = logging.getLogger(__name__)
DEFAULT_EXECUTION = Execution()  # no memory budget


def limit_to_budget(
    model: nn.Module,
    source: Source,
    train: Sequence[int],
    micro_batch: MicroBatchSize,
    execution: Execution,
    precision: str,
    name: str,
) -> None:
    """Lower ``micro_batch`` to the budget ``execution.memory``, measured on a GPU with one and two windows.

    On a CPU torch does not report peak memory: nothing is measured, and the log names the setting to use instead.
    """
    if not execution.memory:
        return
    if device_of(model).type != "cuda":
        log.warning("%s: --memory is measured on a GPU only; on a CPU set train.STAGE.micro_batch instead.", name)
        return

    def measure_peak(count: int) -> int:
        batch, labels = _first(model, source, train, count)
        return peak(model, batch, labels, precision)

    size = _largest_fitting(measure_peak, execution, micro_batch.training, optimiser_bytes(model), name)
    micro_batch.training, micro_batch.evaluation = size, min(micro_batch.evaluation, 2 * size)


def limit_frozen_to_budget(
    compute: Callable[[Tensor], object],
    rows: Tensor,
    micro_batch: MicroBatchSize,
    execution: Execution,
    device: torch.device,
    name: str,
) -> None:
    """Lower ``micro_batch.evaluation`` so that ``compute`` of ``rows`` stays within the budget ``execution.memory``.

    Measured without gradients on a GPU with one and two windows; no effect on a CPU, as in :func:`limit_to_budget`.
    """
    if execution.memory and device.type == "cuda":
        most = min(micro_batch.evaluation, len(rows))
        size = _largest_fitting(
            lambda count: peak_memory(lambda: compute(rows[:count]), device), execution, most, 0, name
        )
        micro_batch.evaluation = size if size < most else micro_batch.evaluation


def _largest_fitting(peak: Callable[[int], int], execution: Execution, most: int, reserve: int, name: str) -> int:
    size = largest_fitting(peak, execution.memory, most, reserve)
    if size < most:
        log.info("%s: %d windows at once fit into %g GiB of memory", name, size, execution.memory)
    return size


def compile_model(
    model: nn.Module, source: Source, train: Sequence[int], micro_batch: MicroBatchSize, precision: str, name: str
) -> bool:
    """Compile ``model`` in place with torch.compile; return False, with a log line, if that fails."""
    model.compile()
    batch, labels = _first(model, source, train, min(2, len(train)))
    try:
        with dry_run_step(model):
            gradients(
                model, batch, labels, MicroBatchSize(micro_batch.training, micro_batch.evaluation), precision, 0.0, name
            )
    except Exception as error:
        if out_of_memory(error):
            raise
        uncompile(model)
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        log.warning("%s: torch.compile failed (%s); training continues without it.", name, reason)
        return False
    return True


def uncompile(model: nn.Module) -> None:
    """Undo ``model.compile()`` of the model and its parts."""
    for part in model.modules():
        part._compiled_call_impl = None


def _first(model: nn.Module, source: Source, train: Sequence[int], count: int) -> tuple[Batch, Tensor]:
    rows = torch.as_tensor(train[:count], dtype=torch.int64)
    with stream(model, source, [rows], None, torch.device("cpu")) as batches:
        return next(iter(batches)), source.labels[rows]
