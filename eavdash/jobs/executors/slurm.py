"""SLURM: one job per run, by the commands that every site has (sbatch, squeue, scancel, scontrol).

A job is known by its name, which stands in the run's status before sbatch is called: after any crash it is found under
that name instead of being submitted twice. All runs share one ``squeue``, asked once a second at most; a controller
that does not answer is no news of any job. Accounting (``sacct``) is not needed: why a job ended is asked of the
controller while it remembers the job, and afterwards the run's own files say how far it came.

SIGTERM (scancel, preemption, the time limit) ends the worker at once, for its last finished epoch is on disk. A job
that SLURM puts back into its queue keeps its number and its name, and goes on from that epoch when it begins again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from eavdash.config.schema import Execution
from eavdash.errors import ConfigError, EavdashError, QueueError
from eavdash.jobs.executors import JOB_VARIABLE, Exit, Leases
from eavdash.jobs.executors.local import RUN_VARIABLE, worker_command, worker_environment
from eavdash.jobs.executors.slurm_commands import (
    ENDED_STATES,
    NoAnswerError,
    RejectedError,
    Row,
    Sbatch,
    Squeue,
    batch_script,
    call,
    details,
    log_options,
)
from eavdash.jobs.executors.slurm_options import options
from eavdash.store import RunDir
from eavdash.store.status import ended

#: Of those, the ones in which SLURM has ended a job that did nothing wrong.
EXTERNAL_CAUSES = {"BOOT_FAIL", "NODE_FAIL", "PREEMPTED"}
WAITING_STATES = {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "CONFIGURING"}
#: Reasons for which a job waits for ever, in words.
PERMANENT_REASONS = {
    "PartitionTimeLimit": "the time that it asks for is longer than its partition allows",
    "PartitionNodeLimit": "it asks for more or fewer nodes than its partition allows",
    "PartitionConfig": "no node of its partition has what it asks for",
    "BadConstraints": "no node has what it asks for",
    "InvalidAccount": "its account is not valid",
    "AccountNotAllowed": "its account may not use this partition",
    "InvalidQOS": "its QOS is not valid",
    "QOSNotAllowed": "its QOS may not be used here",
    "QOSMaxWallDurationPerJobLimit": "the time that it asks for is longer than its QOS allows",
    "AssocMaxWallDurationPerJobLimit": "the time that it asks for is longer than its account allows",
    "QOSMaxCpuPerJobLimit": "it asks for more cores than its QOS allows",
    "QOSMaxMemoryPerJob": "it asks for more memory than its QOS allows",
    "JobHeldUser": "it is held; let it go with: scontrol release",
    "JobHeldAdmin": "an administrator holds it",
}
#: Reasons for which SLURM gives a job up although it could begin anew: such a job is replaced by a new one.
ABANDONED_REASONS = {
    "JobHoldMaxRequeue": "SLURM has put it back into its queue too often",
    "launch failed requeued held": "SLURM could not launch it",
    "launch_failed_requeued_held": "SLURM could not launch it",
}


@dataclass(frozen=True)
class Job:
    """A run's job, under the name that its status gives it."""

    run: RunDir
    name: str


