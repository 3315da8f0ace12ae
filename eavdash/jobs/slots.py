"""Slots: the cores, memory and GPU shares of this machine that runs hold, never more in total than exist.

Each core, GiB of main memory and part of a GPU is a slot: a locked file whose descriptor the job inherits, so that the
kernel frees it exactly when the job is dead. A run takes one slot per thread, one per GiB that it needs and, on a
machine with GPUs, its share of the twelve parts of one GPU, the one with most parts free.

``EAVDASH_SLOTS`` is the number of cores that may be used (default: those of this process), ``EAVDASH_RAM`` the GiB
(default: all), ``EAVDASH_GPUS`` the GPUs ("0,1"; empty: none; default: ``CUDA_VISIBLE_DEVICES``, or those that
nvidia-smi lists).
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from eavdash.config.schema import Execution
from eavdash.errors import ConfigError
from eavdash.jobs.executors import Leases
from eavdash.store import locks

#: Parts of a GPU: 2, 3, 4, 6 or 12 runs can share one evenly.
GPU_PARTS = 12
#: Environment variable of a worker: the share of its GPU's memory that it may use.
SHARE_VARIABLE = "EAVDASH_GPU_SHARE"


@dataclass(frozen=True)
class Machine:
    """Resources of a machine: cores, GiB of main memory (0: not counted), names of GPUs."""

    cores: int
    ram: int = 0
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True)
class Need:
    """Resources that one run needs. ``gpu_parts`` 0: no GPU; ``gpu``: only this one."""

    cores: int = 1
    ram: int = 0
    gpu_parts: int = 0
    gpu: str = ""


def this_machine() -> Machine:
    """Return the resources of this machine that runs may use.

    Raises:
        ConfigError: a variable has an invalid value.
    """
    return Machine(slot_count(), _ram(), _gpus())


def slot_count() -> int:
    """Return ``EAVDASH_SLOTS``, or by default the number of cores that this process may use.

    Raises:
        ConfigError: the variable is not a whole number above 0.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return _number("EAVDASH_SLOTS", cores)


def cluster_jobs() -> int:
    """Return ``EAVDASH_CLUSTER_JOBS``: the maximum number of jobs in Ray or SLURM at once, waiting or running.

    Raises:
        ConfigError: the variable is not a whole number above 0.
    """
    return _number("EAVDASH_CLUSTER_JOBS", 200)


def idle_seconds() -> float:
    """Return ``EAVDASH_IDLE``: the seconds without work after which a scheduler exits.

    Raises:
        ConfigError: the variable is not a number above 0.
    """
    given = os.environ.get("EAVDASH_IDLE") or "60"
    with contextlib.suppress(ValueError):
        if 0 < float(given) < math.inf:
            return float(given)
    raise ConfigError.at(
        "EAVDASH_IDLE", expected="a number of seconds above 0", found=repr(given), remedy="fix or unset it"
    )


def check_environment() -> None:
    """Check the variables of this module, for a command that needs them only later or in the scheduler.

    Raises:
        ConfigError: a variable has an invalid value.
    """
    slot_count()
    _ram()
    cluster_jobs()
    idle_seconds()


