"""What a fusion must beat, on the same windows and from the same frozen encoders.

* ``fusion:best`` the single modality that does best on the validation windows,
* ``fusion:mean`` the mean of the encoders' softmaxes,
* ``fusion:calibrated`` the same after each encoder's logits were divided by a temperature fitted on the validation
  windows: an encoder that is wrong there as often as it is sure of itself hardly counts any more,
* ``fusion:concat`` concatenation with an MLP, and ``fusion:paper`` the published layer, both trained like the fusion
  (:mod:`eavdash.training.stage2`),
* ``majority`` the class shares of the training trials.

Nothing is chosen or fitted on test windows. Without validation windows there is nothing honest to fit on, as encoders
have memorised their training windows: then ``fusion:calibrated`` equals the mean and ``fusion:best`` takes the
modality that is best on its training windows; config.json says so under ``baselines``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from eavdash.training.calibration import Calibration, fit_temperature
from eavdash.training.evaluate import Decided

#: Values of the column ``stage`` of baselines.parquet, as every table of results names them.
BASELINES = ("fusion:best", "fusion:mean", "fusion:calibrated", "fusion:concat", "fusion:paper", "majority")
#: Those that are trained, by the kind of fusion they are.
TRAINED = {"concat": "fusion:concat", "paper": "fusion:paper"}


def mean_of_modalities(logits: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Decided:
    """Mean over the modalities present in a window of the softmax of their logits (window, K); uniform without any."""
    weights = np.stack([m.any(dim=1).double().numpy() for m in masks.values()])  # (M, window)
    each = np.stack([logits[m].double().softmax(-1).numpy() for m in masks])  # (M, window, K)
    total = weights.sum(axis=0)[:, None]
    mean = (each * weights[:, :, None]).sum(axis=0) / np.maximum(total, 1)
    return Decided(np.where(total > 0, mean, 1 / each.shape[2]))


def temperatures(
    logits: Mapping[str, Tensor], masks: Mapping[str, Tensor], labels: Tensor, validation: Sequence[int]
) -> dict[str, Calibration]:
    """A temperature per modality, fitted on the validation windows that have it."""
    rows = torch.as_tensor(validation, dtype=torch.int64)
    found = {}
    for name, values in logits.items():
        here = rows[masks[name].any(dim=1)[rows]]
        found[name] = fit_temperature(values[here], labels[here])
    return found


def calibrated_mean(
    logits: Mapping[str, Tensor], masks: Mapping[str, Tensor], fitted: Mapping[str, Calibration]
) -> Decided:
    """:func:`mean_of_modalities` of the logits divided by their temperatures."""
    return mean_of_modalities({m: x.double() / fitted[m].temperature for m, x in logits.items()}, masks)


@dataclass(frozen=True)
class Ranking:
    """Modalities by how well they did on the windows of ``split``, the best first."""

    order: tuple[str, ...]
    split: str
    accuracy: dict[str, float | None]  # per window; None where the modality was recorded in none of them

    def to_dict(self) -> dict[str, Any]:
        """For config.json."""
        return {"chosen": self.order[0], "by": f"{self.split} windows", "accuracy": self.accuracy}


def rank(
    logits: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    labels: Tensor,
    train: Sequence[int],
    validation: Sequence[int],
) -> Ranking:
    """Modalities by accuracy on the validation windows that have them, then by cross-entropy, then in their order."""
    rows = torch.as_tensor(validation if len(validation) else train, dtype=torch.int64)
    accuracy: dict[str, float | None] = {}
    keys = {}
    for place, (name, values) in enumerate(logits.items()):
        here = rows[masks[name].any(dim=1)[rows]]
        accuracy[name], loss = None, float("inf")
        if len(here):
            accuracy[name] = float((values[here].argmax(1) == labels[here]).double().mean())
            loss = float(F.cross_entropy(values[here].double(), labels[here]))
        keys[name] = (-1.0 if accuracy[name] is None else accuracy[name], -loss, -place)
    order = sorted(keys, key=lambda name: keys[name], reverse=True)
    return Ranking(tuple(order), "validation" if len(validation) else "training", accuracy)


def best_single(logits: Mapping[str, Tensor], masks: Mapping[str, Tensor], order: Sequence[str]) -> Decided:
    """The decision of the first modality of ``order`` that a window has; uniform without any."""
    classes = next(iter(logits.values())).shape[1]
    out = np.full((len(next(iter(masks.values()))), classes), 1 / classes)
    for name in reversed(order):
        here = masks[name].any(dim=1).numpy()
        out[here] = logits[name].double().softmax(-1).numpy()[here]
    return Decided(out)


def majority(index: pd.DataFrame, classes: Sequence[str]) -> Decided:
    """For every window the class shares of the training trials; the largest (the first of equals) is the decision."""
    trials = index[index["split"] == "train"].drop_duplicates(["subject", "trial"])
    shares = trials["label"].value_counts(normalize=True).reindex(list(classes), fill_value=0.0)
    return Decided(np.tile(shares.to_numpy(dtype=np.float64), (len(index), 1)))
