"""Executor for SLURM: one job per run, with the commands that every site has (sbatch, squeue, scancel, scontrol).

A job is identified by its name, which is written into the run's status before sbatch is called: after any crash it is
found under that name instead of being submitted twice. All runs share one ``squeue``, called at most once a second; if
the controller does not answer, no job changes its state. Accounting (``sacct``) is not needed: the controller knows why
a job ended for a while, and the run's own files contain its progress.

SIGTERM (scancel, preemption, time limit) ends the worker at once; its last finished epoch is on disk. A job that SLURM
requeues keeps its id and its name, and resumes from that epoch when it starts again.
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
from eavdash.store.own_files import own_file

#: Final states of a job that is not at fault.
EXTERNAL_CAUSES = {"BOOT_FAIL", "NODE_FAIL", "PREEMPTED"}
WAITING_STATES = {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "CONFIGURING"}
#: SLURM's reasons for which a job waits forever, with explanations.
PERMANENT_REASONS = {
    "PartitionTimeLimit": "it requests more time than its partition allows",
    "PartitionNodeLimit": "it requests more or fewer nodes than its partition allows",
    "PartitionConfig": "no node of its partition has the requested resources",
    "BadConstraints": "no node has the requested features",
    "InvalidAccount": "its account is not valid",
    "AccountNotAllowed": "its account may not use this partition",
    "InvalidQOS": "its QOS is not valid",
    "QOSNotAllowed": "its QOS may not be used here",
    "QOSMaxWallDurationPerJobLimit": "it requests more time than its QOS allows",
    "AssocMaxWallDurationPerJobLimit": "it requests more time than its account allows",
    "QOSMaxCpuPerJobLimit": "it requests more cores than its QOS allows",
    "QOSMaxMemoryPerJob": "it requests more memory than its QOS allows",
    "JobHeldUser": "it is held; release it with: scontrol release",
    "JobHeldAdmin": "an administrator holds it",
}
#: Reasons for which SLURM holds a job that could start again: such a job is replaced by a new one.
ABANDONED_REASONS = {
    "JobHoldMaxRequeue": "SLURM has requeued it too often",
    "launch failed requeued held": "SLURM could not launch it",
    "launch_failed_requeued_held": "SLURM could not launch it",
}


@dataclass(frozen=True)
class Job:
    """A run's job; ``name`` is the one in the run's status."""

    run: RunDir
    name: str


@dataclass(frozen=True)
class SlurmExecutor:
    """Runs ``command`` with the run's folder as argument; ``stop_timeout``: seconds until a cancelled job must have
    ended."""

    has_queue: ClassVar[bool] = True

    command: tuple[str, ...] = field(default_factory=lambda: worker_command())
    stop_timeout: float = 90.0
    squeue: Squeue = field(default_factory=Squeue)
    sbatch: Sbatch = field(default_factory=Sbatch)

    def start(self, run: RunDir, settings: Execution, leases: Leases, claim: Callable[[], Any]) -> Job | None:
        """See :class:`eavdash.jobs.executors.Executor`."""
        before = run.status().job_name
        claim()
        job = Job(run, run.status().job_name)
        if job.name == before and self._live_jobs(job):
            return job  # an earlier scheduler submitted it and was killed before the answer
        with QueueError.from_os(run.log_file, expected="a log that can be written", remedy="remove it"):
            own_file(run.log_file, "ab").close()  # its cluster opens it by name
        own = ["--requeue", f"--job-name={job.name}", *log_options(run.log_file)]
        variables = {RUN_VARIABLE: str(run.path), JOB_VARIABLE: job.name, **leases.environment}
        script = batch_script((*self.command, str(run.path)), variables)
        try:
            self.sbatch(options(settings), own, script, worker_environment(settings.threads))
        except ConfigError as error:
            raise QueueError(str(error)) from error
        except (NoAnswerError, RejectedError) as error:
            raise QueueError.at(
                "SLURM", expected="to accept the job", found=str(error), remedy="wait: eavdash tries again"
            ) from error
        finally:
            self.squeue.submitted(job.name)
        return job

    def find(self, run: RunDir) -> Job | None:
        """See :class:`eavdash.jobs.executors.Executor`.

        Raises:
            QueueError: the controller does not answer, so the state of the job is unknown.
        """
        known = run.status().job
        if known is None or known.executor != "slurm" or not known.name:
            return None
        job = Job(run, known.name)
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
            return None  # it was requeued in the meantime, or only the node's daemon is lost
        return slurm_exit(last, state, detail)

    def waiting_reason(self, job: Job) -> str:
        """See :class:`eavdash.jobs.executors.Executor`; the last known reason if the controller does not answer."""
        with contextlib.suppress(NoAnswerError):
            self.squeue.named(job.name)
        rows = [row for row in self.squeue.last(job.name) if row.state not in ENDED_STATES]
        row = rows[0] if rows else None
        if row is not None and row.state in WAITING_STATES:
            reason = row.reason if row.reason not in ("", "None") else row.state.capitalize()
            permanent = PERMANENT_REASONS.get(reason.strip("()"))
            remedy = (
                f", which is permanent: {permanent}; cancel the run or fix its --slurm options" if permanent else ""
            )
            return f"SLURM job {row.id}: {reason}{remedy}"
        return ""

    def stop(self, job: Job) -> None:
        """See :class:`eavdash.jobs.executors.Executor`.

        Raises:
            QueueError: the controller does not answer, or the job does not end.
        """
        deadline = time.monotonic() + self.stop_timeout
        cancelled = 0.0
        while rows := self._live_jobs(job):
            now = time.monotonic()
            if now > deadline:
                raise QueueError.at(
                    f"SLURM job {rows[0].id}",
                    expected=f"to end within {self.stop_timeout:g} s of its cancellation",
                    found=f"{rows[0].state} on {rows[0].nodes or 'no node'}",
                    remedy="check the node (scontrol show node); eavdash tries again",
                )
            if now > cancelled + 10:  # repeated, because the job may have been requeued at the same moment
                cancelled = now
                with contextlib.suppress(NoAnswerError, RejectedError):
                    call("scancel", *(row.id for row in rows))
            time.sleep(0.2)

    def check(self, root: Path, settings: Execution) -> list[str]:
        """See :class:`eavdash.jobs.executors.Executor`."""
        from eavdash.jobs.executors.slurm_check import check

        return check(root, settings)

    def _cancel_obsolete(self, job: Job, alive: list[Row]) -> None:
        """Cancel a waiting job that SLURM holds permanently, or whose run has ended: a worker may outlive the loss of
        its node and finish after SLURM has requeued the job."""
        if all(row.state in WAITING_STATES for row in alive):
            with contextlib.suppress(EavdashError, NoAnswerError, RejectedError):
                if job.run.status().ended or any(row.reason.strip("()") in ABANDONED_REASONS for row in alive):
                    call("scancel", *(row.id for row in alive))

    def _live_jobs(self, job: Job) -> list[Row]:
        """Return the jobs of that name that have not ended; more than one only if a submission was repeated.

        Raises:
            QueueError: the controller does not answer.
        """
        try:
            return [row for row in self.squeue.named(job.name) if row.state not in ENDED_STATES]
        except NoAnswerError as error:
            raise QueueError.at(
                "SLURM",
                expected="an answer from its controller",
                found=str(error),
                remedy="wait: eavdash tries again",
            ) from error


def slurm_exit(row: Row, state: str, detail: dict[str, str]) -> Exit:
    """Return exit code and reason of a job that has ended, from SLURM's information."""
    code, _, number = detail.get("ExitCode", "").partition(":")
    ended: int | None = int(code) if code.isdecimal() else None
    if number.isdecimal() and 0 < int(number) < 65:
        ended = -int(number)
    node = detail.get("NodeList") or row.nodes or "an unknown node"
    reasons = {
        "TIMEOUT": f"SLURM job {row.id}: it reached its time limit of {detail.get('TimeLimit', '?')} on {node}",
        "OUT_OF_MEMORY": f"SLURM job {row.id}: it ran out of memory on {node}; request more (--ram)",
        "NODE_FAIL": f"SLURM job {row.id}: its node {node} was lost",
        "BOOT_FAIL": f"SLURM job {row.id}: its node {node} did not start",
        "PREEMPTED": f"SLURM job {row.id}: it was preempted by another job on {node}",
        "DEADLINE": f"SLURM job {row.id}: it passed its deadline",
        "CANCELLED": f"SLURM job {row.id}: {ABANDONED_REASONS.get(row.reason.strip('()'), 'cancelled in SLURM')}",
    }
    if state in ("OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL"):
        ended = -9
    elif state in reasons:
        ended = -15
    return Exit(ended, reasons.get(state, ""), external_cause=state in EXTERNAL_CAUSES)


def _has_heartbeat(run: RunDir) -> bool:
    """Return True if the worker is alive although SLURM has lost it: its node may only have lost its connection."""
    try:
        return run.live_status().shown == "running" and run.locked()
    except EavdashError:
        return False
