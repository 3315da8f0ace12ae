"""Before a phase's first step: the micro-batch that fits a memory budget is measured, and the model is compiled.

Both rehearse steps on the phase's first windows without leaving a trace (:func:`eavdash.training.step.rehearsal`). What
is computed without gradients before any step (frozen features, a first evaluation) keeps within the same budget.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eavdash.config.schema import Execution
from eavdash.training.loading import Batch, stream
from eavdash.training.memory import Pieces, fitting, out_of_memory, peak_of
from eavdash.training.precision import device_of
from eavdash.training.step import gradients, optimiser_bytes, peak, rehearsal

log = logging.getLogger(__name__)
HERE = Execution()  # with as much memory as there is


def within_budget(
    model: nn.Module, source: Any, train: Sequence[int], pieces: Pieces, execution: Execution, precision: str, name: str
) -> None:
    """Lower ``pieces`` to what ``execution.memory`` allows, as measured on a GPU with one and two windows.

    On a CPU memory is shared with everything else and torch does not report its peak: there nothing is measured, and
    the log says what to set instead.
    """
    if not execution.memory:
        return
    if device_of(model).type != "cuda":
        log.warning("%s: --memory is measured on a GPU only; on a CPU set train.STAGE.micro_batch instead.", name)
        return

    def of(count: int) -> int:
        batch, labels = _first(model, source, train, count)
        return peak(model, batch, labels, precision)

    size = _fitting(of, execution, pieces.training, optimiser_bytes(model), name)
    pieces.training, pieces.evaluation = size, min(pieces.evaluation, 2 * size)


def frozen_within_budget(
    compute: Callable[[Tensor], object],
    rows: Tensor,
    pieces: Pieces,
    execution: Execution,
    device: torch.device,
    name: str,
) -> None:
    """Lower ``pieces.evaluation`` to what ``execution.memory`` allows ``compute``, without gradients, of ``rows``.

    As measured on a GPU with one and two windows; nothing on a CPU (:func:`within_budget` says so in the log).
    """
    if execution.memory and device.type == "cuda":
        most = min(pieces.evaluation, len(rows))
        size = _fitting(lambda count: peak_of(lambda: compute(rows[:count]), device), execution, most, 0, name)
        pieces.evaluation = size if size < most else pieces.evaluation


def _fitting(peak: Callable[[int], int], execution: Execution, most: int, reserve: int, name: str) -> int:
    size = fitting(peak, execution.memory, most, reserve)
    if size < most:
        log.info("%s: %d windows at once fit into %g GiB", name, size, execution.memory)
    return size


def compiled(model: nn.Module, source: Any, train: Sequence[int], pieces: Pieces, precision: str, name: str) -> bool:
    """Compile ``model`` in place by torch.compile; False, and a line in the log, where that does not work."""
    model.compile()
    batch, labels = _first(model, source, train, min(2, len(train)))
    try:
        with rehearsal(model):
            gradients(model, batch, labels, Pieces(pieces.training, pieces.evaluation), precision, 0.0, name)
    except Exception as error:
        if out_of_memory(error):
            raise
        plain(model)
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        log.warning("%s: torch.compile failed (%s); training goes on without it.", name, reason)
        return False
    return True


def plain(model: nn.Module) -> None:
    """Undo ``model.compile()``, also where it has compiled parts of the model."""
    for part in model.modules():
        part._compiled_call_impl = None


def _first(model: nn.Module, source: Any, train: Sequence[int], count: int) -> tuple[Batch, Tensor]:
    rows = torch.as_tensor(train[:count], dtype=torch.int64)
    with stream(model, source, [rows], None, torch.device("cpu")) as batches:
        return next(iter(batches)), source.labels[rows]
