"""Executors run workers; all have the same interface (start, find, poll, stop).

An executor gets a run's folder and execution settings; the worker communicates only through the run's files. With
``find`` a new scheduler finds the jobs of a scheduler that was killed.

There are two kinds of executors. For ``local``, the scheduler waits for slots (cores, memory and GPUs of this machine)
and passes them to the job; the run is marked as running before its process starts. ``ray`` and ``slurm`` have their own
queue: the job is submitted at once and waits there, the run stays "queued" with a reason, and its worker marks it as
running when it starts. The name of such a job is written into the run's status before the job is submitted (``job``:
executor, name), so that after any crash it is found instead of being started twice.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from eavdash.config.schema import Execution
from eavdash.errors import UsageError
from eavdash.store import RunDir

#: Prefix of a sentence of :meth:`Executor.check` about a requirement that could not be checked in time.
NOTE = "not checked: "
#: Environment variable with the name of an executor's queued job; the worker compares it with the run's status.
JOB_VARIABLE = "EAVDASH_JOB"


@dataclass(frozen=True)
class Exit:
    """End of a job.

    ``code`` is its exit code (negative: the signal that killed it), or None if unknown. ``reason`` is the executor's
    reason ("its time limit was reached"), if any. ``external_cause``: the run is not at fault (its node was lost, or
    another job preempted it), so this end never counts towards its failure.
    """

    code: int | None = None
    reason: str = ""
    external_cause: bool = False


@dataclass(frozen=True)
class Leases:
    """Resources of this machine that a job holds: descriptors that its process inherits, and its variables."""

    descriptors: Sequence[int] = ()
    environment: dict[str, str] = field(default_factory=dict)


class Executor(Protocol):
    """Interface of an executor. A job is an object that only the executor itself interprets."""

    #: True if jobs wait in the executor's own queue rather than for slots of this machine.
    has_queue: ClassVar[bool]

    def start(self, run: RunDir, settings: Execution, leases: Leases, claim: Callable[[], Any]) -> Any | None:
        """Launch the run's worker and return its job; None if another process is computing the run.

        ``claim()`` is called before the launch, once no other process can start the run; if it raises, nothing is
        launched. For an executor with its own queue, ``claim()`` sets the job's name, ``run.status().job.name``.

        Raises:
            QueueError: the executor rejects the job; the scheduler tries again later.
        """

    def find(self, run: RunDir) -> Any | None:
        """Return the run's live or waiting job, even if another process launched it; None if there is none."""

    def poll(self, job: Any) -> Exit | None:
        """Return how the job ended, after killing leftover processes; None while it is alive or waits."""

    def waiting_reason(self, job: Any) -> str:
        """Return why a job has not started yet ("SLURM job 12: Resources"); empty once it has started."""

    def stop(self, job: Any) -> None:
        """End the job and all processes that it started; return when none is left."""

    def check(self, root: Path, settings: Execution) -> list[str]:
        """Return a sentence for each requirement that is not met (see :func:`eavdash.errors.sentence`).

        A sentence that begins with :data:`NOTE` names a requirement that could not be checked in time. Checked before
        anything is queued: commands and services, shared storage of the checkpoints folder ``root``, the Python
        environment of the nodes, and whether the executor could ever provide the resources in ``settings``.
        """


_CLASSES = {"local": "LocalExecutor", "ray": "RayExecutor", "slurm": "SlurmExecutor"}
_executors: dict[str, Executor] = {}
_executors_lock = threading.Lock()


def get_executor(name: str) -> Executor:
    """Return the executor of that name, one instance per process.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in _CLASSES:
        known = ", ".join(_CLASSES)
        raise UsageError.at("executor", expected=f"one of {known}", found=repr(name), remedy="choose one of them")
    with _executors_lock:
        if name not in _executors:
            # Imported on demand: an executor's dependencies are loaded only where it is used.
            module = importlib.import_module(f"eavdash.jobs.executors.{name}")
            _executors[name] = getattr(module, _CLASSES[name])()
        return _executors[name]
