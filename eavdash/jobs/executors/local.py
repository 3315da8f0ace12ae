"""Executor for this machine: one process per run or task, in its own session, so that it outlives the scheduler.

The worker inherits the run's lock and its slots as open descriptors; no other process keeps them open, so the kernel
frees them exactly when the job is dead. A held lock shows that the job is alive, even if its scheduler is not.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from eavdash.config.schema import Execution
from eavdash.errors import IntegrityError, QueueError, sentence
from eavdash.jobs.executors import JOB_VARIABLE, Exit, Leases
from eavdash.jobs.forked import ForkedProcess, Preloaded
from eavdash.store import locks, passwords
from eavdash.store.atomic import host, is_locked
from eavdash.store.own_files import own_file
from eavdash.store.processes import python_environment, python_module
from eavdash.store.status_folder import StatusFolder
from eavdash.store.task import TASK_VARIABLE

#: A run, or a background task: the process of either is started, found and ended alike.
Work = StatusFolder[Any]
#: Environment variable with the number of the inherited descriptor that holds the run's lock.
LOCK_VARIABLE = "EAVDASH_LOCK_FD"
#: Environment variable with the run's folder. It identifies every process that a worker starts; ids of processes and
#: groups are reused.
RUN_VARIABLE = "EAVDASH_RUN"
WORKER_COMMAND = tuple(python_module("eavdash.jobs.worker"))
#: Threads of the workers that are forked from the preloaded process; others load their libraries themselves.
PRELOADED_THREADS = 1


@dataclass(frozen=True)
class Job:
    """A worker's process. ``process`` is None if another scheduler or a user started it."""

    run: Work
    owner: locks.Owner | None
    process: subprocess.Popen[bytes] | ForkedProcess | None = None


