"""What a fusion must beat, on the same windows: the mean of the encoders' softmaxes, a plain concatenation with an MLP
(trained like the fusion, see :mod:`eavdash.training.stage2`), and the class shares of the training trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from eavdash.training.evaluate import Decided

#: Values of the column ``stage`` of baselines.parquet, as every table of results names them.
BASELINES = ("fusion:mean", "fusion:concat", "majority")


def mean_of_modalities(logits: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Decided:
    """Mean over the modalities present in a window of the softmax of their logits (window, K); uniform without any."""
    weights = np.stack([m.any(dim=1).double().numpy() for m in masks.values()])  # (M, window)
    each = np.stack([logits[m].double().softmax(-1).numpy() for m in masks])  # (M, window, K)
    total = weights.sum(axis=0)[:, None]
    mean = (each * weights[:, :, None]).sum(axis=0) / np.maximum(total, 1)
    return Decided(np.where(total > 0, mean, 1 / each.shape[2]))


def majority(index: pd.DataFrame, classes: Sequence[str]) -> Decided:
    """For every window the class shares of the training trials; the largest (the first of equals) is the decision."""
    trials = index[index["split"] == "train"].drop_duplicates(["subject", "trial"])
    shares = trials["label"].value_counts(normalize=True).reindex(list(classes), fill_value=0.0)
    return Decided(np.tile(shares.to_numpy(dtype=np.float64), (len(index), 1)))
