"""The process that computes one run: ``python -m eavdash.jobs.worker RUN_DIR``.

It reads the execution settings (device, threads) from the run's status.json, and writes the run's results, its state
(running, then done, or failed with a reason) and a heartbeat. Every executor runs the same command, and users may run
it by hand; only the process that holds the run's lock computes it, so a run is never computed twice. A worker exits if
status.json shows that another attempt has replaced it (for example after its machine lost the network).

SIGTERM ends it at once: the last finished epoch is on disk, and the sender of the signal sets the run's new state.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from eavdash.config.convert import execution_of
from eavdash.errors import EavdashError, IntegrityError, QueueError, TrainingError, UsageError
from eavdash.jobs.executors import JOB_VARIABLE
from eavdash.jobs.executors.local import LOCK_VARIABLE, RUN_VARIABLE, heading
from eavdash.jobs.queue_tasks import new_request_id
from eavdash.jobs.slots import SHARE_VARIABLE
from eavdash.jobs.usage import Meter
from eavdash.results.left_out import found_sentence
from eavdash.store import RunDir, StudyDir, locks
from eavdash.store.atomic import boot_clock, host
from eavdash.store.own_files import own_file
from eavdash.store.readable import restrict_data_folders
from eavdash.store.status import HEARTBEAT_EVERY, JobRecord, RunStatus

STOPPED = 128 + signal.SIGTERM


class Stopped(BaseException):
    """SIGTERM was received; not an ``Exception``, so that no handler of failures catches it."""


_terminated = threading.Event()


class Heartbeat:
    """Context manager that writes heartbeats into status.json from a thread."""

    def __init__(self, run: RunDir, mine: dict[str, Any]) -> None:
        self.run, self._mine = run, mine
        self._meter = Meter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_EVERY):
            try:
                usage = self._meter.now()
                self.run.update(self._mine, heartbeat=time.time(), beat=boot_clock(), usage=usage, peak=usage.peak)
            except (IntegrityError, QueueError):
                # The run was deleted, or another attempt has replaced this one.
                os.kill(os.getpid(), signal.SIGTERM)
                return
            except (EavdashError, OSError):
                continue  # the disk is full or unavailable for a moment; the training reports it when it writes


def main(arguments: list[str] | None = None) -> int:
    """Compute the run and return the exit code: 0 if it is done."""
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    _terminated.clear()
    signal.signal(signal.SIGTERM, _on_sigterm)
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
        _print_error(f"eavdash: {error}")
        unwritten = isinstance(error, TrainingError) and isinstance(error.__cause__, OSError)
        return _unwritten(error) if unwritten else error.exit_code
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
        with Heartbeat(run, mine):
            _train(run, status.execution)
        left_out = found_sentence(run.config())
        run.transition("done", expect=mine, checksums=run.seal(), finished=time.time(), reason=left_out)
        # Only now: a run that is killed before it is done must be able to resume.
        run.resume_file.unlink(missing_ok=True)
        run.joint_resume_file.unlink(missing_ok=True)
        return 0
    except (Stopped, KeyboardInterrupt):
        return _stop(run, by_hand)
    except Exception as error:
        if _terminated.is_set():  # a library has turned the interruption into an error of its own
            return _stop(run, by_hand)
        own = isinstance(error, EavdashError)
        _print_error(f"eavdash: {error}" if own else traceback.format_exc())
        return _fail(run, mine, str(error) if own else f"{type(error).__name__}: {error}")


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
    inherited = os.environ.pop(LOCK_VARIABLE, None)
    if inherited is not None:
        try:
            if os.path.samestat(os.fstat(int(inherited)), run.lock_file.stat()):
                locks.sign(int(inherited), os.getpid())
                return False
        except (OSError, ValueError):
            pass  # the variable came from elsewhere
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


def _train(run: RunDir, execution: dict[str, Any]) -> None:
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
    train_run(run, device=device, threads=settings.threads, execution=settings)


def _print_error(text: str) -> None:
    """Write a line to the run's log; a full disk is ignored."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _fail(run: RunDir, mine: dict[str, Any], reason: str) -> int:
    """Write why the run failed; return the exit code."""
    try:
        run.transition("failed", expect=mine, reason=reason, finished=time.time())
        return 1
    except TrainingError as error:
        return _unwritten(error)


def _unwritten(error: EavdashError) -> int:
    """Return the exit code that tells the scheduler why a state could not be written."""
    cause = error.__cause__
    full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
    return errno.ENOSPC if full else errno.EIO


def _on_sigterm(_number: int, _frame: FrameType | None) -> None:
    _terminated.set()
    raise Stopped


if __name__ == "__main__":
    code = main()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Not sys.exit: library threads that hang during cleanup must not keep a finished run's slot.
    os._exit(code)
