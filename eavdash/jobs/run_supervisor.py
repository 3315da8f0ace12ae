"""The scheduler's work on one run: supervise its job, stop it, release the runs that depend on it.

Each public method is a task of the queue and may be restarted from its beginning at any time (after a crash of the
scheduler). It therefore first checks the state: status.json contains the request and the job, and the executor knows
if that job is alive. A run's ``submission`` is the id of the request that queued it; a task with another request id is
out of date and does not touch the run.
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eavdash.config.convert import execution_of
from eavdash.errors import EavdashError, IntegrityError, QueueError, TrainingError, UsageError
from eavdash.jobs import clusters
from eavdash.jobs.broker import Broker
from eavdash.jobs.claiming import assign_job, claim, current_status, fail, is_current, update_waiting_reason
from eavdash.jobs.dependencies import release_children
from eavdash.jobs.executors import Executor, Exit, Leases
from eavdash.jobs.exit_state import EXIT_REASONS, state_after_exit
from eavdash.jobs.queue_tasks import activate, may_start
from eavdash.jobs.slots import Slots, need_of
from eavdash.store import RunDir, StudyDir
from eavdash.store.status import RunStatus

#: Consecutive failed starts (full disk, missing permissions) after which a run gives up its turn.
MAX_FAILED_STARTS = 5


@dataclass
class RunSupervisor:
    """Executor of the tasks of one checkpoints folder. ``get_executor``: returns the executor of a name."""

    root: Path
    broker: Broker
    get_executor: Callable[[str], Executor]
    slots: Slots
    peaks: dict[tuple[str, str], float] = field(default_factory=dict)  # by study and stage: peak memory in GiB

    def train(self, study: str, name: str, request_id: str | None) -> None:
        """Start the run's job and supervise it until the run ends, over as many attempts as needed."""
        run = StudyDir(self.root / study).run(name)
        failed_starts = 0
        while (status := current_status(run, request_id, "queued", "running")) is not None:
            waits = status.state == "queued" and not status.job
            if waits and (failed_starts >= MAX_FAILED_STARTS or not may_start(run)):
                # Either its study is paused, and resuming it queues the run again; or the run would only delay others,
                # and reconciling brings it back later.
                return
            try:
                executor = self._executor(run, status)
                try:
                    job = executor.find(run)
                except QueueError as error:
                    # An executor that does not answer says nothing about the job, but the user should see the reason.
                    if status.state == "queued" and status.reason != str(error):
                        expect = status.only("state", "submission", "cancel", "job")
                        run.transition("queued", expect=expect, reason=str(error))
                    time.sleep(1)
                    continue
                ended: Exit | None = None
                if job is None and (status.state == "running" or status.job):
                    # It died while no scheduler was running. Not counted as a kill: everything may have been killed.
                    self._write_outcome(run, request_id, Exit(), counted=False)
                    continue
                if job is None:
                    job, ended = self._start(run, request_id, status, executor)
                if job is not None:
                    ended = self._watch(run, request_id, executor, job)
                if ended is not None:
                    self._write_outcome(run, request_id, ended)
            except (QueueError, IntegrityError):
                # Cancelled, deleted or started by another process in the meantime, or the executor does not answer.
                time.sleep(0.1 if execution_of(status.execution).executor == "local" else 1)
            except UsageError as error:
                fail(run, request_id, str(error))  # unknown executor, or a cluster that nobody asked for
            except (TrainingError, OSError) as error:
                failed_starts += 1
                log_line(f"{study}/{name}: {error}")
                time.sleep(1)
        self._release_children(run)

    def stop(self, study: str, name: str, request_id: str | None) -> None:
        """End the run's job, then mark the run as cancelled: in this order, so that the state is always true."""
        run = StudyDir(self.root / study).run(name)
        while (status := current_status(run, request_id, "running", "queued", cancel=True)) is not None:
            try:
                executor = self._executor(run, status)
                job = executor.find(run)
                if job is not None:
                    log_line(f"{study}/{name}: stopping")
                    executor.stop(job)
                self._write_outcome(run, request_id, Exit())
            except UsageError as error:
                log_line(f"{study}/{name}: {error}")  # its job is none of this queue's: there is nothing to end
                self._write_outcome(run, request_id, Exit())
            except (EavdashError, OSError) as error:
                log_line(f"{study}/{name}: {error}")  # the executor does not answer, or the job does not end: try again
                time.sleep(5)
        activate(self.broker, [run])  # it may have been stopped to resume elsewhere
        self._release_children(run)

    def _executor(self, run: RunDir, status: RunStatus) -> Executor:
        """Return the executor that has the run's job, or else the one that will compute it.

        Raises:
            UsageError: there is none of that name, or this queue was not asked to use it for the run.
        """
        clusters.check(run, status)
        return self.get_executor(status.job.executor if status.job else execution_of(status.execution).executor)

    def _start(
        self, run: RunDir, request_id: str | None, status: RunStatus, executor: Executor
    ) -> tuple[Any | None, Exit | None]:
        """Launch the run, after waiting for a slot if the executor has no queue; return job, exit or neither."""
        settings = execution_of(status.execution)

        def still_wanted() -> bool:
            return current_status(run, request_id, "queued") is not None and may_start(run)

        if executor.has_queue:
            clusters.remember(self.root, settings)  # the address that the environment names now may change
            try:
                job = executor.start(run, settings, Leases(), lambda: assign_job(run, request_id))
            except QueueError as error:
                now = current_status(run, request_id, "queued")
                if now is not None and now.job and executor.find(run) is None:
                    # Rejected: no job of that name exists, and the user should see the reason.
                    expect = {"state": "queued", "submission": request_id, "cancel": None}
                    run.transition("queued", expect=expect, job=None, reason=str(error))
                    time.sleep(2)
                return None, None
            if job is not None:
                log_line(f"{run.study.name}/{run.name}: submitted to {settings.executor}")
            return job, None
        need = need_of(settings, self.slots.machine, settings.ram or self._expected(run))
        with self.slots.take(need, still_wanted) as leases:
            if leases is None:
                return None, None
            try:
                job = executor.start(run, settings, leases, lambda: claim(run, request_id))
            except OSError as error:
                if current_status(run, request_id, "queued") is None:
                    log_line(f"{run.path}: cannot be started: {error}")
                    return None, Exit(error.errno if error.errno in EXIT_REASONS else errno.ENOEXEC)
                # Nothing has started, and a later try may succeed; the user should see the reason.
                reason = f"cannot be started: {error.filename or run.path}: {error.strerror or error}"
                if run.status().reason != reason:
                    run.transition("queued", expect={"state": "queued", "submission": request_id}, reason=reason)
                raise
        if job is None:
            time.sleep(0.1)
        else:
            log_line(f"{run.study.name}/{run.name}: started")
        return job, None

    def _expected(self, run: RunDir) -> float:
        """Return the peak memory in GiB of earlier runs of this stage; 1 if none is known."""
        return self.peaks.get(_memory_key(run), 1.0)

    def _release_children(self, run: RunDir) -> None:
        """Release the runs that wait for a run that has ended, and record its peak memory."""
        try:
            status = run.status()
            if not status.ended:
                return
            if status.state == "done":  # a worker that was killed right at its end leaves its resume files behind
                for file in (run.resume_file, run.joint_resume_file):
                    file.unlink(missing_ok=True)
            if status.peak:
                key = _memory_key(run)
                self.peaks[key] = max(self.peaks.get(key, 0.0), status.peak / 2**30)
            if free := release_children(run):
                activate(self.broker, free)
        except (EavdashError, OSError) as error:
            log_line(f"{run.path}: {error}")  # reconciling will repeat it

    def _watch(self, run: RunDir, request_id: str | None, executor: Executor, job: Any) -> Exit:
        def is_wanted() -> bool:
            if (wanted := is_current(run, request_id)) and executor.has_queue:
                update_waiting_reason(run, request_id, executor.waiting_reason(job))
            return wanted

        return watch(executor, job, run.path, is_wanted, 1.0 if executor.has_queue else 0.1)

    def _write_outcome(self, run: RunDir, request_id: str | None, ended: Exit, counted: bool = True) -> None:
        """Write the state of a run whose job has ended without writing one."""

        def write() -> bool:
            status = current_status(run, request_id, "running", "queued", cancel=None)
            if status is None or (status.state == "queued" and not status.job and not status.cancel):
                return True
            expect = status.only("state", "submission", "cancel", "attempt")
            state, fields = state_after_exit(status, ended, counted and not ended.external_cause)
            run.transition(state, expect=expect, job=None, **fields)
            log_line(f"{run.study.name}/{run.name}: {state}{': ' if fields['reason'] else ''}{fields['reason']}")
            return True

        retry_until_written(write)