@dataclass(frozen=True)
class SlurmExecutor:
    """``command`` is what is run, with the run's folder behind it; ``patience`` in seconds is given to a cancelled
    job before its end is called into question."""

    has_queue: ClassVar[bool] = True

    command: tuple[str, ...] = field(default_factory=lambda: worker_command())
    patience: float = 90.0
    squeue: Squeue = field(default_factory=Squeue)
    sbatch: Sbatch = field(default_factory=Sbatch)

    def start(self, run: RunDir, settings: Execution, leases: Leases, claim: Callable[[], Any]) -> Job | None:
        """See :class:`eavdash.jobs.executors.Executor`."""
        before = dict(run.status().get("job") or {}).get("name")
        claim()
        job = Job(run, str(run.status()["job"]["name"]))
        if job.name == before and self._live_jobs(job):
            return job  # whoever submitted it did not live to hear the answer
        own = ["--requeue", f"--job-name={job.name}", *log_options(run.log_file)]
        variables = {RUN_VARIABLE: str(run.path), JOB_VARIABLE: job.name, **leases.environment}
        script = batch_script((*self.command, str(run.path)), variables)
        try:
            self.sbatch(options(settings), own, script, worker_environment(settings.threads))
        except ConfigError as error:
            raise QueueError(str(error)) from error
        except (NoAnswerError, RejectedError) as error:
            raise QueueError.at(
                "SLURM", expected="a job that it takes", found=str(error), remedy="it is asked again"
            ) from error
        finally:
            self.squeue.submitted(job.name)
        return job

    def find(self, run: RunDir) -> Job | None:
        """See :class:`eavdash.jobs.executors.Executor`.

        Raises:
            QueueError: the controller does not answer: nobody knows.
        """
        known = dict(run.status().get("job") or {})
        if known.get("executor") != "slurm" or not known.get("name"):
            return None
        job = Job(run, str(known["name"]))
        return job if self._live_jobs(job) else None

    def poll(self, job: Job) -> Exit | None:
        """See :class:`eavdash.jobs.executors.Executor`."""
        try:
            rows = self.squeue.named(job.name)
            if alive := [row for row in rows if row.state not in ENDED_STATES]:
                self._cancel_obsolete(job, alive)
                return None
            if not rows:
                return None if _has_heartbeat(job.run) else Exit(None, "SLURM no longer knows its job")
            last = max(rows, key=lambda row: row.number)
            detail = details(last.id)
        except NoAnswerError:
            return None
        state = detail.get("JobState", last.state)
        if state not in ENDED_STATES or (state in ("NODE_FAIL", "BOOT_FAIL") and _has_heartbeat(job.run)):
            return None  # it was put back into the queue meanwhile, or only the node's daemon is lost
        return slurm_exit(last, state, detail)

    def waiting_reason(self, job: Job) -> str:
        """See :class:`eavdash.jobs.executors.Executor`; while the controller does not answer: what it said last."""
        with contextlib.suppress(NoAnswerError):
            self.squeue.named(job.name)
        rows = [row for row in self.squeue.last(job.name) if row.state not in ENDED_STATES]
        row = rows[0] if rows else None
        if row is not None and row.state in WAITING_STATES:
            reason = row.reason if row.reason not in ("", "None") else row.state.capitalize()
            never = PERMANENT_REASONS.get(reason.strip("()"))
            remedy = f", which does not pass: {never}; cancel the run or mend its --slurm options" if never else ""
            return f"SLURM job {row.id}: {reason}{remedy}"
        return ""

    def stop(self, job: Job) -> None:
        """See :class:`eavdash.jobs.executors.Executor`.

        Raises:
            QueueError: the controller does not answer, or the job does not end.
        """
        deadline = time.monotonic() + self.patience
        told = 0.0
        while rows := self._live_jobs(job):
            now = time.monotonic()
            if now > deadline:
                raise QueueError.at(
                    f"SLURM job {rows[0].id}",
                    expected=f"an end within {self.patience:g} s of its cancellation",
                    found=f"{rows[0].state} on {rows[0].nodes or 'no node'}",
                    remedy="look at the node (scontrol show node); it is asked again",
                )
            if now > told + 10:  # again, should it have been put back into the queue in this very moment
                told = now
                with contextlib.suppress(NoAnswerError, RejectedError):
                    call("scancel", *(row.id for row in rows))
            time.sleep(0.2)

    def check(self, root: Path, settings: Execution) -> list[str]:
        """See :class:`eavdash.jobs.executors.Executor`."""
        from eavdash.jobs.executors.slurm_check import check

        return check(root, settings)

    def _cancel_obsolete(self, job: Job, alive: list[Row]) -> None:
        """Cancel a job that waits for nothing: SLURM has given it up; or its run has ended, for its worker outlived the
        loss of its node, and finished while SLURM had put the job back into its queue."""
        if all(row.state in WAITING_STATES for row in alive):
            with contextlib.suppress(EavdashError, NoAnswerError, RejectedError):
                if ended(job.run.status()) or any(row.reason.strip("()") in ABANDONED_REASONS for row in alive):
                    call("scancel", *(row.id for row in alive))

    def _live_jobs(self, job: Job) -> list[Row]:
        """The jobs of that name that are not over; several only if a submission was repeated by accident.

        Raises:
            QueueError: the controller does not answer.
        """
        try:
            return [row for row in self.squeue.named(job.name) if row.state not in ENDED_STATES]
        except NoAnswerError as error:
            raise QueueError.at(
                "SLURM", expected="an answer of its controller", found=str(error), remedy="it is asked again"
            ) from error


def slurm_exit(row: Row, state: str, detail: dict[str, str]) -> Exit:
    """What SLURM says of a job that is over, as an exit code and a reason."""
    code, _, number = detail.get("ExitCode", "").partition(":")
    ended: int | None = int(code) if code.isdecimal() else None
    if number.isdecimal() and 0 < int(number) < 65:
        ended = -int(number)
    node = detail.get("NodeList") or row.nodes or "an unknown node"
    reasons = {
        "TIMEOUT": f"SLURM job {row.id}: its time limit of {detail.get('TimeLimit', '?')} was over on {node}",
        "OUT_OF_MEMORY": f"SLURM job {row.id}: it needed more memory than it was given on {node}; ask for more (--ram)",
        "NODE_FAIL": f"SLURM job {row.id}: its node {node} was lost",
        "BOOT_FAIL": f"SLURM job {row.id}: its node {node} did not start",
        "PREEMPTED": f"SLURM job {row.id}: it had to give way to another on {node}",
        "DEADLINE": f"SLURM job {row.id}: its deadline was over",
        "CANCELLED": f"SLURM job {row.id}: {ABANDONED_REASONS.get(row.reason.strip('()'), 'it was cancelled in SLURM')}",
    }
    if state in ("OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL"):
        ended = -9
    elif state in reasons:
        ended = -15
    return Exit(ended, reasons.get(state, ""), external_cause=state in EXTERNAL_CAUSES)


def _has_heartbeat(run: RunDir) -> bool:
    """Whether a worker lives on although SLURM has lost it: its node may only have lost touch with the controller."""
    try:
        return run.live_status()["shown"] == "running" and run.locked()
    except EavdashError:
        return False
