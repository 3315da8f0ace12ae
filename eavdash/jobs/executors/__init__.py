"""Places to run a worker: the same verbs (start, find, look, stop) for each.

A place is handed a run's folder and how it is to be computed: the worker reads what to do from its files, and says in
them how it went. ``find`` is how a new conductor meets the jobs that a killed one has left behind.

Two kinds of place. *Own* slots (``local``): the conductor waits for cores, memory and GPUs of this machine and hands
them to the job; the run is claimed as running before its process starts. A *queue* of the place's own (``ray``,
``slurm``): the job is handed over at once and waits there, the run stays "queued" with a reason that says so, and its
worker claims it when it begins. Such a job is known by a name that is written into the run's status before it is
handed over (``job``: executor, name), so that after any crash it is found instead of being started twice.
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

#: What a sentence of :meth:`Executor.check` begins with that is no refusal: there was no time to look.
NOTE = "not checked: "
#: Environment variable with the name of a job of a place with its own queue; the worker compares it with its run's.
JOB_VARIABLE = "EAVDASH_JOB"


@dataclass(frozen=True)
class Exit:
    """How a job ended.

    ``code`` is its exit code (negative: the signal that killed it), or None when nobody was there to see. ``reason`` is
    what the place says of the end ("its time limit was over"), empty if nothing. ``blameless``: it was the place that
    did it (its node was lost, another job went first), which is not held against the run however often it happens.
    """

    code: int | None = None
    reason: str = ""
    external_cause: bool = False


@dataclass(frozen=True)
class Leases:
    """What a job holds of this machine: open descriptors that its process inherits, and variables for it."""

    descriptors: Sequence[int] = ()
    environment: dict[str, str] = field(default_factory=dict)


class Executor(Protocol):
    """One place. A job is whatever the place needs to recognise it again."""

    #: Whether jobs wait in the place's own queue rather than for slots of this machine.
    has_queue: ClassVar[bool]

    def start(self, run: RunDir, settings: Execution, leases: Leases, claim: Callable[[], Any]) -> Any | None:
        """Launch the run's worker; None when somebody else is computing the run.

        ``claim()`` is called once nobody else can start the run and before anything is launched; what it raises ends
        the matter. For a place with its own queue, ``run.status()["job"]["name"]`` is the job's name after it.

        Raises:
            QueueError: the place does not take the job, with a sentence why; it is asked again later.
        """

    def find(self, run: RunDir) -> Any | None:
        """The run's job if one lives or waits, whoever launched it."""

    def poll(self, job: Any) -> Exit | None:
        """How the job ended; None while it lives or waits. When it has ended, nothing of it is left."""

    def waiting_reason(self, job: Any) -> str:
        """Where a job that has not begun waits, and for what ("SLURM job 12: Resources"); empty once it has begun."""

    def stop(self, job: Any) -> None:
        """End the job and all that it started; returns when nothing of it is left."""

    def check(self, root: Path, settings: Execution) -> list[str]:
        """A sentence for each requirement that is not met: what was expected, what was found, what to do.

        A sentence that begins with :data:`NOTE` says what could not be looked at in time, which refuses nothing.
        Looked at before anything is queued: commands and services, shared storage of the checkpoints folder ``root``,
        the Python environment over there, and whether the place could ever give what ``settings`` asks for.
        """


_CLASSES = {"local": "LocalExecutor", "ray": "RayExecutor", "slurm": "SlurmExecutor"}
_executors: dict[str, Executor] = {}
_executors_lock = threading.Lock()


def get_executor(name: str) -> Executor:
    """The place of that name, the same one for all who ask in this process.

    Raises:
        UsageError: there is none.
    """
    if name not in _CLASSES:
        known = ", ".join(_CLASSES)
        raise UsageError.at("executor", expected=f"one of {known}", found=repr(name), remedy="choose one of them")
    with _executors_lock:
        if name not in _executors:
            # When it is asked for, not before: what a place needs is loaded only where the place is used.
            module = importlib.import_module(f"eavdash.jobs.executors.{name}")
            _executors[name] = getattr(module, _CLASSES[name])()
        return _executors[name]
