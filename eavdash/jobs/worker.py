"""The process that computes one run: ``python -m eavdash.jobs.worker RUN_DIR``.

It reads the execution settings (device, threads) from the run's status.json, and writes the run's results, its state
(running, then done, or failed with a reason) and a heartbeat. Every executor runs the same command, and users may run
it by hand; only the process that holds the run's lock computes it, so a run is never computed twice. A worker exits if
status.json shows that another attempt has replaced it (for example after its machine lost the network).

SIGTERM ends it at once: the last finished epoch is on disk, and the sender of the signal sets the run's new state.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import math
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eavdash.config.convert import execution_of
from eavdash.errors import EavdashError, QueueError, TrainingError, UsageError
from eavdash.jobs.executors import JOB_VARIABLE
from eavdash.jobs.executors.local import RUN_VARIABLE, heading
from eavdash.jobs.process import (
    STOPPED,
    Heartbeat,
    Stopped,
    inherited_lock,
    leave,
    print_error,
    stop_on_sigterm,
    terminated,
    unwritten,
)
from eavdash.jobs.queue_tasks import new_request_id
from eavdash.jobs.slots import SHARE_VARIABLE
from eavdash.jobs.usage import Meter
from eavdash.results.left_out import found_sentence
from eavdash.store import RunDir, StudyDir, locks
from eavdash.store.atomic import boot_clock, host
from eavdash.store.own_files import own_file
from eavdash.store.readable import restrict_data_folders
from eavdash.store.status import STARTING, JobRecord, Phase, RunStatus

#: Least seconds between two writes of the phase; heartbeats write it in between.
PHASE_EVERY = 1.0


def main(arguments: list[str] | None = None) -> int:
    """Compute the run and return the exit code: 0 if it is done."""
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    stop_on_sigterm()
    given = arguments if arguments is not None else sys.argv[1:]
    try:
        if len(given) != 1:
            raise UsageError.at(
                "python -m eavdash.jobs.worker",
                expected="one run folder",
                found=f"{len(given)} arguments",
                remedy="give checkpoints/STUDY/RUN",
            )
        # Not resolved: a study that is a symbolic link to another disk keeps its cache beside the other studies.
        run = RunDir(Path(given[0]).absolute())
        job = os.environ.get(JOB_VARIABLE)
        if job is not None and not _is_current(run, job):
            print(f"eavdash: {job} is out of date: {run.name} was cancelled, has ended, or has another job", flush=True)
            return 0
        by_hand = _acquire_lock(run, timeout=0.5 if job is None else 60.0) and job is None
        return _compute(run, by_hand)
    except EavdashError as error:
        print_error(f"eavdash: {error}")
        lost = isinstance(error, TrainingError) and isinstance(error.__cause__, OSError)
        return unwritten(error) if lost else error.exit_code
    except Stopped:
        return STOPPED


def _is_current(run: RunDir, job: str) -> bool:
    """Return True if the run still belongs to this job (of an executor with its own queue)."""
    status = run.status()
    return status.job_name == job and status.state in ("queued", "running") and not status.cancel


def _compute(run: RunDir, by_hand: bool) -> int:
    status = _mark_running(run, by_hand)
    mine = status.only("attempt", "submission")
    try:
        # What neither the planner nor the one who asked for the run may read, a document cannot add.
        restrict_data_folders(status.folders)
        restrict_data_folders(StudyDir.of(run).study().dataset.folders)
        phase = _PhaseWriter(run, mine)
        with Heartbeat(run, mine, _observed(Meter(), phase)):
            _train(run, status.execution, phase.enter)
        left_out = found_sentence(run.config())
        run.transition("done", expect=mine, checksums=run.seal(), finished=time.time(), reason=left_out)
        # Only now: a run that is killed before it is done must be able to resume.
        run.resume_file.unlink(missing_ok=True)
        run.joint_resume_file.unlink(missing_ok=True)
        return 0
    except (Stopped, KeyboardInterrupt):
        return _stop(run, by_hand)
    except Exception as error:
        if terminated():  # a library has turned the interruption into an error of its own
            return _stop(run, by_hand)
        own = isinstance(error, EavdashError)
        print_error(f"eavdash: {error}" if own else traceback.format_exc())
        return _fail(run, mine, str(error) if own else f"{type(error).__name__}: {error}")


class _PhaseWriter:
    """The phase that the run is in, for status.json."""

    def __init__(self, run: RunDir, mine: dict[str, Any]) -> None:
        self._run, self._mine = run, {**mine, "state": "running"}
        self._now: tuple[str, int, int] = (STARTING, 0, 0)
        self._written = -math.inf

    @property
    def now(self) -> Phase:
        """The phase as last entered."""
        name, done, total = self._now
        return Phase(name=name, done=done, total=total)

    def enter(self, name: str, done: int, total: int) -> None:
        """Record a phase; it is written at once unless another one was within :data:`PHASE_EVERY`."""
        self._now = (name, done, total)
        if time.monotonic() - self._written < PHASE_EVERY:
            return
        # Neither a full disk nor another attempt is noticed here: the heartbeat does that.
        with contextlib.suppress(EavdashError, OSError):
            self._run.update(self._mine, phase=self.now)
        self._written = time.monotonic()


def _observed(meter: Meter, phase: _PhaseWriter) -> Callable[[], dict[str, Any]]:
    """Return a function that measures the usage and names the phase for a heartbeat."""

    def fields() -> dict[str, Any]:
        usage = meter.now()
        return {"usage": usage, "peak": usage.peak, "phase": phase.now}

    return fields


def _stop(run: RunDir, by_hand: bool) -> int:
    if by_hand:
        run.transition("cancelled", reason="stopped by hand", finished=time.time())
    return STOPPED


def _acquire_lock(run: RunDir, timeout: float = 0.5) -> bool:
    """Take over the run's lock from the executor, or acquire it; return True if it was acquired here (by hand).

    Raises:
        UsageError: there is no such run.
        QueueError: another process is computing it.
    """
    if not run.config_file.exists():
        raise UsageError.at(run.path, expected="a run's folder with config.json", found="none", remedy="plan it first")
    if inherited_lock(run):
        return False
    lock = locks.acquire(run.lock_file, timeout)
    if lock is None:
        owner = locks.owner(run.lock_file)
        raise QueueError.at(
            run.path,
            expected="a run that no other process is computing",
            found=f"that process {owner.pid} is computing it" if owner else "that another process is computing it",
            remedy=f"wait for it, or stop it with: eavdash cancel {run.study.name} --run {run.name}",
        )
    locks.sign(lock, os.getpid())
    os.environ[RUN_VARIABLE] = str(run.path)  # identifies its child processes, as the queue does for its workers
    return True


def _mark_running(run: RunDir, by_hand: bool) -> RunStatus:
    """Mark the run as running; return its new status.

    Raises:
        QueueError: it is done, or was cancelled in the meantime.
    """
    status = run.status()
    fields: dict[str, Any] = {"pid": os.getpid(), "host": host(), "heartbeat": time.time(), "beat": boot_clock()}
    fields["from_epoch"] = status.epoch
    if JOB_VARIABLE in os.environ:
        expect = {"submission": status.submission, "job": status.job, "cancel": None}
        if status.state == "running":  # the executor has lost the earlier process and restarts the job
            run.transition("queued", expect=expect, reason="its executor restarted it")
        fields |= {"attempt": status.attempt + 1, "started": time.time(), "finished": None}
        started = run.transition("running", expect={"state": "queued", **expect}, reason="", **fields)
        with contextlib.suppress(OSError), own_file(run.log_file, "ab") as log:
            log.write(heading(run, f"{os.environ[JOB_VARIABLE]} on {host()}").encode())
        return started
    if by_hand:
        fields |= {"attempt": status.attempt + 1, "started": time.time(), "finished": None}
        fields |= {"reason": "", "cancel": None}
        # The run's previous job on another executor, if any, must not be mistaken for this process. The scheduler
        # finds this process by the run's lock.
        mine: dict[str, Any] = {"job": JobRecord()}
        if status.submission:
            mine["submission"] = new_request_id()
        if status.state in ("failed", "cancelled"):
            run.transition("queued", reason="", **mine)
        fields |= mine
    return run.transition("running", **fields)


def _train(run: RunDir, execution: dict[str, Any], phase: Callable[[str, int, int], None]) -> None:
    # Imported here: errors above must not wait for torch, and the heartbeat is already running.
    from eavdash.training.run import train_run

    settings = execution_of(execution)
    device = settings.device
    if os.environ.get("EAVDASH_GPU") and device.startswith("cuda:"):  # this process sees only its own GPU
        device = "cuda"
    if share := os.environ.get(SHARE_VARIABLE):
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(float(share))
    train_run(run, device=device, threads=settings.threads, execution=settings, phase=phase)


def _fail(run: RunDir, mine: dict[str, Any], reason: str) -> int:
    """Write why the run failed; return the exit code."""
    try:
        run.transition("failed", expect=mine, reason=reason, finished=time.time())
        return 1
    except TrainingError as error:
        return unwritten(error)


if __name__ == "__main__":
    leave(main())
