"""Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599).

In: logits (window, K) and class indices (window,) of *validation* windows, which the model was not trained on. Out: the
temperature T > 0 that divides the logits, so that predictions made with 70 % confidence are right seven times in ten.
T does not change the most likely class of a window.

Guo et al. minimise the cross-entropy on validation windows. A few dozen windows that are all classified correctly would
send T to 0, so log T gets a standard normal prior, added once to the cross-entropy summed over all windows: it is
negligible with hundreds of windows and matters with ten. Its cost at T = 1 is 0, so the cross-entropy on these windows
never increases.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

#: Search range of the temperature; the prior keeps the optimum well inside.
RANGE = (1 / 32, 32.0)
_GOLDEN = (math.sqrt(5) - 1) / 2
_STEPS = 60  # halves the bracket more than forty times, down to the precision of float64


@dataclass(frozen=True)
class Calibration:
    """A fitted temperature, and the mean cross-entropy on the validation windows before and after."""

    temperature: float
    windows: int  # validation windows used for the fit; 0: there were none and the temperature is 1
    before: float | None = None
    after: float | None = None


NONE = Calibration(1.0, 0)


def fit_temperature(
    logits: Tensor, labels: Tensor, scaled: Callable[[Tensor, float], Tensor] | None = None
) -> Calibration:
    """Fit the temperature of ``logits``; return :data:`NONE` without any windows.

    Args:
        scaled: function that returns the windows' logits at a temperature, if they are not ``logits / T`` (a mean over
            frames).
    """
    if not len(labels):
        return NONE
    logits = logits.detach().double().cpu()
    at = scaled or (lambda values, temperature: values / temperature)

    def entropy(temperature: float) -> float:
        return float(F.cross_entropy(at(logits, temperature), labels, reduction="sum"))

    def cost(log: float) -> float:
        return entropy(math.exp(log)) + log * log / 2

    temperature = math.exp(_lowest(cost, math.log(RANGE[0]), math.log(RANGE[1])))
    before, after = entropy(1.0) / len(labels), entropy(temperature) / len(labels)
    return Calibration(temperature, len(labels), before, after)


def _lowest(cost: Callable[[float], float], low: float, high: float) -> float:
    """Minimise ``cost`` by a grid and golden-section search around its best point; return 0 if that is no better."""
    count = 40
    grid = [low + (high - low) * i / count for i in range(count + 1)]
    best = min(range(count + 1), key=lambda i: cost(grid[i]))
    low, high = grid[max(0, best - 1)], grid[min(count, best + 1)]
    for _ in range(_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, right) if cost(left) <= cost(right) else (left, high)
    found = (low + high) / 2
    return found if cost(found) <= cost(0.0) else 0.0
