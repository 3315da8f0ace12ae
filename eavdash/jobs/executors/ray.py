"""Executor for a Ray cluster: one job of the Ray Jobs API per run, which waits in Ray's queue for CPUs and GPU shares.

The run's folder is on storage that all nodes share. Ray schedules, starts and ends the worker, under the job name in
the run's status; ray_head.py is the client of Ray's API, and ray_check.py checks the requirements of a cluster.

A head keeps its list of jobs in memory. So a job that is missing there, or a head that does not answer, says nothing
about the job while its worker holds the run's lock or renews its heartbeat. Only when both have ended is the job lost;
the run then resumes from its last finished epoch as another job.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from eavdash.config.convert import execution_of
from eavdash.config.schema import Execution
from eavdash.errors import EavdashError, IntegrityError, QueueError
from eavdash.jobs.executors import JOB_VARIABLE, Exit, Leases
from eavdash.jobs.executors.local import RUN_VARIABLE, worker_command
from eavdash.jobs.executors.ray_head import (
    NODE_LOST,
    Head,
    UnreachableHeadError,
    address_of,
    gpu_share,
    loss_reason,
    next_submission_id,
    start_timed_out,
)
from eavdash.jobs.slots import SHARE_VARIABLE
from eavdash.store import RunDir, locks
from eavdash.store.atomic import host
from eavdash.store.own_files import own_file
from eavdash.store.processes import THREAD_VARIABLES, with_package
from eavdash.store.regular import last_lines

#: Seconds without a heartbeat after which a worker counts as dead if Ray does not know its state.
HEARTBEAT_TIMEOUT = 15.0
#: Seconds until a stopped job must have ended, and until the request to stop it is repeated.
STOP_TIMEOUT, STOP_REPEAT = 30.0, 6.0


@dataclass
class Job:
    """A job by its name. ``since``: time of its submission; ``seen``: its last heartbeat and the time it was seen."""

    run: RunDir
    name: str
    address: str
    since: float = float("-inf")
    seen: tuple[Any, float] = (None, 0.0)


@dataclass
class RayExecutor:
    """See :class:`eavdash.jobs.executors.Executor`; its methods are thread-safe."""

    has_queue: ClassVar[bool] = True
    heads: dict[str, Head] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, run: RunDir, settings: Execution, leases: Leases, claim: Callable[[], Any]) -> Job | None:
        """Submit the run to Ray.

        Raises:
            QueueError: the head does not answer, denies access, or rejects the job.
        """
        if run.locked():
            time.sleep(0.5)  # an orphan of a lost head, or a worker started by hand, is computing it
            return None
        claim()
        given = run.status().job
        if given is None:
            return None  # cancelled in the meantime
        with QueueError.from_os(run.log_file, expected="a log that can be written", remedy="remove it"):
            own_file(run.log_file, "ab").close()  # its cluster opens it by name
        job = Job(run, given.name, address_of(settings.ray_address))
        head = self.head(job.address)
        head.jobs()  # raises if there is no head; one request serves all threads
        # From now on the job is searched at this address, even if the environment changes later.
        submitted = given.replace(address=job.address, handed=time.time())
        run.update({"job": given, "state": "queued", "cancel": None}, job=submitted)
        try:
            head.submit(job.name, **job_spec(run, job.name, settings))
        except QueueError:
            run.update({"job": submitted, "state": "queued"}, job=given)
            raise
        job.since = time.monotonic()
        if _name(run) != job.name:  # cancelled, deleted or moved while it was being submitted
            self.stop(job)
            return None
        return job

    def find(self, run: RunDir) -> Job | None:
        """Return the run's job if Ray has it, or if its worker shows that it is alive."""
        status = run.status()
        given = status.job
        if given is None or given.executor != "ray" or not given.name:
            return None
        job = Job(run, given.name, address_of(given.address or ""))
        head = self.head(job.address)
        try:
            row = head.jobs()[0].get(job.name) or head.jobs(fresh=True)[0].get(job.name)
        except QueueError:
            return job if (status.state == "queued" and given.handed) or self._is_alive(job) else None
        if row is not None and not row.status.is_terminal():
            return job
        if row is not None and (row.driver_exit_code is not None or start_timed_out(row)):
            return job if start_timed_out(row) and status.state == "queued" else None
        return job if self._is_alive(job) else None

    def poll(self, job: Job) -> Exit | None:
        """Return how the job ended; None while Ray has it or its worker shows that it is alive."""
        try:
            rows, asked = self.head(job.address).jobs()
        except QueueError as error:
            if self._is_alive(job) or _state(job.run) == "queued":
                return None  # the state of a waiting job is unknown until the head answers again
            end = "was lost" if isinstance(error, UnreachableHeadError) else "denied access"
            return _ended(job, Exit(None, f"the Ray head at {job.address} {end}", external_cause=True))
        if asked <= job.since:
            return None
        row = rows.get(job.name)
        if row is None:
            forgotten = f"the Ray head at {job.address} was restarted and does not know its job"
            return None if self._is_alive(job) else _ended(job, Exit(None, forgotten, external_cause=True))
        if not row.status.is_terminal():
            return None
        if row.driver_exit_code is not None:
            return _ended(job, Exit(row.driver_exit_code, _startup_error(job.run, row)))
        if start_timed_out(row) and _state(job.run) == "queued":
            self._submit_again(job, row)
            return None
        if self._is_alive(job):
            return None  # cut off from the head, or stopped and not gone yet
        if str(row.status) == "STOPPED":
            return _ended(job, Exit(-signal.SIGTERM, "its Ray job was stopped"))
        return _ended(job, Exit(None, loss_reason(row), external_cause=loss_reason(row) == NODE_LOST))

    def waiting_reason(self, job: Job) -> str:
        """Return why a job has not started yet."""
        if _state(job.run) != "queued":
            return ""
        try:
            row = self.head(job.address).jobs()[0].get(job.name)
        except QueueError as error:
            return f"waits in Ray as job {job.name}, but {error}"
        if row is None or not (str(row.status) == "PENDING" or start_timed_out(row)):
            return ""
        return f"waits in Ray as job {job.name} (pending, for resources)"

    def stop(self, job: Job) -> None:
        """End the job. For a waiting one the request is enough: its worker, should it ever start, exits at once.

        Raises:
            QueueError: the head does not answer, or the job has not ended within half a minute.
        """
        head = self.head(job.address)
        started = time.monotonic()
        stopped = float("-inf")
        while True:
            problem: EavdashError = QueueError.at(
                f"Ray job {job.name}", expected="a stopped job", found="a running one", remedy="try again"
            )
            try:
                rows, asked = head.jobs()
                row = rows.get(job.name)
                gone = row is None or row.status.is_terminal()
                if gone and asked > job.since and not self._is_alive(job):
                    break
                if row is not None and str(row.status) == "PENDING" and asked > stopped > 0:
                    break
                if row is not None and not gone and time.monotonic() - stopped > STOP_REPEAT:
                    head.stop(row.submission_id)
                    stopped = time.monotonic()
            except QueueError as error:
                if not self._is_alive(job):
                    break
                problem = error
            if time.monotonic() - started > STOP_TIMEOUT:
                raise problem
            time.sleep(0.2)
        _kill_leftovers(job.name)

    def check(self, root: Path, settings: Execution) -> list[str]:
        """See :func:`eavdash.jobs.executors.ray_check.check`."""
        from eavdash.jobs.executors import ray_check

        return ray_check.check(self.head(address_of(settings.ray_address)), root, settings)

    def head(self, address: str) -> Head:
        """Return the client of the head at an address, one for all threads."""
        with self._lock:
            return self.heads.setdefault(address, Head(address))

    def _submit_again(self, job: Job, row: Any) -> None:
        """Submit again a job that Ray has dropped because it waited too long (15 minutes by default)."""
        with contextlib.suppress(QueueError, IntegrityError):
            spec = job_spec(job.run, job.name, execution_of(job.run.status().execution))
            self.head(job.address).submit(next_submission_id(row.submission_id), **spec)
            job.since = time.monotonic()

    def _is_alive(self, job: Job) -> bool:
        """Return True if the run's lock or its heartbeat shows that the job's worker is alive."""
        try:
            status = job.run.status()
        except IntegrityError:
            return False
        if status.job_name != job.name or status.state not in ("queued", "running"):
            return False
        if job.run.locked():
            return True
        if status.state == "queued" or status.host == host():
            return False
        # By this machine's clock: the other machine's may be wrong.
        heartbeat, now = status.heartbeat, time.monotonic()
        if job.seen[0] != heartbeat:
            job.seen = heartbeat, now
        return now - job.seen[1] < HEARTBEAT_TIMEOUT


