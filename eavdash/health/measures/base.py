"""Common definitions of the measures: parts of files, requests, hashes.

In: paths and times, no recordings. Out: the requests that the check sends to the measuring processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eavdash.config.choices import MIX


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

    ``mains``: Hz that the study's notch removes from EEG before it looks for bad channels; 0: none. ``channel``: the
    channel of a sound that the study hears. ``rules``: those of the study's
    :class:`~eavdash.data.eeg.signal.EegRules` that differ from the presets', or for a table of features how the study
    reads it, by name.
    """

    column: str
    file: str
    parts: tuple[Part, ...]
    mains: float = 0.0
    channel: str = MIX
    rules: tuple[tuple[str, str], ...] = ()

    @property
    def signature(self) -> str:
        """The key of parts, mains, channel and rules: "" for a whole file as recorded, a hash for any others."""
        if self.parts == (Part(),) and not self.mains and self.channel == MIX and not self.rules:
            return ""
        key = (self.parts, self.mains, *([self.channel] if self.channel != MIX else []), *self.rules)
        return hashlib.blake2b(repr(key).encode(), digest_size=8).hexdigest()


Facts = dict[str, Any]
Measure = Callable[[str, Sequence[Part]], tuple[Facts, Callable[[Part], Facts]]]


def content_hash(array: np.ndarray) -> str:
    """Hash an array's values; copies of an item have equal hashes."""
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()
