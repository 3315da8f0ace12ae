"""Entry point of the worker process: trains and tests one run.

In: a run folder with config.json inside a study with study.json and splits.csv. Out: in that folder config.json with
``model``, ``input``, ``left_out`` and ``baselines`` added, metrics.jsonl and resume.pt while training, then
model.safetensors, predictions.parquet, baselines.parquet, scores.parquet and, for fusion, attention.parquet and
shapley.parquet. The caller manages the run's state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from eavdash.config.schema import Execution
from eavdash.errors import TrainingError
from eavdash.models.seeds import reproducible
from eavdash.results.trial_scores import write_scores
from eavdash.store import RunDir
from eavdash.training import phases
from eavdash.training.encoder_baselines import write_baselines
from eavdash.training.loop import Report, StoppedError
from eavdash.training.memory import out_of_memory
from eavdash.training.run_context import open_run_context
from eavdash.training.stage1 import train_encoder
from eavdash.training.stage2 import train_fusion


def train_run(
    run: RunDir,
    *,
    device: str = "cpu",
    threads: int = 1,
    execution: Execution | None = None,
    report: Report | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    phase: phases.Listener | None = None,
) -> bool:
    """Train and test one run, resuming after its last finished epoch if it was interrupted.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:1`` ..., or ``auto`` (a GPU if there is one).
        threads: torch threads on the CPU. The same number of threads gives the same results, bit for bit.
        execution: compilation and memory budget; its device and threads are ignored in favour of the ones above.
        report: called with the line of metrics.jsonl after each epoch.
        should_stop: called before every batch; if it returns True, the run ends and keeps its finished epochs.
        phase: told what the run does (:mod:`eavdash.training.phases`).

    Returns:
        True if the run finished, False if ``should_stop()`` ended it early.

    Raises:
        EavdashError: the run failed.
    """
    where = torch_device(device)
    with reproducible(where, threads), phases.listening(phase):
        context = open_run_context(run, where, report, should_stop)
        if execution is not None:
            context = replace(context, execution=execution)
        try:
            if context.stage == "fusion":
                train_fusion(context)
            else:
                write_baselines(context, train_encoder(context))
            write_scores(run)
        except StoppedError:
            return False
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise TrainingError.at(
                f"{run.name} on {where.type}",
                expected="enough memory for one window at a time",
                found=str(error).split(". ")[0].strip() or "out of memory",
                remedy="run fewer jobs at once, choose another device, a smaller model or shorter windows",
            ) from error
    return True


def torch_device(name: str) -> torch.device:
    """Return the torch device of a name.

    Raises:
        TrainingError: there is no such device.
    """
    available = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if available else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or (
        device.type != "cpu"
        and (device.type != "cuda" or not available or (device.index or 0) >= torch.cuda.device_count())
    ):
        count = torch.cuda.device_count() if available else 0
        raise TrainingError.at(
            "device",
            expected="auto, cpu" + "".join(f", cuda:{i}" for i in range(count)),
            found=repr(name),
            remedy="choose one of them",
        )
    return device
