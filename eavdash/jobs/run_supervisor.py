"""What the conductor does for one run: see its job through, stop it, tell those that wait for it.

Each method is a task of the queue and may be started again from the top at any time (after a crash of the conductor),
so each begins by looking: status.json says what is wanted and where its job is, the place says whether that job
lives. A run's ``submission`` is the token of the request that put it into the queue; a task with another token is out
of date and leaves the run alone.
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
from eavdash.jobs.broker import Broker
from eavdash.jobs.claiming import assign_job, claim, current_status, fail, is_current, update_waiting_reason
from eavdash.jobs.dependencies import release_children
from eavdash.jobs.executors import Executor, Exit, Leases
from eavdash.jobs.exit_state import EXIT_REASONS, state_after_exit
from eavdash.jobs.slots import Slots, need_of
from eavdash.jobs.tasks import activate, may_start
from eavdash.store import RunDir, StudyDir
from eavdash.store.status import ended as is_over

#: How often in a row a run cannot be started for want of room or rights until it lets others have their turn.
MAX_FAILED_STARTS = 5


@dataclass
class RunSupervisor:
    """Carries out the tasks of one checkpoints folder. ``places``: how to come by the executor of a name."""

    root: Path
    broker: Broker
    get_executor: Callable[[str], Executor]
    slots: Slots
    peaks: dict[tuple[str, str], float] = field(default_factory=dict)  # study, stage → GiB that its runs took at most

    def train(self, study: str, name: str, request_id: str | None) -> None:
        """See the run through, over as many attempts as it takes."""
        run = StudyDir(self.root / study).run(name)
        failed_starts = 0
        while (status := current_status(run, request_id, "queued", "running")) is not None:
            waits = status["state"] == "queued" and not status.get("job")
            if waits and (failed_starts >= MAX_FAILED_STARTS or not may_start(run)):
                # Its study is paused, and it is queued again when that is over; or it would only keep others from their
                # turn, and comparing all runs with the queue brings it back in a while.
                return
            try:
                executor = self._executor(status)
                try:
                    job = executor.find(run)
                except QueueError as error:
                    # A place that does not answer is no news of the job; but why nothing happens should be seen.
                    if status["state"] == "queued" and status.get("reason") != str(error):
                        expect = {key: status.get(key) for key in ("state", "submission", "cancel", "job")}
                        run.transition("queued", expect=expect, reason=str(error))
                    time.sleep(1)
                    continue
                ended: Exit | None = None
                if job is None and (status["state"] == "running" or status.get("job")):
                    # It died while no conductor was there. That is not held against it: perhaps all was killed.
                    self._write_outcome(run, request_id, Exit(), counted=False)
                    continue
                if job is None:
                    job, ended = self._start(run, request_id, status, executor)
                if job is not None:
                    ended = self._watch(run, request_id, executor, job)
                if ended is not None:
                    self._write_outcome(run, request_id, ended)
            except (QueueError, IntegrityError):
                # Cancelled, deleted or taken up by somebody else in this very moment, or a place that does not answer.
                time.sleep(0.1 if execution_of(status).executor == "local" else 1)
            except UsageError as error:
                fail(run, request_id, str(error))  # a place that there is not
            except (TrainingError, OSError) as error:
                failed_starts += 1
                log_line(f"{study}/{name}: {error}")
                time.sleep(1)
        self._release_children(run)

    def stop(self, study: str, name: str, request_id: str | None) -> None:
        """End the run's job, then write that it is cancelled: in this order, so that the state is never ahead."""
        run = StudyDir(self.root / study).run(name)
        while (status := current_status(run, request_id, "running", "queued", cancel=True)) is not None:
            try:
                executor = self._executor(status)
                job = executor.find(run)
                if job is not None:
                    log_line(f"{study}/{name}: stopping")
                    executor.stop(job)
                self._write_outcome(run, request_id, Exit())
            except (EavdashError, OSError) as error:
                log_line(
                    f"{study}/{name}: {error}"
                )  # a place that does not answer, or does not obey: it is asked again
                time.sleep(5)
        activate(self.broker, [run])  # it may have been stopped only to go on elsewhere
        self._release_children(run)

    def _executor(self, status: dict[str, Any]) -> Executor:
        """Where the run's job is, or else where it is to be computed."""
        job = dict(status.get("job") or {})
        return self.get_executor(str(job.get("executor") or execution_of(status).executor))

    def _start(
        self, run: RunDir, request_id: str | None, status: dict[str, Any], executor: Executor
    ) -> tuple[Any | None, Exit | None]:
        """Wait for a slot, unless the place has its own, and launch: the job, or how the attempt ended, or neither."""
        settings = execution_of(status)

        def still() -> bool:
            return current_status(run, request_id, "queued") is not None and may_start(run)

        if executor.has_queue:
            try:
                job = executor.start(run, settings, Leases(), lambda: assign_job(run, request_id))
            except QueueError as error:
                now = current_status(run, request_id, "queued")
                if now is not None and now.get("job") and executor.find(run) is None:
                    # Not taken: no job of that name exists, and why is what a person wants to see.
                    expect = {"state": "queued", "submission": request_id, "cancel": None}
                    run.transition("queued", expect=expect, job=None, reason=str(error))
                    time.sleep(2)
                return None, None
            if job is not None:
                log_line(f"{run.study.name}/{run.name}: handed to {settings.executor}")
            return job, None
        need = need_of(settings, self.slots.machine, settings.ram or self._expected(run))
        with self.slots.take(need, still) as leases:
            if leases is None:
                return None, None
            try:
                job = executor.start(run, settings, leases, lambda: claim(run, request_id))
            except OSError as error:
                if current_status(run, request_id, "queued") is None:
                    log_line(f"{run.path}: cannot be started: {error}")
                    return None, Exit(error.errno if error.errno in EXIT_REASONS else errno.ENOEXEC)
                # Nothing has begun, and perhaps it can in a while; why it does not should be seen.
                reason = f"cannot be started: {error.filename or run.path}: {error.strerror or error}"
                if run.status().get("reason") != reason:
                    run.transition("queued", expect={"state": "queued", "submission": request_id}, reason=reason)
                raise
        if job is None:
            time.sleep(0.1)
        else:
            log_line(f"{run.study.name}/{run.name}: started")
        return job, None

    def _expected(self, run: RunDir) -> float:
        """GiB of main memory that a run of this stage took at most; 1 while none is known."""
        return self.peaks.get(_memory_key(run), 1.0)

    def _release_children(self, run: RunDir) -> None:
        """Let those go on that wait for a run that has ended, and remember what it took."""
        try:
            status = run.status()
            if not is_over(status):
                return
            if status["state"] == "done":  # a worker that was killed in its last moment has left what it went on from
                for file in (run.resume_file, run.joint_resume_file):
                    file.unlink(missing_ok=True)
            if status.get("peak"):
                key = _memory_key(run)
                self.peaks[key] = max(self.peaks.get(key, 0.0), float(status["peak"]) / 2**30)
            if free := release_children(run):
                activate(self.broker, free)
        except (EavdashError, OSError) as error:
            log_line(f"{run.path}: {error}")  # comparing all runs with the queue will see to it

    def _watch(self, run: RunDir, request_id: str | None, executor: Executor, job: Any) -> Exit:
        """How the job ended; a job whose run was deleted or replaced is stopped."""
        looks = 0
        pause = 1.0 if executor.has_queue else 0.1
        while (ended := executor.poll(job)) is None:
            looks += 1
            if looks * pause >= 1:
                looks = 0
                if not is_current(run, request_id):
                    log_line(f"{run.path}: gone, its job is stopped")
                    executor.stop(job)
                elif executor.has_queue:
                    update_waiting_reason(run, request_id, executor.waiting_reason(job))
            time.sleep(pause)
        return ended

    def _write_outcome(self, run: RunDir, request_id: str | None, ended: Exit, counted: bool = True) -> None:
        """Write what became of a run whose job has ended and did not say so itself."""

        def write() -> bool:
            status = current_status(run, request_id, "running", "queued", cancel=None)
            if status is None or (status["state"] == "queued" and not status.get("job") and not status.get("cancel")):
                return True
            expect = {key: status.get(key) for key in ("state", "submission", "cancel", "attempt")}
            state, fields = state_after_exit(status, ended, counted and not ended.external_cause)
            run.transition(state, expect=expect, job=None, **fields)
            log_line(f"{run.study.name}/{run.name}: {state}{': ' if fields['reason'] else ''}{fields['reason']}")
            return True

        _retry_until_written(write)


def _memory_key(run: RunDir) -> tuple[str, str]:
    """What runs have in common that take about the same memory; of a damaged config.json its worker will tell."""
    with contextlib.suppress(IntegrityError):
        return run.study.name, str(run.config().get("stage"))
    return run.study.name, ""


def _retry_until_written(write: Callable[[], bool]) -> bool:
    """Call ``write`` until the disk has room for what it says."""
    said = ""
    while True:
        try:
            return write()
        except TrainingError as error:
            if str(error) != said:
                said = str(error)
                log_line(said)
            time.sleep(1)
        except QueueError:
            continue  # the status changed between reading and writing: decide again


def log_line(text: str) -> None:
    """A line of the conductor's log."""
    with contextlib.suppress(OSError):  # the disk is full: the work goes on
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", flush=True)