def watch(executor: Executor, job: Any, path: Path, is_wanted: Callable[[], bool], pause: float = 0.1) -> Exit:
    """Poll a job until it ends and return its exit; stop it once its folder was deleted or is another request's."""
    polls = 0
    while (ended := executor.poll(job)) is None:
        polls += 1
        if polls * pause >= 1:
            polls = 0
            if not is_wanted():
                log_line(f"{path}: gone, stopping its job")
                executor.stop(job)
        time.sleep(pause)
    return ended


def _memory_key(run: RunDir) -> tuple[str, str]:
    """Return study and stage: runs with the same pair need about the same memory."""
    with contextlib.suppress(IntegrityError):
        return run.study.name, run.config().stage
    return run.study.name, ""


def retry_until_written(write: Callable[[], bool]) -> bool:
    """Call ``write`` until it succeeds, also over a time in which the disk is full."""
    logged = ""
    while True:
        try:
            return write()
        except TrainingError as error:
            if str(error) != logged:
                logged = str(error)
                log_line(logged)
            time.sleep(1)
        except QueueError:
            continue  # the status changed between reading and writing: decide again


def log_line(text: str) -> None:
    """Write a line to the scheduler's log."""
    with contextlib.suppress(OSError):  # continue without a log if the disk is full
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", flush=True)
