"""The process that computes one run: ``python -m eavdash.jobs.worker RUN_DIR``.

In: a run's folder, and from its status.json the settings of its execution (device, threads). Out: the run's results,
its state (running, then done or failed with a sentence) and a heartbeat while it works. The same command is run by
every executor and may be typed by hand; whoever holds the run's lock computes it, so it is never computed twice. A
worker that finds in status.json that another attempt has taken over (its machine was cut off from the others, say) ends
itself.

SIGTERM ends it at once: the last finished epoch is on disk, and whoever sent the signal says what becomes of the run.
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
from eavdash.jobs.slots import SHARE_VARIABLE
from eavdash.jobs.tasks import new_request_id
from eavdash.jobs.usage import Usage
from eavdash.store import RunDir, locks
from eavdash.store.atomic import boot_clock, host
from eavdash.store.status import HEARTBEAT_EVERY

STOPPED = 128 + signal.SIGTERM


class Stopped(BaseException):
    """SIGTERM arrived; not an ``Exception``, so that nothing on the way up takes it for a failure."""


class Heartbeat:
    """Writes the time into status.json while the block runs, from a thread."""

    def __init__(self, run: RunDir, mine: dict[str, Any]) -> None:
        self.run, self._mine = run, mine
        self._usage = Usage()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_EVERY):
            try:
                usage = self._usage.now()
                self.run.update(self._mine, heartbeat=time.time(), beat=boot_clock(), usage=usage, peak=usage["peak"])
            except (IntegrityError, QueueError):
                # The run was deleted, or is another attempt's by now: what this one computes is of no use to anybody.
                os.kill(os.getpid(), signal.SIGTERM)
                return
            except (EavdashError, OSError):
                continue  # the disk is full or away for a moment: that is for the training to report, when it writes


def main(arguments: list[str] | None = None) -> int:
    """Compute the run; the exit code is 0 when it is done."""
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    signal.signal(signal.SIGTERM, _on_sigterm)
    given = arguments if arguments is not None else sys.argv[1:]
    try:
        if len(given) != 1:
            raise UsageError("python -m eavdash.jobs.worker: expected one run folder; give checkpoints/STUDY/RUN.")
        # Not resolved: a study that is a link to another disk still has its cache beside the other studies.
        run = RunDir(Path(given[0]).absolute())
        job = os.environ.get(JOB_VARIABLE)
        if job is not None and not _is_current(run, job):
            print(f"eavdash: {job} is out of date: {run.name} was cancelled, is over, or is another job's", flush=True)
            return 0
        by_hand = _acquire_lock(run, timeout=0.5 if job is None else 60.0) and job is None
        return _compute(run, by_hand)
    except EavdashError as error:
        _print_error(f"eavdash: {error}")
        return error.exit_code
    except Stopped:
        return STOPPED


def _is_current(run: RunDir, job: str) -> bool:
    """Whether the run still is this job's, of a place with a queue of its own."""
    status = run.status()
    name = dict(status.get("job") or {}).get("name")
    return name == job and status["state"] in ("queued", "running") and not status.get("cancel")


def _compute(run: RunDir, by_hand: bool) -> int:
    status = _mark_running(run, by_hand)
    mine = {key: status.get(key) for key in ("attempt", "submission")}
    try:
        with Heartbeat(run, mine):
            _train(run, dict(status.get("execution") or {}))
        run.transition("done", expect=mine, checksums=run.seal(), finished=time.time(), reason="")
        # Last: a run that is killed before it is done must not begin again from nothing.
        run.resume_file.unlink(missing_ok=True)
        run.joint_resume_file.unlink(missing_ok=True)
        return 0
    except (Stopped, KeyboardInterrupt):
        if by_hand:
            run.transition("cancelled", reason="stopped by hand", finished=time.time())
        return STOPPED
    except EavdashError as error:
        _print_error(f"eavdash: {error}")
        return _fail(run, mine, str(error))
    except Exception as error:
        _print_error(traceback.format_exc())
        return _fail(run, mine, f"{type(error).__name__}: {error}")


def _acquire_lock(run: RunDir, timeout: float = 0.5) -> bool:
    """Hold the run's lock: the one that the executor handed down, or one's own (by hand: True).

    Raises:
        UsageError: there is no such run.
        QueueError: somebody else is computing it.
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
            expected="a run that nobody is computing",
            found=f"process {owner.pid} at work on it" if owner else "a process at work on it",
            remedy=f"wait for it, or stop it with: eavdash cancel {run.study.name} --run {run.name}",
        )
    locks.sign(lock, os.getpid())
    os.environ[RUN_VARIABLE] = str(run.path)  # what it starts is known by it, as what the queue's workers start
    return True


def _mark_running(run: RunDir, by_hand: bool) -> dict[str, Any]:
    """Write that the run is being computed; returns its status then.

    Raises:
        QueueError: it is done, or was cancelled in this very moment.
    """
    status = run.status()
    fields: dict[str, Any] = {"pid": os.getpid(), "host": host(), "heartbeat": time.time(), "beat": boot_clock()}
    fields["from_epoch"] = int(status.get("epoch") or 0)
    if JOB_VARIABLE in os.environ:
        expect = {"submission": status.get("submission"), "job": status.get("job"), "cancel": None}
        if status["state"] == "running":  # the place has lost its earlier process and begins anew
            run.transition("queued", expect=expect, reason="its place began it anew")
        fields |= {"attempt": int(status.get("attempt") or 0) + 1, "started": time.time(), "finished": None}
        begun = run.transition("running", expect={"state": "queued", **expect}, reason="", **fields)
        with contextlib.suppress(OSError), run.log_file.open("a", encoding="utf-8") as log:
            log.write(heading(run, f"{os.environ[JOB_VARIABLE]} on {host()}"))
        return begun
    if by_hand:
        fields |= {"attempt": int(status.get("attempt") or 0) + 1, "started": time.time(), "finished": None}
        fields |= {"reason": "", "cancel": None}
        # Whoever watches the run's job elsewhere must not take that one's end for this process's; whoever conducts the
        # queue finds this process by the run's lock.
        mine: dict[str, Any] = {"job": {"executor": "local", "name": ""}}
        if status.get("submission"):
            mine["submission"] = new_request_id()
        if status["state"] in ("failed", "cancelled"):
            run.transition("queued", reason="", **mine)
        fields |= mine
    return run.transition("running", **fields)


def _train(run: RunDir, execution: dict[str, Any]) -> None:
    # Here, not at the top: a refusal must not wait for torch, and the heartbeat already goes.
    from eavdash.training.run import train_run

    settings = execution_of({"execution": execution})
    device = settings.device
    if os.environ.get("EAVDASH_GPU") and device.startswith("cuda:"):  # the only one that this process sees is its own
        device = "cuda"
    if share := os.environ.get(SHARE_VARIABLE):
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(float(share))
    train_run(run, device=device, threads=settings.threads, execution=settings)


def _print_error(text: str) -> None:
    """A line of the run's log; where there is no room for it, what is to be done goes on."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _fail(run: RunDir, mine: dict[str, Any], reason: str) -> int:
    """Write why the run failed. Where not even that can be written, the exit code tells the conductor."""
    try:
        run.transition("failed", expect=mine, reason=reason, finished=time.time())
        return 1
    except TrainingError as error:
        cause = error.__cause__
        full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
        return errno.ENOSPC if full else errno.EIO


def _on_sigterm(_number: int, _frame: FrameType | None) -> None:
    raise Stopped


if __name__ == "__main__":
    code = main()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Not sys.exit: threads of libraries that hang in their own clean-up must not keep a finished run's slot.
    os._exit(code)
