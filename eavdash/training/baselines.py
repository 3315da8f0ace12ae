"""Baselines of a fusion, on the same windows and from the same frozen encoders.

* ``fusion:best``: the single modality with the best accuracy on the validation windows,
* ``fusion:mean``: the mean of the encoders' softmaxes,
* ``fusion:calibrated``: the same after temperature scaling of each encoder's logits on the validation windows, which
  gives overconfident encoders little weight,
* ``fusion:KIND``: every kind of fusion, trained like the fusion (:mod:`eavdash.training.stage2`); the run's own kind is
  the run itself, and no table of results repeats it,
* ``majority``: the class shares of the training trials.

Nothing is chosen or fitted on test windows. Encoders have memorised their training windows, so without validation
windows ``fusion:calibrated`` equals the mean, and ``fusion:best`` takes the modality with the best training accuracy;
config.json records that under ``baselines``.
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

from eavdash.config.choices import FUSIONS
from eavdash.models.fusion import Tensors
from eavdash.training.calibration import Calibration, fit_temperature
from eavdash.training.evaluate import Predictions

#: Kinds of fusion that are trained beside another; the names of their rows.
TRAINED = {kind: f"fusion:{kind}" for kind in FUSIONS}


def mean_of_modalities(logits: Tensors, masks: Tensors) -> Predictions:
    """Return each window's mean softmax over its present modalities; uniform without any. ``logits``: (window, K)."""
    weights = np.stack([m.any(dim=1).double().numpy() for m in masks.values()])  # (M, window)
    each = np.stack([logits[m].double().softmax(-1).numpy() for m in masks])  # (M, window, K)
    total = weights.sum(axis=0)[:, None]
    mean = (each * weights[:, :, None]).sum(axis=0) / np.maximum(total, 1)
    return Predictions(np.where(total > 0, mean, 1 / each.shape[2]))


def temperatures(logits: Tensors, masks: Tensors, labels: Tensor, validation: Sequence[int]) -> dict[str, Calibration]:
    """Fit a temperature per modality on the validation windows that have it."""
    rows = torch.as_tensor(validation, dtype=torch.int64)
    found = {}
    for name, values in logits.items():
        here = rows[masks[name].any(dim=1)[rows]]
        found[name] = fit_temperature(values[here], labels[here])
    return found


def calibrated_mean(logits: Tensors, masks: Tensors, fitted: Mapping[str, Calibration]) -> Predictions:
    """Return :func:`mean_of_modalities` of the logits divided by their temperatures."""
    return mean_of_modalities({m: x.double() / fitted[m].temperature for m, x in logits.items()}, masks)


@dataclass(frozen=True)
class Ranking:
    """Modalities by accuracy on the windows of ``split``, the best first."""

    order: tuple[str, ...]
    split: str
    accuracy: dict[str, float | None]  # per window; None if none of the windows has the modality

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of config.json."""
        return {"chosen": self.order[0], "by": f"{self.split} windows", "accuracy": self.accuracy}


def rank(logits: Tensors, masks: Tensors, labels: Tensor, train: Sequence[int], validation: Sequence[int]) -> Ranking:
    """Rank modalities by accuracy on the validation windows that have them; break ties by cross-entropy, then order."""
    rows = torch.as_tensor(validation if len(validation) else train, dtype=torch.int64)
    accuracy: dict[str, float | None] = {}
    keys = {}
    for number, (name, values) in enumerate(logits.items()):
        here = rows[masks[name].any(dim=1)[rows]]
        accuracy[name], loss = None, float("inf")
        if len(here):
            accuracy[name] = float((values[here].argmax(1) == labels[here]).double().mean())
            loss = float(F.cross_entropy(values[here].double(), labels[here]))
        keys[name] = (-1.0 if accuracy[name] is None else accuracy[name], -loss, -number)
    order = sorted(keys, key=lambda name: keys[name], reverse=True)
    return Ranking(tuple(order), "validation" if len(validation) else "training", accuracy)


def best_single(logits: Tensors, masks: Tensors, order: Sequence[str]) -> Predictions:
    """Return each window's softmax of the first modality of ``order`` that it has; uniform without any."""
    classes = next(iter(logits.values())).shape[1]
    out = np.full((len(next(iter(masks.values()))), classes), 1 / classes)
    for name in reversed(order):
        here = masks[name].any(dim=1).numpy()
        out[here] = logits[name].double().softmax(-1).numpy()[here]
    return Predictions(out)


def majority(index: pd.DataFrame, classes: Sequence[str]) -> Predictions:
    """Return the class shares of the training trials for every window; ties go to the first class."""
    trials = index[index["split"] == "train"].drop_duplicates(["subject", "trial"])
    shares = trials["label"].value_counts(normalize=True).reindex(list(classes), fill_value=0.0)
    return Predictions(np.tile(shares.to_numpy(dtype=np.float64), (len(index), 1)))
