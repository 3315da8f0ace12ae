"""What the measures of every kind of recording share: parts of files, what is asked, runs of equal samples, hashes.

In: nothing of the recordings themselves. Out: the records that the check sends to the processes that measure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Part:
    """What one trial uses of a file: item ``number`` (from 1) of a file of many, and seconds; None: its own ends."""

    number: int | None = None
    start: float | None = None
    stop: float | None = None

    def entry(self, file: str) -> str:
        """The part's file as the trial table names it."""
        return file if self.number is None else f"{file}#{self.number}"


@dataclass(frozen=True)
class MeasureRequest:
    """What to look at: the ``parts`` (each once) of ``file``, as recordings of ``column``."""

    column: str
    file: str
    parts: tuple[Part, ...]

    @property
    def signature(self) -> str:
        """Names the parts: "" for a whole file, a hash for any others."""
        if self.parts == (Part(),):
            return ""
        return hashlib.blake2b(repr(self.parts).encode(), digest_size=8).hexdigest()


Facts = dict[str, Any]
Measure = Callable[[str, Sequence[Part]], tuple[Facts, Callable[[Part], Facts]]]


def content_hash(array: np.ndarray) -> str:
    """A hash of an array's values: equal for two items that are copies of each other."""
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()


def runs_of_true(true: np.ndarray, least: int) -> np.ndarray:
    """(row, time) bool: those that are true with at least ``least`` true ones in a row."""
    found = np.zeros_like(true)
    rows = np.flatnonzero(true.sum(axis=-1) >= least)  # of a clean signal, none
    if len(rows):
        found[rows] = _runs_of_true(true[rows], least)
    return found


def _runs_of_true(true: np.ndarray, least: int) -> np.ndarray:
    count = np.cumsum(true, axis=-1)
    count = np.concatenate([np.zeros_like(count[..., :1]), count], axis=-1)
    full = count[..., least:] - count[..., :-least] == least  # the windows of that length which are all true
    edges = np.zeros((*true.shape[:-1], true.shape[-1] + 1), dtype=np.int64)
    edges[..., : full.shape[-1]] += full
    edges[..., least:] -= full
    return np.cumsum(edges, axis=-1)[..., :-1] > 0
