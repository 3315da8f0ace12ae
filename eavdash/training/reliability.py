"""How often training should meet a modality as unreliable as it really is.

The trap: encoders were fitted on the very windows that the fusion is trained on, so there each of them looks nearly
perfect, also one that has only memorised noise. A fusion trained on such features learns to trust whatever was
memorised best.

The remedy ("reliability-matched corruption"): in each training batch, with probability q of its modality, a window's
tokens are replaced by those of a random other training window, whose label is unrelated. q is chosen so that the
modality is right as often as on validation windows, which the encoder has not seen:

    right_on_training * (1 - q) + right_by_chance * q = right_on_validation

``right_by_chance`` is how often the decision of one training window fits the label of another. Rates are taken with
one added count per class (Laplace), which draws those of few windows towards chance, that is, towards distrust. No
test window is used. Without validation windows q is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd


@dataclass(frozen=True)
class Reliability:
    """Rates of being right per window, 0..1, and the share of training windows to replace."""

    training: float
    validation: float | None
    chance: float
    replaced: float

    def to_dict(self) -> dict[str, float | None]:
        """For config.json."""
        return asdict(self)


def reliability(predictions: pd.DataFrame, classes: Sequence[str]) -> Reliability:
    """The :class:`Reliability` of an encoder from its predictions (window rows of training and validation)."""
    windows = predictions[predictions["frame"] == -1]
    train, validation = (windows[windows["split"] == split] for split in ("train", "validation"))
    labels = train["label"].value_counts(normalize=True)
    predicted = train["predicted"].value_counts(normalize=True)
    chance = float(sum(labels.get(c, 0.0) * predicted.get(c, 0.0) for c in classes))
    on_train = _rate(train, len(classes))
    if validation.empty:
        return Reliability(on_train, None, chance, 0.0)
    on_validation = _rate(validation, len(classes))
    if on_train <= max(chance, on_validation):
        return Reliability(on_train, on_validation, chance, 0.0)
    share = (on_train - on_validation) / (on_train - chance)
    return Reliability(on_train, on_validation, chance, min(1.0, max(0.0, share)))


def _rate(windows: pd.DataFrame, classes: int) -> float:
    right = int((windows["label"].to_numpy() == windows["predicted"].to_numpy()).sum())
    return (right + 1) / (len(windows) + classes)
