"""The common interface of all sources of sound: libsndfile, FFmpeg and pickles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from eavdash.config.limits import SECONDS
from eavdash.data.recording import refuse_beyond
from eavdash.errors import EavdashError, RecordingError

#: Samples (over all channels) read at once: 4 MiB.
BLOCK = 2**20
#: Hz. A rate outside means a damaged header.
RATES = (1000, 1_000_000)


@dataclass(frozen=True)
class Sound:
    """One recording's sound: ``length`` samples at ``rate`` Hz in ``channels`` channels.

    ``blocks(first, last)`` yields the samples from ``first`` up to ``last`` in consecutive pieces, (time, channel)
    float32, in -1..1 unless the file itself exceeds it, and raises a RecordingError if they cannot be read. Non-finite
    samples are passed on.
    """

    path: str
    rate: int
    length: int
    channels: int
    blocks: Callable[[int, int], Iterator[np.ndarray]]

    def __post_init__(self) -> None:
        if not RATES[0] <= self.rate <= RATES[1]:
            raise RecordingError.at(
                self.path,
                expected=f"a sampling rate from {RATES[0]} to {RATES[1]} Hz",
                found=f"{self.rate} Hz",
                remedy="correct the rate in the file's header, or export the file again",
            )
        if self.length <= 0:
            raise RecordingError.at(self.path, expected="a recording", found="no samples", remedy="copy it again")
        refuse_beyond(self.path, "seconds", self.length / self.rate, SECONDS)


def truncated(path: str, expected: str, found: str) -> EavdashError:
    """The error for a file that is shorter than its header states."""
    return RecordingError.at(
        path, expected=expected, found=f"{found} (the file was cut short)", remedy="copy it again or leave it out"
    )
