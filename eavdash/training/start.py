"""The beginning of the fusion ``transformer``, and the gain of training over that, judged on validation trials.

The fusion ``transformer`` begins as the normalised geometric mean of the encoders' calibrated probabilities. A few
dozen training windows, which the encoders have memorised, often move it away from that without any gain on new ones.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from eavdash.training import baselines
from eavdash.training.fusion_features import FusionFeatures

log = logging.getLogger(__name__)

#: Standard errors that a gain must exceed: about the 5 % level, for the best of many epochs on the same trials.
ERRORS = 2.0
#: Standard errors by which an encoder's opinion must beat one that says nothing, and validation trials for the test.
#: With fewer trials weak but true opinions would fail it.
EVIDENCE, TRIALS = 1.0, 20
MUTED = 1e6  # temperature of an opinion that counts as saying nothing


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


def opinion_temperatures(
    joined: FusionFeatures, labels: Tensor, validation: Sequence[int], *, mute: bool
) -> dict[str, float]:
    """Return the temperature of each encoder's opinion: fitted, or with ``mute`` :data:`MUTED` where it says nothing.

    It says nothing if its log-loss on at least :data:`TRIALS` validation trials is not by :data:`EVIDENCE` standard
    errors below that of equal probabilities.
    """
    fitted = baselines.temperatures(joined.logits, joined.masks, labels, validation)
    found = {}
    for name, calibration in fitted.items():
        found[name] = calibration.temperature
        present = joined.present(name)
        rows = [row for row in validation if present[row]]
        trials = (joined.index["subject"] + "/" + joined.index["trial"]).iloc[rows].tolist()
        if mute and len(set(trials)) >= TRIALS:
            opinion = joined.logits[name][rows] / calibration.temperature
            said = gain(torch.zeros_like(opinion), opinion, labels[rows], trials)
            if said.mean < EVIDENCE * said.error:
                log.info("the opinion of %s counts as none: it says %.3f ± %.3f nats", name, said.mean, said.error)
                found[name] = MUTED
    return found
