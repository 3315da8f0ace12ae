"""A stretch of EEG in memory, and what a recording's header says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class EegSignal:
    """A stretch of EEG: ``data`` (channel, time) float32 volt at ``rate`` Hz, rows named by ``channels``.

    ``others``: further channels of the file, (time,) each, that are read only to be a reference (ears, mastoids).
    """

    data: np.ndarray
    rate: float
    channels: tuple[str, ...]
    others: Mapping[str, np.ndarray] = field(default_factory=dict)

    def pick(self, channels: Sequence[str]) -> EegSignal:
        """The same stretch with exactly these channels, in this order; all of them must be there."""
        rows = [self.channels.index(name) for name in channels]
        return replace(self, data=self.data[rows], channels=tuple(channels))


@dataclass(frozen=True)
class EegInfo:
    """What a recording's header says; ``duration`` in seconds, ``rate`` in Hz, canonical ``channels``.

    ``others`` are the channels that are not read unless they are named as a reference.
    """

    duration: float
    rate: float
    channels: tuple[str, ...]
    others: tuple[str, ...] = ()
