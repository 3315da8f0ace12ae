"""Slots: what of this machine its runs hold, so that together they never hold more than there is.

Cores, GiB of main memory and parts of GPUs are tickets, each a locked file whose descriptor the job inherits: it is
free exactly when the job is dead, whether or not anybody was there to notice. A run takes a ticket per thread, one per
GiB that it needs, and, on a machine with GPUs, its part of the twelve parts of one GPU, the emptiest.

``EAVDASH_SLOTS`` says how many cores may be used (default: those of this process), ``EAVDASH_RAM`` how many GiB
(default: all), ``EAVDASH_GPUS`` which GPUs ("0,1"; empty: none; default: ``CUDA_VISIBLE_DEVICES``, or those that
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
#: Environment variable of a worker with the share of its GPU's memory that it may take.
SHARE_VARIABLE = "EAVDASH_GPU_SHARE"


@dataclass(frozen=True)
class Machine:
    """What there is: cores, GiB of main memory (0: not counted), names of GPUs."""

    cores: int
    ram: int = 0
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True)
class Need:
    """What one run takes. ``gpu_parts`` 0: no GPU; ``gpu``: only this one."""

    cores: int = 1
    ram: int = 0
    gpu_parts: int = 0
    gpu: str = ""


def this_machine() -> Machine:
    """What runs may use here.

    Raises:
        ConfigError: a variable is not what it should be.
    """
    return Machine(slot_count(), _ram(), _gpus())


def slot_count() -> int:
    """``EAVDASH_SLOTS``, else the number of cores that this process may use.

    Raises:
        ConfigError: the variable is not a number above 0.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return _number("EAVDASH_SLOTS", cores)


def cluster_jobs() -> int:
    """``EAVDASH_CLUSTER_JOBS``: how many jobs may be handed to Ray or SLURM at once, waiting there or at work.

    Raises:
        ConfigError: the variable is not a number above 0.
    """
    return _number("EAVDASH_CLUSTER_JOBS", 200)


def idle_seconds() -> float:
    """``EAVDASH_IDLE``: after how many seconds without anything to do a conductor ends.

    Raises:
        ConfigError: the variable is not a number above 0.
    """
    given = os.environ.get("EAVDASH_IDLE") or "60"
    with contextlib.suppress(ValueError):
        if 0 < float(given) < math.inf:
            return float(given)
    raise ConfigError.at("EAVDASH_IDLE", expected="seconds, more than 0", found=repr(given), remedy="mend or unset it")


def check_environment() -> None:
    """Read the variables that say what runs may take, for a command that needs them only later, or in a conductor.

    Raises:
        ConfigError: one is not what it should be.
    """
    slot_count()
    _ram()
    cluster_jobs()
    idle_seconds()


def need_of(settings: Execution, machine: Machine, ram: float) -> Need:
    """What a run takes that needs ``ram`` GiB; never more than there is, so that it runs alone rather than never."""
    parts, gpu = 0, ""
    if machine.gpus and settings.device != "cpu":
        parts = max(1, GPU_PARTS // max(1, settings.runs_per_gpu))
        number = settings.device.partition(":")[2]
        gpu = number if number in machine.gpus else ""
    cores = min(max(1, settings.threads), machine.cores)
    return Need(cores, min(max(1, round(ram + 0.49)), machine.ram), parts, gpu)


class Slots:
    """The tickets of one machine, as files in a folder."""

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
        """Wait for all that is needed and hold it.

        None when ``wanted()`` became false while waiting. Leaving the block gives up this process's hold; a job that
        inherited the descriptors keeps its own.
        """
        held: dict[Path, int] = {}
        try:
            environment: dict[str, str] | None = None
            # One waits at a time, so that a run in need of much is not starved by those that need little.
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
        """Take what is free of what is still missing; the job's variables once nothing is."""
        whole = _fill(self._cores, min(need.cores, len(self._cores)), held)
        whole &= _fill(self._ram, min(need.ram, len(self._ram)), held)
        if not need.gpu_parts or not self._gpus:
            return {} if whole else None
        names = [need.gpu] if need.gpu in self._gpus else list(self._gpus)
        # What is held of a GPU that cannot give the rest is let go: another one may be empty by now.
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
        """How many parts of a GPU nobody else holds."""
        free = 0
        for file in self._gpus[gpu]:
            if file in mine:
                free += 1
            elif (descriptor := locks.acquire(file, timeout=0)) is not None:
                os.close(descriptor)
                free += 1
        return free


def _fill(files: list[Path], number: int, held: dict[Path, int]) -> bool:
    """Take tickets of one kind until ``number`` of them are held; whether they are."""
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
        raise ConfigError.at(variable, expected="a whole number above 0", found=repr(given), remedy="mend or unset it")
    return int(given)
