"""Seeds: all random draws of a run derive from (study seed, fold, stage) and a purpose, independent of earlier draws.

Each epoch has its own seed, so a resumed run makes the same draws as an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator

import torch

#: ``seed("init")``, ``seed("epoch", 3)``: a seed for one purpose in one run.
Seeder = Callable[..., int]


def seeder(seed: int, fold: int, stage: str) -> Seeder:
    """Return the :data:`Seeder` of a run."""

    def derive(*purpose: str | int) -> int:
        text = "\x1f".join(str(part) for part in (seed, fold, stage, *purpose))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")

    return derive


def generator(seed: int) -> torch.Generator:
    """Return a generator on the CPU, for the same draws on any device."""
    return torch.Generator().manual_seed(seed)


@contextlib.contextmanager
def reproducible(device: torch.device, threads: int) -> Iterator[None]:
    """Use ``threads`` torch threads and deterministic algorithms inside the block, and restore both afterwards."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    # cuBLAS reads this when it starts; without it matrix products on a GPU differ between runs.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(max(1, threads))
    # Some operations have no deterministic implementation on a GPU; torch warns about them in the log.
    torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1], warn_only=warn_only)
