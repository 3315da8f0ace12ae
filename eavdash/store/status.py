"""The status of a run: its fields, the legal changes of its state, the history of attempts, and liveness.

:class:`JobStatus` and the changes of state also hold for background tasks (:mod:`eavdash.store.task`).

"Paused" is not a state of a run but of its study. "Waiting" (blocked, by runs that may still be done) and "not
responding" are not states either: they are derived here, the latter from the run's lock and heartbeat. "Damaged" (done,
but a result file is missing or changed) is derived by
:meth:`eavdash.store.RunDir.live_status`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import ConfigDict, Field

from eavdash.store.atomic import boot_clock, disk_full, host, is_locked
from eavdash.store.record import UNWRITTEN, FromList, Part, Record, Texts, Whole

State = Literal["queued", "blocked", "running", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
#: Every legal change of state. ``running → queued``: the process died; the run will resume from its last epoch.
TRANSITIONS: dict[str, frozenset[str]] = {
    "queued": frozenset({"running", "blocked", "failed", "cancelled"}),
    "blocked": frozenset({"queued", "running", "failed", "cancelled"}),
    "running": frozenset({"done", "failed", "cancelled", "queued"}),
    "done": frozenset({"queued"}),
    "failed": frozenset({"queued"}),
    "cancelled": frozenset({"queued"}),
}
#: Seconds between a worker's heartbeats; age of the last one at which a run is shown as not responding.
HEARTBEAT_EVERY = 2.0
HEARTBEAT_LOST = 10.0
#: Names of the phases in which a run starts and in which its epochs are counted.
STARTING, TRAINING = "starting", "training"
#: Attempts that a run's history keeps.
HISTORY = 50


class JobRecord(Part):
    """A run's job on its executor."""

    executor: str = "local"
    name: str = ""
    address: str | None = None  # of a Ray cluster
    handed: float | None = None  # when it was given to Ray, in seconds since 1970


class Usage(Part):
    """CPU and GPU (percent) and memory (bytes) that a worker and its children use."""

    cpu: float | None = None
    rss: Whole | None = None
    peak: Whole | None = None
    gpu: float | None = None
    gpu_memory: Whole | None = None


class Phase(Part):
    """The phase that a running run is in: its name and, where that is counted, how much is done."""

    name: str = ""
    done: Whole = 0
    total: Whole = 0


class Attempt(Part):
    """An attempt that has ended: where it ran, which epochs it finished, and how it ended."""

    attempt: Whole = 0
    host: str | None = None
    executor: str = "local"
    started: float | None = None
    finished: float | None = None
    from_epoch: Whole = 0
    epoch: Whole = 0
    state: str = ""
    reason: str = ""


class JobStatus(Record):
    """The fields that the statuses of runs and of background tasks share. Times are in seconds since 1970."""

    without_none = True
    state: State
    attempt: Whole = 0
    reason: str = ""
    submission: str | None = None  # id of the request that queued it; None: it was never queued
    task: str | None = None  # distinguishes a task of the queue from a lost one of the same request
    folders: Texts | None = UNWRITTEN  # that who requested it may read; None: all
    cancel: str | bool | None = None  # id of a request to stop its process or job
    changed: float | None = None
    started: float | None = None
    finished: float | None = None
    heartbeat: float | None = None
    beat: Annotated[tuple[str, float], FromList] | None = None  # boot id and seconds since boot of the last heartbeat
    host: str | None = None
    pid: Whole | None = None

    @property
    def ended(self) -> bool:
        """True if it will not change by itself."""
        return self.state in ("done", "failed", "cancelled")

    def changed_to(self, state: str, fields: Mapping[str, Any]) -> Self:
        """Return the status after a change to ``state`` with ``fields``."""
        return self.replace(**fields, state=state, changed=time.time())