def job_spec(run: RunDir, name: str, settings: Execution) -> dict[str, Any]:
    """Return a run's job for the Ray Jobs API: the command and the resources that it needs on one node."""
    variables = {
        **dict.fromkeys(THREAD_VARIABLES, str(settings.threads)),
        **with_package({"PYTHONPATH": os.environ.get("PYTHONPATH", "")}),
        "PYTHONUNBUFFERED": "1",
        JOB_VARIABLE: name,
        RUN_VARIABLE: str(run.path),
    }
    gpus = gpu_share(settings)
    if 0 < gpus < 1:
        variables[SHARE_VARIABLE] = f"{gpus:.4f}"
    if not gpus:
        variables["CUDA_VISIBLE_DEVICES"] = ""  # Ray hides the node's GPUs only from jobs that request a share
    # In the command, not in Ray's runtime environment, which would also apply to Ray's own process beside the worker.
    command = shlex.join(["env", *(f"{key}={value}" for key, value in variables.items()), *worker_command()])
    job: dict[str, Any] = {
        "entrypoint": f"exec {command} {shlex.quote(str(run.path))} >> {shlex.quote(str(run.log_file))} 2>&1",
        "entrypoint_num_cpus": settings.threads,
        "metadata": {"study": run.study.name, "run": run.name},
    }
    if gpus:
        job["entrypoint_num_gpus"] = gpus
    if settings.ram:
        job["entrypoint_memory"] = int(settings.ram * 2**30)
    return job


def _ended(job: Job, ended: Exit) -> Exit:
    _kill_leftovers(job.name)
    return ended


def _name(run: RunDir) -> str:
    with contextlib.suppress(IntegrityError):
        return run.status().job_name
    return ""


def _state(run: RunDir) -> str:
    with contextlib.suppress(IntegrityError):
        return run.status().state
    return ""  # the run was deleted


def _startup_error(run: RunDir, row: Any) -> str:
    """Return the last output of a worker that ended before it marked its run as running; empty for any other."""
    if _state(run) != "queued":
        return ""
    with contextlib.suppress(OSError):
        lines = last_lines(run.log_file, 1)
        if lines and not lines[-1].startswith("---"):
            return f"its worker could not start: {lines[-1][:300]}"
    lines = str(row.message or "").rstrip().splitlines() or ["no reason given"]
    return f"its worker could not start: {lines[-1][:300]}"


def _kill_leftovers(name: str) -> None:
    """Kill a job's remaining processes on this machine, found by its name: the run may have another job by now."""
    deadline = time.monotonic() + 5
    while (left := locks.pids_with_env(JOB_VARIABLE, name)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
