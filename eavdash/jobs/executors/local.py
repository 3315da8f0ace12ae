"""This machine: one process per run, in a session of its own, which outlives whoever started it.

The worker inherits the run's lock and the leases of its slots as open descriptors; nobody else keeps them, so the
kernel frees them exactly when the job is dead. Whoever finds the lock held knows that the job lives, also when the
conductor that started it does not.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import eavdash
from eavdash.config.schema import Execution
from eavdash.errors import IntegrityError, QueueError, sentence
from eavdash.jobs.executors import JOB_VARIABLE, Exit, Leases
from eavdash.store import RunDir, locks
from eavdash.store.atomic import host, is_locked

#: Environment variable with the number of the inherited descriptor that holds the run's lock.
LOCK_VARIABLE = "EAVDASH_LOCK_FD"
#: Environment variable with the run's folder: every process that a worker starts is known by it, and by nothing else,
#: for numbers of processes and of their groups are used again.
RUN_VARIABLE = "EAVDASH_RUN"
#: Libraries that would each take every core if they were not told otherwise.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


@dataclass(frozen=True)
class Job:
    """A worker's process. ``process`` is None for one that another conductor, or a person, has started."""

    run: RunDir
    owner: locks.Owner | None
    process: subprocess.Popen[bytes] | None = None