@dataclass(frozen=True)
class LocalExecutor:
    """Runs ``command`` with the run's folder as argument; sends SIGKILL ``grace`` seconds after SIGTERM."""

    has_queue: ClassVar[bool] = False

    command: tuple[str, ...] = field(default_factory=lambda: worker_command())
    grace: float = 2.0
    preloaded: Preloaded = field(default_factory=Preloaded)

    def start(self, run: Work, settings: Execution, leases: Leases, claim: Callable[[], Any]) -> Job | None:
        """See :class:`eavdash.jobs.executors.Executor`."""
        # Pages test locks all the time, and the children of a dead job may take a moment to exit.
        lock = locks.acquire(run.lock_file, timeout=2.0)
        if lock is None:
            return None
        try:
            locks.sign(lock, None)
            mine = {LOCK_VARIABLE: str(lock), RUN_VARIABLE: str(run.path), **leases.environment}
            with own_file(run.log_file, "ab") as log:  # before the claim: a run without a log has not started
                claim()
                log.write(heading(run, f"{settings.threads} threads").encode())
                log.flush()
                process = self._launch(run, settings.threads, mine, log.fileno(), (lock, *leases.descriptors))
            locks.sign(lock, process.pid)
            return Job(run, locks.owner(run.lock_file), process)
        finally:
            os.close(lock)

    def _launch(
        self, run: Work, threads: int, mine: dict[str, str], output: int, inherited: tuple[int, ...]
    ) -> subprocess.Popen[bytes] | ForkedProcess:
        """Start the worker: as a fork of the preloaded process where that is ready, or by its command."""
        environment = worker_environment(threads) | mine
        if threads == PRELOADED_THREADS and self.command == WORKER_COMMAND:
            forked = self.preloaded.start(str(run.path), environment, LOCK_VARIABLE, (output, *inherited))
            if forked is not None:
                return forked
            self.preloaded.launch(worker_environment(threads))
        return subprocess.Popen(
            [*self.command, str(run.path)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=inherited,
            env=environment,
        )

    def find(self, run: Work) -> Job | None:
        """See :class:`eavdash.jobs.executors.Executor`."""
        if is_locked(run.lock_file) or _runs_elsewhere(run):
            return Job(run, locks.owner(run.lock_file))
        _kill_leftovers(run)
        return None

    def poll(self, job: Job) -> Exit | None:
        """See :class:`eavdash.jobs.executors.Executor`."""
        if job.process is None or (isinstance(job.process, ForkedProcess) and job.process.lost):
            if self._is_alive(job):
                return None
            _kill_leftovers(job.run)
            return Exit()
        if isinstance(job.process, ForkedProcess):
            if job.process.returncode is None:
                return None
            _kill_leftovers(job.run)
            return Exit(job.process.returncode)
        if not _has_ended(job.process):
            return None
        # Children first: until the dead process is reaped, the group id cannot be reused.
        _signal_group(job.process.pid, signal.SIGKILL)
        code = job.process.wait()
        _kill_leftovers(job.run)
        return Exit(code)

    def waiting_reason(self, job: Job) -> str:
        """See :class:`eavdash.jobs.executors.Executor`; a local job starts at once."""
        return ""

    def stop(self, job: Job) -> None:
        """See :class:`eavdash.jobs.executors.Executor`.

        Raises:
            QueueError: the process belongs to another machine.
        """
        deadline = time.monotonic() + self.grace
        terminated = killed = False
        while self._is_alive(job):
            owner = self._owner(job)
            if owner is None or not _computes(owner, job.run):
                # No owner in the lock file, or not this run's (this machine had another name, or the file came from
                # elsewhere): find the processes by the run's folder.
                killed |= _kill_leftovers(job.run)
                if killed and not job.run.locked():
                    return
                if owner is not None and not killed and time.monotonic() > deadline and self._is_alive(job):
                    here = owner.host == host()
                    raise QueueError.at(
                        job.run.path,
                        expected="a job of this machine",
                        found=f"process {owner.pid}, which does not compute this run"
                        if here
                        else f"one of {owner.host}",
                        remedy="end the process that holds the run's .lock" if here else "cancel it on that machine",
                    )
            elif not (terminated and time.monotonic() < deadline):
                _signal_group(owner.pid, signal.SIGKILL if terminated else signal.SIGTERM)
                terminated = True
            time.sleep(0.05)
        _kill_leftovers(job.run)

    def check(self, root: Path, settings: Execution) -> list[str]:
        """See :class:`eavdash.jobs.executors.Executor`."""
        from eavdash.jobs.slots import this_machine

        machine = this_machine()
        problems = []
        if settings.device.startswith("cuda"):
            number = settings.device.partition(":")[2]
            if not machine.gpus or (number and number not in machine.gpus):
                gpus = f"the GPUs {', '.join(machine.gpus)}" if machine.gpus else "no GPU"
                remedy = "use --device cpu, or name the GPUs in EAVDASH_GPUS"
                problems.append(sentence("--device", f"a GPU for {settings.device}", gpus, remedy))
        for name, requested, available, unit in (
            ("--ram", settings.ram, machine.ram, "GiB"),
            ("--threads", settings.threads, machine.cores, "cores"),
        ):
            if requested > available:
                expected = f"at most the {available} {unit} of this machine"
                problems.append(sentence(name, expected, f"{requested:g}", "request less"))
        return problems

    def _owner(self, job: Job) -> locks.Owner | None:
        return job.owner or locks.owner(job.run.lock_file)

    def _is_alive(self, job: Job) -> bool:
        owner = self._owner(job)
        if not job.run.lock_file.exists():
            # The folder was deleted while the job was running, or another machine has the job.
            return (owner is not None and owner.alive) or _runs_elsewhere(job.run)
        if not is_locked(job.run.lock_file):
            return _runs_elsewhere(job.run)
        if owner is not None and owner.host == host() and not owner.alive:
            _kill_leftovers(job.run)  # a child that outlived its worker still holds the lock
        return True


def heading(run: Work, how: str) -> str:
    """Return the first line of an attempt in a run's log."""
    return f"--- attempt {run.status().attempt}, {time.strftime('%Y-%m-%d %H:%M:%S')}, {how}\n"


def worker_command() -> tuple[str, ...]:
    """Return the worker's command line; ``EAVDASH_WORKER`` replaces it in tests of the queue."""
    given = os.environ.get("EAVDASH_WORKER")
    return tuple(shlex.split(given)) if given else WORKER_COMMAND


def worker_environment(threads: int) -> dict[str, str]:
    """Return this process's environment with a worker's thread counts and this copy of the package on its path.

    Variables of another worker's job are removed (the scheduler may have been started from inside one), and so are the
    passwords of the queue's database, which a worker does not need.
    """
    own = (JOB_VARIABLE, LOCK_VARIABLE, RUN_VARIABLE, TASK_VARIABLE, *passwords.VARIABLES)
    return {name: value for name, value in python_environment(threads).items() if name not in own}


def _computes(owner: locks.Owner, run: Work) -> bool:
    """Return True if a process on record is alive and known as this run's: by its environment, or as it holds the lock.

    The record alone is no proof: the lock file may have been copied with the run's folder, or written by others.
    """
    if not owner.alive:
        return False
    return locks.has_open(owner.pid, run.lock_file) or owner.pid in locks.pids_with_env(RUN_VARIABLE, str(run.path))


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Return True if a child has ended; do not reap it where the system allows that."""
    if process.returncode is not None:
        return True
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal_group(pid: int, number: signal.Signals) -> None:
    """Signal the group that a process leads, or only the process if it leads none (started by hand in a script)."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)


def _runs_elsewhere(run: Work) -> bool:
    """Return True if the heartbeat shows that another machine, whose lock may be invisible here, computes the run."""
    with contextlib.suppress(IntegrityError):
        live = run.live_status()
        return bool(live.shown == "running" and live.status.host != host())
    return False


def _kill_leftovers(run: Work) -> bool:
    """Kill the remaining processes of a dead worker; return True if there were any."""
    found = locks.pids_with_env(RUN_VARIABLE, str(run.path))
    for pid in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and locks.pids_with_env(RUN_VARIABLE, str(run.path)):
        time.sleep(0.02)
    return bool(found)