class RunStatus(JobStatus):
    """The content of a run's status.json. Accuracies are fractions of the test trials."""

    model_config = ConfigDict(title="a run's status")

    epoch: Whole = 0
    epochs: Whole = 0
    execution: dict[str, Any] = Field(default={})  # settings: config.convert.execution_of
    halt: str | None = None  # why the job is stopped, if it is to be resumed
    job: JobRecord | None = None
    launch: Whole = 0
    blocked_by: Annotated[tuple[str, ...], FromList] = ()
    unusable: bool = False  # its recordings cannot be used
    kills: Whole = 0
    killed_epoch: Whole = -1
    from_epoch: Whole = 0
    phase: Phase | None = None  # only while it is running
    usage: Usage = Usage()
    peak: Whole | None = None
    accuracy: float | None = None
    honest_accuracy: float | None = None
    n: Whole | None = None
    best_epoch: Whole | None = None
    history: Annotated[tuple[Attempt, ...], FromList] = ()
    checksums: dict[str, str] = Field(default={})
    sizes: dict[str, Whole] = Field(default={})

    @property
    def ended(self) -> bool:
        """True if the run will not change by itself: it has ended, or a parent that will not finish blocks it."""
        return (self.state == "blocked" and bool(self.blocked_by)) or super().ended

    @property
    def named(self) -> str:
        """The state for users: one that waits for runs of which none has failed is "waiting", not "blocked"."""
        return "waiting" if self.state == "blocked" and not self.blocked_by else self.state

    @property
    def doing(self) -> str:
        """The phase of a run, such as ``reading windows 40/60`` or ``epoch 3 of 15``; empty if it is not known."""
        if self.state != "running" or self.phase is None:
            return ""
        name, done, total = self.phase.name, self.phase.done, self.phase.total
        if name == TRAINING:  # the phase is written more rarely than the epochs
            return f"epoch {min(max(done, self.epoch) + 1, total)} of {total}"
        return f"{name} {done}/{total}" if total else name

    @property
    def job_name(self) -> str:
        """The name of its job in the executor's queue; empty if it has none."""
        return self.job.name if self.job else ""

    def changed_to(self, state: str, fields: Mapping[str, Any]) -> Self:
        """Return the status after a change to ``state`` with ``fields``; an attempt that it ends joins the history.

        The phase ends with the state or with the attempt, so that none outlives its process.
        """
        goes_on = self.state == state == "running" and fields.get("attempt", self.attempt) == self.attempt
        phase = self.phase if goes_on else Phase(name=STARTING) if state == "running" else None
        after = super().changed_to(state, {"phase": phase, **fields})
        if self.state != "running" or state == "running":
            return after
        attempt = Attempt(
            attempt=self.attempt,
            host=self.host,
            executor=self.job.executor if self.job else "local",
            started=self.started,
            finished=fields.get("finished") or time.time(),
            from_epoch=self.from_epoch,
            epoch=fields.get("epoch") or self.epoch,
            state=state,
            reason=fields.get("reason") or "",
        )
        return after.replace(history=(*self.history, attempt)[-HISTORY:])


@dataclass(frozen=True)
class LiveStatus:
    """A run's status and what is observed now: ``shown`` is its state, "waiting", "not responding" or "damaged"."""

    status: RunStatus
    shown: str
    reason: str


def observed(path: Path, status: RunStatus) -> LiveStatus:
    """Return what is observed of the run in folder ``path``."""
    if status.state != "running":
        return LiveStatus(status, status.named, status.reason)
    here = status.host == host()
    if here and not is_locked(path / ".lock"):
        reason = "its process is gone; the queue will resume it from the last finished epoch"
    elif (age := seconds_silent(path, status, here)) > HEARTBEAT_LOST:
        reason = (
            f"no heartbeat for {age:.0f} s: its process is stopped or its machine is busy; wait until it continues, "
            "or cancel and retry it: the last finished epoch is kept"
        )
    else:
        return LiveStatus(status, status.state, status.reason)
    return LiveStatus(status, "not responding", disk_full(path) or reason)  # on a full disk no heartbeat can be written


def seconds_silent(path: Path, status: JobStatus, here: bool) -> float:
    """Return the seconds since the last heartbeat, independent of changes to any machine's clock."""
    heartbeat = status.heartbeat or 0.0
    boot, now = boot_clock()
    then = status.beat or ("", 0.0)
    if here and then[0] == boot:
        return now - then[1]
    if here:
        return max(0.0, time.time() - heartbeat)
    # Another machine's clock may be wrong: after its heartbeat has been seen to change, count from that change.
    with _seen_lock:
        seen = _seen.get(str(path))
        if seen is None or seen[0] != heartbeat:
            if len(_seen) > 50_000:
                _seen.clear()
            _seen[str(path)] = (heartbeat, now, seen is not None)
            return 0.0 if seen else max(0.0, time.time() - heartbeat)
        since = now - seen[1]
        return since if seen[2] else max(since, time.time() - heartbeat)


# By run: heartbeat, time at which it was first seen, True if it was seen to change.
_seen: dict[str, tuple[float, float, bool]] = {}
_seen_lock = threading.Lock()
