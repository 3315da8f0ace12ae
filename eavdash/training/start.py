"""Gain of training over how a model began, judged on validation trials.

The fusion ``transformer`` begins as the normalised geometric mean of the encoders' calibrated probabilities. A few
dozen training windows, which the encoders have memorised, often move it away from that without any gain on new ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from torch import Tensor
from torch.nn.functional import cross_entropy

#: Standard errors that a gain must exceed: about the 5 % level, for the best of many epochs on the same trials.
ERRORS = 2.0


@dataclass(frozen=True)
class Gain:
    """Gain in log-loss per validation trial, with its standard error over trials."""

    mean: float
    error: float

    @property
    def clear(self) -> bool:
        return self.mean > ERRORS * self.error


def gain(before: Tensor, after: Tensor, labels: Tensor, trials: Sequence[str]) -> Gain:
    """Compare logits (N, K) of the same validation windows before and after training.

    ``trials``: of each window; windows of one trial are alike, so they are averaged first. Fewer than two trials:
    clear.
    """
    losses = [cross_entropy(x.double().cpu(), labels.cpu(), reduction="none").numpy() for x in (before, after)]
    paired = pd.Series(losses[0] - losses[1]).groupby(list(trials)).mean()
    if len(paired) < 2:
        return Gain(math.inf, 0.0)
    return Gain(float(paired.mean()), float(paired.std(ddof=1) / math.sqrt(len(paired))))
