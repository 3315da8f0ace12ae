"""Seeds: every random choice of a run follows from (study seed, fold, stage) and a purpose, never from what ran before.

Because each epoch is seeded on its own, a run that goes on from epoch k makes the choices that it would have made
without the interruption.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator

import torch

#: ``seed("init")``, ``seed("epoch", 3)``: a number for one purpose of one run.
Seeder = Callable[..., int]


def seeder(seed: int, fold: int, stage: str) -> Seeder:
    """The :data:`Seeder` of a run."""

    def derive(*purpose: str | int) -> int:
        text = "\x1f".join(str(part) for part in (seed, fold, stage, *purpose))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")

    return derive


def generator(seed: int) -> torch.Generator:
    """A CPU generator: the same choices whatever device the model is on."""
    return torch.Generator().manual_seed(seed)


@contextlib.contextmanager
def reproducible(device: torch.device, threads: int) -> Iterator[None]:
    """``threads`` torch threads and deterministic algorithms inside the block; both as before after it."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    # cuBLAS reads this when it starts; without it matrix products on a GPU differ from run to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(max(1, threads))
    # Some operations have no deterministic form on a GPU: there the promise is "nearly", and torch says so in the log.
    torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1], warn_only=warn_only)