@dataclass(frozen=True)
class LocalExecutor:
    """``command`` is what is run, with the run's folder behind it; ``grace`` in seconds is given to a polite end."""

    has_queue: ClassVar[bool] = False

    command: tuple[str, ...] = field(default_factory=lambda: worker_command())
    grace: float = 2.0

    def start(self, run: RunDir, settings: Execution, leases: Leases, claim: Callable[[], Any]) -> Job | None:
        """See :class:`eavdash.jobs.executors.Executor`."""
        # Pages look at locks all the time, and a dead job's children may need a moment to be gone.
        lock = locks.acquire(run.lock_file, timeout=2.0)
        if lock is None:
            return None
        try:
            locks.sign(lock, None)
            claim()
            mine = {LOCK_VARIABLE: str(lock), RUN_VARIABLE: str(run.path), **leases.environment}
            with run.log_file.open("ab") as log:
                log.write(heading(run, f"{settings.threads} threads").encode())
                log.flush()
                process = subprocess.Popen(
                    [*self.command, str(run.path)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=(lock, *leases.descriptors),
                    env=worker_environment(settings.threads) | mine,
                )
            locks.sign(lock, process.pid)
            return Job(run, locks.owner(run.lock_file), process)
        finally:
            os.close(lock)

    def find(self, run: RunDir) -> Job | None:
        """See :class:`eavdash.jobs.executors.Executor`."""
        if is_locked(run.lock_file) or _runs_elsewhere(run):
            return Job(run, locks.owner(run.lock_file))
        _kill_leftovers(run)
        return None

    def poll(self, job: Job) -> Exit | None:
        """See :class:`eavdash.jobs.executors.Executor`."""
        if job.process is None:
            if self._is_alive(job):
                return None
            _kill_leftovers(job.run)
            return Exit()
        if not _has_ended(job.process):
            return None
        # Its children go first: as long as the dead process is not reaped, its number is the group's and nobody else's.
        _signal_group(job.process.pid, signal.SIGKILL)
        code = job.process.wait()
        _kill_leftovers(job.run)
        return Exit(code)

    def waiting_reason(self, job: Job) -> str:
        """See :class:`eavdash.jobs.executors.Executor`; a job of this machine begins at once."""
        return ""

    def stop(self, job: Job) -> None:
        """See :class:`eavdash.jobs.executors.Executor`.

        Raises:
            QueueError: the process belongs to another machine.
        """
        polite = time.monotonic() + self.grace
        told = swept = False
        while self._is_alive(job):
            owner = self._owner(job)
            if owner is None or owner.host != host():
                # Its signature is lost, or this machine had another name: its processes are known by the run's folder.
                swept |= _kill_leftovers(job.run)
                if swept and not job.run.locked():
                    return
                if owner is not None and not swept:
                    raise QueueError.at(
                        job.run.path,
                        expected="a job of this machine",
                        found=f"one of {owner.host}",
                        remedy="cancel there",
                    )
            elif owner.alive and not (told and time.monotonic() < polite):
                _signal_group(owner.pid, signal.SIGKILL if told else signal.SIGTERM)
                told = True
            time.sleep(0.05)
        _kill_leftovers(job.run)

    def check(self, root: Path, settings: Execution) -> list[str]:
        """See :class:`eavdash.jobs.executors.Executor`."""
        from eavdash.jobs.slots import this_machine

        machine = this_machine()
        wrong = []
        if settings.device.startswith("cuda"):
            number = settings.device.partition(":")[2]
            if not machine.gpus or (number and number not in machine.gpus):
                gpus = f"the GPUs {', '.join(machine.gpus)}" if machine.gpus else "no GPU"
                remedy = "use --device cpu, or name the GPUs in EAVDASH_GPUS"
                wrong.append(sentence("--device", f"a GPU for {settings.device}", gpus, remedy))
        for name, asked, there, unit in (
            ("--ram", settings.ram, machine.ram, "GiB"),
            ("--threads", settings.threads, machine.cores, "cores"),
        ):
            if asked > there:
                wrong.append(
                    sentence(name, f"at most {there} {unit}, which this machine has", f"{asked:g}", "ask for less")
                )
        return wrong

    def _owner(self, job: Job) -> locks.Owner | None:
        return job.owner or locks.owner(job.run.lock_file)

    def _is_alive(self, job: Job) -> bool:
        owner = self._owner(job)
        if not job.run.lock_file.exists():
            # The folder was deleted under the job, or it is another machine's.
            return (owner is not None and owner.alive) or _runs_elsewhere(job.run)
        if not is_locked(job.run.lock_file):
            return _runs_elsewhere(job.run)
        if owner is not None and owner.host == host() and not owner.alive:
            _kill_leftovers(job.run)  # a child that outlived its worker still holds the lock
        return True


def heading(run: RunDir, how: str) -> str:
    """The line that begins an attempt in a run's log."""
    return f"--- attempt {run.status().get('attempt', 0)}, {time.strftime('%Y-%m-%d %H:%M:%S')}, {how}\n"


def worker_command() -> tuple[str, ...]:
    """The worker's command line; ``EAVDASH_WORKER`` replaces it where the queue itself is under test."""
    given = os.environ.get("EAVDASH_WORKER")
    return tuple(shlex.split(given)) if given else (sys.executable, "-P", "-m", "eavdash.jobs.worker")


def worker_environment(threads: int) -> dict[str, str]:
    """This process's environment, with the thread counts of a worker and this copy of the package on its path.

    Without what names another worker's job: the queue may have been started from inside one.
    """
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)), "PYTHONUNBUFFERED": "1"}
    own = (JOB_VARIABLE, LOCK_VARIABLE, RUN_VARIABLE)
    return with_package({name: value for name, value in environment.items() if name not in own})


def with_package(environment: dict[str, str]) -> dict[str, str]:
    """``environment`` in which ``import eavdash`` finds this copy, from any working directory."""
    home = str(Path(eavdash.__file__).resolve().parents[1])
    rest = [part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part and part != home]
    return {**environment, "PYTHONPATH": os.pathsep.join([home, *rest])}


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a child has ended, without reaping it where the system allows that."""
    if process.returncode is not None:
        return True
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal_group(pid: int, number: signal.Signals) -> None:
    """Signal the group that a process leads; the process alone if it leads none (started by hand from a script)."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)


def _runs_elsewhere(run: RunDir) -> bool:
    """Whether another machine is computing the run, whose lock may not be seen from here: its heart beats."""
    with contextlib.suppress(IntegrityError):
        status = run.live_status()
        return status["state"] == "running" and status.get("host") != host() and status["shown"] == "running"
    return False


def _kill_leftovers(run: RunDir) -> bool:
    """Kill what a dead worker has left behind, wherever it has gone; whether there was anything."""
    found = locks.pids_with_env(RUN_VARIABLE, str(run.path))
    for pid in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and locks.pids_with_env(RUN_VARIABLE, str(run.path)):
        time.sleep(0.02)
    return bool(found)