def need_of(settings: Execution, machine: Machine, ram: float) -> Need:
    """Return the resources of a run that needs ``ram`` GiB; at most the whole machine, so that every run can start."""
    parts, gpu = 0, ""
    if machine.gpus and settings.device != "cpu":
        parts = max(1, GPU_PARTS // max(1, settings.runs_per_gpu))
        number = settings.device.partition(":")[2]
        gpu = number if number in machine.gpus else ""
    cores = min(max(1, settings.threads), machine.cores)
    return Need(cores, min(max(1, round(ram + 0.49)), machine.ram), parts, gpu)


class Slots:
    """The slots of one machine, as files in a folder."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.machine = machine
        self._cores = [folder / str(i) for i in range(machine.cores)]
        self._ram = [folder / f"ram-{i}" for i in range(machine.ram)]
        self._gpus = {
            name: [folder / f"gpu-{re.sub('[^A-Za-z0-9-]', '_', name)}-{i}" for i in range(GPU_PARTS)]
            for name in machine.gpus
        }
        self._turn = threading.Lock()

    @contextlib.contextmanager
    def take(self, need: Need, wanted: Callable[[], bool]) -> Iterator[Leases | None]:
        """Wait for all needed slots and hold them.

        Yield None if ``wanted()`` became False while waiting. Leaving the block closes this process's descriptors; a
        job that inherited them keeps its own.
        """
        held: dict[Path, int] = {}
        try:
            environment: dict[str, str] | None = None
            # Only one run waits at a time, so that small runs do not starve one that needs a lot.
            while not self._turn.acquire(timeout=0.5):
                if not wanted():
                    yield None
                    return
            try:
                while wanted() and environment is None:
                    environment = self._gather(need, held)
                    if environment is None:
                        time.sleep(0.1)
            finally:
                self._turn.release()
            yield None if environment is None else Leases(list(held.values()), environment)
        finally:
            for descriptor in held.values():
                os.close(descriptor)

    def _gather(self, need: Need, held: dict[Path, int]) -> dict[str, str] | None:
        """Take the free ones among the missing slots; return the job's variables once none is missing."""
        whole = _fill(self._cores, min(need.cores, len(self._cores)), held)
        whole &= _fill(self._ram, min(need.ram, len(self._ram)), held)
        if not need.gpu_parts or not self._gpus:
            return {} if whole else None
        names = [need.gpu] if need.gpu in self._gpus else list(self._gpus)
        # Release the parts of a GPU that cannot provide the rest: another one may be free by now.
        taken = {name: [f for f in self._gpus[name] if f in held] for name in names}
        for name in sorted(names, key=lambda n: -self._free(n, held)):
            if _fill(self._gpus[name], need.gpu_parts, held):
                if not whole:
                    return None
                share = need.gpu_parts / GPU_PARTS
                alone = {} if share >= 1 else {SHARE_VARIABLE: f"{share:.4f}"}
                return {"CUDA_VISIBLE_DEVICES": name, "EAVDASH_GPU": name, **alone}
            for file in [f for f in self._gpus[name] if f in held and f not in taken[name]]:
                os.close(held.pop(file))
        return None

    def _free(self, gpu: str, mine: dict[Path, int]) -> int:
        """Return how many parts of a GPU no other run holds."""
        free = 0
        for file in self._gpus[gpu]:
            if file in mine:
                free += 1
            elif (descriptor := locks.acquire(file, timeout=0)) is not None:
                os.close(descriptor)
                free += 1
        return free


def _fill(files: list[Path], number: int, held: dict[Path, int]) -> bool:
    """Take slots of one kind until ``number`` of them are held; return True if they are."""
    have = sum(file in held for file in files)
    for file in files:
        if have >= number:
            break
        if file not in held and (descriptor := locks.acquire(file, timeout=0)) is not None:
            held[file] = descriptor
            have += 1
    return have >= number


def _ram() -> int:
    import psutil

    total = psutil.virtual_memory().total
    with contextlib.suppress(OSError, ValueError):  # a container's own limit
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return _number("EAVDASH_RAM", max(1, int(total // 2**30)))


def _gpus() -> tuple[str, ...]:
    for variable in ("EAVDASH_GPUS", "CUDA_VISIBLE_DEVICES"):
        if variable in os.environ:
            return tuple(part.strip() for part in os.environ[variable].split(",") if part.strip())
    if (command := shutil.which("nvidia-smi")) is None:
        return ()
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        query = [command, "--query-gpu=index", "--format=csv,noheader"]
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
        return tuple(line.strip() for line in done.stdout.splitlines() if line.strip().isdecimal())
    return ()


def _number(variable: str, default: int) -> int:
    given = os.environ.get(variable)
    if not given:
        return default
    if not given.isdecimal() or int(given) < 1:
        raise ConfigError.at(variable, expected="a whole number above 0", found=repr(given), remedy="fix or unset it")
    return int(given)
