"""Common definitions of the measures: parts of files, requests, runs of equal samples, hashes.

In: paths and times, no recordings. Out: the requests that the check sends to the measuring processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Part:
    """The part of a file that a trial uses: item ``number`` (from 1) of a file of many, start and stop in seconds or
    None.

    Its name and fields are hashed in :attr:`MeasureRequest.signature`.
    """

    number: int | None = None
    start: float | None = None
    stop: float | None = None

    def entry(self, file: str) -> str:
        """The part's path as in the trial table."""
        return file if self.number is None else f"{file}#{self.number}"


@dataclass(frozen=True)
class MeasureRequest:
    """A request to measure the ``parts`` (each once) of ``file``, as recordings of ``column``.

    ``mains``: Hz that the study's notch removes from EEG before it looks for bad channels; 0: none.
    """

    column: str
    file: str
    parts: tuple[Part, ...]
    mains: float = 0.0

    @property
    def signature(self) -> str:
        """The key of parts and mains: "" for a whole file as recorded, a hash for any others."""
        if self.parts == (Part(),) and not self.mains:
            return ""
        return hashlib.blake2b(repr((self.parts, self.mains)).encode(), digest_size=8).hexdigest()


Facts = dict[str, Any]
Measure = Callable[[str, Sequence[Part]], tuple[Facts, Callable[[Part], Facts]]]


def content_hash(array: np.ndarray) -> str:
    """Hash an array's values; copies of an item have equal hashes."""
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()


def runs_of_true(true: np.ndarray, least: int) -> np.ndarray:
    """(row, time) bool: True within runs of at least ``least`` true values."""
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
