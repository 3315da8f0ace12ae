"""Places to run a worker: the same verbs (start, find, look, stop) for each.

A place is handed a run's folder and nothing else: the worker reads what to do from its files, and says in them how it
went. ``find`` is how a new conductor meets the jobs that a killed one has left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from eavdash.store import RunDir


@dataclass(frozen=True)
class Exit:
    """How a job ended: its exit code (negative: the signal that killed it), or None when nobody was there to see."""

    code: int | None = None


class Executor(Protocol):
    """One place. A job is whatever the place needs to recognise it again."""

    def start(self, run: RunDir, *, threads: int, leases: Sequence[int], claim: Callable[[], Any]) -> Any | None:
        """Launch the run's worker; None when somebody else is computing the run.

        ``claim()`` is called once nobody else can start the run and before anything is launched; what it raises ends
        the matter. ``leases`` are descriptors for the job to hold until it is dead.
        """

    def find(self, run: RunDir) -> Any | None:
        """The run's job if one lives, whoever launched it."""

    def look(self, job: Any) -> Exit | None:
        """How the job ended; None while it lives. When it has ended, nothing of it is left."""

    def stop(self, job: Any) -> None:
        """End the job and all that it started; returns when nothing of it is left."""
