"""Reliability-matched corruption: training the fusion on modalities as unreliable as they are on new windows.

The encoders were trained on the same windows as the fusion, so on these each of them is nearly perfect, even one that
has only memorised noise. A fusion trained on such features would trust the modality that was memorised best.

Therefore, in each training batch, a window's tokens are replaced with probability q by those of a random other
training window, whose label is unrelated. q is chosen per modality so that its accuracy equals the one on validation
windows, which the encoder has not seen:

    accuracy_on_training * (1 - q) + accuracy_by_chance * q = accuracy_on_validation

``accuracy_by_chance`` is the probability that the prediction for one training window matches the label of another.
Accuracies are estimated with one added count per class (Laplace smoothing), which shrinks those of few windows towards
chance. Test windows are not used.

q is 0 where nothing has been memorised: if the accuracy on training windows is not above that on validation windows, or
not above what guessing explains (two standard errors). In the second case the equation would divide by a difference of
almost 0 and replace every window, although the modality may tell something together with another one. Without
validation windows q is 0 too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

#: Standard errors by which training accuracy must exceed that of guessing before windows count as memorised.
BEYOND_GUESSING = 2.0


@dataclass(frozen=True)
class Reliability:
    """Accuracies per window, 0..1, and the share of training windows to replace."""

    training: float
    validation: float | None
    chance: float
    replaced: float


def reliability(predictions: pd.DataFrame, classes: Sequence[str]) -> Reliability:
    """Return the :class:`Reliability` of an encoder from its predictions (window rows of training and validation)."""
    windows = predictions[predictions["frame"] == -1]
    train, validation = (windows[windows["split"] == split] for split in ("train", "validation"))
    labels = train["label"].value_counts(normalize=True)
    predicted = train["predicted"].value_counts(normalize=True)
    chance = float(sum(labels.get(c, 0.0) * predicted.get(c, 0.0) for c in classes))
    on_train = _rate(train, len(classes))
    if validation.empty:
        return Reliability(on_train, None, chance, 0.0)
    on_validation = _rate(validation, len(classes))
    guessing = chance + BEYOND_GUESSING * math.sqrt(chance * (1 - chance) / len(train))
    if on_train <= max(guessing, on_validation):
        return Reliability(on_train, on_validation, chance, 0.0)
    share = (on_train - on_validation) / (on_train - chance)
    return Reliability(on_train, on_validation, chance, min(1.0, max(0.0, share)))


def _rate(windows: pd.DataFrame, classes: int) -> float:
    right = int((windows["label"].to_numpy() == windows["predicted"].to_numpy()).sum())
    return (right + 1) / (len(windows) + classes)
