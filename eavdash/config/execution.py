"""The part of a study that is run, and the way it is run: never part of its identity."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Selection:
    """The part of a study that is run. ``subjects`` and ``folds`` empty: all of them."""

    subjects: tuple[str, ...] = ()
    folds: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Execution:
    """The way runs are computed; never part of a study's identity."""

    device: str = "auto"  # auto, cpu, cuda, cuda:1 ...
    executor: str = "local"
    threads: int = 1  # torch threads per worker
    compile: bool = False  # torch.compile
    memory: float = 0.0  # GiB of device memory that a batch may use; 0: all of it
    priority: int = 0  # higher starts first, among the runs of all studies
    runs_per_gpu: int = 1  # runs that share a GPU, each with its share of the memory
    ram: float = 0.0  # GiB of main memory that a run needs; 0: as much as earlier runs of its stage used
    ray_address: str = ""  # address of the Ray head; empty: RAY_API_SERVER_ADDRESS, or this machine
    slurm: tuple[str, ...] = ()  # options of sbatch, such as "partition=gpu" or "time=04:00:00"
