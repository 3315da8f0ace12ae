"""A segment of EEG in memory, and the properties in a recording's header."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class EegSignal:
    """A segment of EEG: ``data`` (channel, time) float32 volt at ``rate`` Hz, rows named by ``channels``.

    ``others``: further channels of the file, (time,) each, read only as references (ears, mastoids).
    """

    data: np.ndarray
    rate: float
    channels: tuple[str, ...]
    others: Mapping[str, np.ndarray] = field(default_factory=dict)

    def pick(self, channels: Sequence[str]) -> EegSignal:
        """The same segment with exactly these channels, in this order; all of them must exist."""
        rows = [self.channels.index(name) for name in channels]
        return replace(self, data=self.data[rows], channels=tuple(channels))


@dataclass(frozen=True)
class EegInfo:
    """A recording's properties from its header; ``duration`` in seconds, ``rate`` in Hz, canonical ``channels``.

    ``others``: channels that are read only if they are named as a reference.
    """

    duration: float
    rate: float
    channels: tuple[str, ...]
    others: tuple[str, ...] = ()
