"""The part of a fusion that is a sum of functions of single modalities: empirical additive projection (EMAP).

Hessel & Lee 2020, "Does my multimodal model learn cross-modal interactions?" (arXiv:2010.06572): a model f(v, a, e) is
evaluated on every mixture of the test windows' modalities, and projected onto the sums c + g(v) + h(a) + k(e) by least
squares. What the projection classifies like the model needs no interaction between modalities.

All n^M mixtures are used if they are few (:data:`ROWS`), otherwise seeded random ones in which every window supplies
each modality equally often. On all mixtures least squares gives the projection of the paper; on some it estimates it.

Logits are taken relative to their mean over the classes, which removes what the softmax does not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from eavdash.store.documents import AdditivePart
from eavdash.training.fusion_features import FusionFeatures
from eavdash.training.run_context import labels_of

#: Mixtures in all; each of many windows is in :data:`FEWEST` of them.
ROWS, FEWEST = 8192, 32
_SWEEPS, _CHANGE = 100, 1e-9


class Mixtures(Protocol):
    """A fusion of features whose modalities come from windows of their own (training/coalitions.py)."""

    joined: FusionFeatures
    modalities: tuple[str, ...]
    tested: list[int]
    present: Tensor  # (window, modality) bool

    def probabilities(self, at: Tensor) -> np.ndarray:
        """Return probabilities (row, class) of rows whose modalities come from the windows ``at`` (row, modality)."""


def additive_part(mixing: Mixtures, classes: Sequence[str], seed: int, rows: int = ROWS) -> AdditivePart | None:
    """Project a fusion onto sums over modalities, on the test windows that have all; None if they are fewer than two.

    Raises:
        TrainingError: a logit is not a finite number.
    """
    whole = mixing.present.all(dim=1)
    windows = torch.as_tensor([row for row in mixing.tested if whole[row]], dtype=torch.int64)
    if len(windows) < 2 or len(mixing.modalities) < 2:
        return None
    each = max(FEWEST, rows // len(windows))
    places = mixed(len(windows), len(mixing.modalities), each, seed)  # (row, modality), positions in ``windows``
    values = _centred(mixing.probabilities(windows[torch.as_tensor(places)]))
    constant, effects = project(values, places, len(windows))
    own = _centred(mixing.probabilities(windows[:, None].expand(-1, len(mixing.modalities))))
    added = constant + effects.sum(axis=0)
    fitted = constant + sum(effects[m][places[:, m]] for m in range(places.shape[1]))
    labels = labels_of(mixing.joined.index.iloc[windows.numpy()], classes).numpy()
    spread = float(((values - values.mean(axis=0)) ** 2).sum())
    return AdditivePart(
        windows=len(windows),
        mixtures=len(places) // len(windows),
        accuracy=float((own.argmax(axis=1) == labels).mean()),
        additive_accuracy=float((added.argmax(axis=1) == labels).mean()),
        unchanged=float((added.argmax(axis=1) == own.argmax(axis=1)).mean()),
        variance=1 - float(((values - fitted) ** 2).sum()) / spread if spread > 0 else 1.0,
    )


def mixed(windows: int, modalities: int, mixtures: int, seed: int) -> np.ndarray:
    """Return the mixtures (row, modality) of window positions: all, or ``mixtures`` seeded ones of each window."""
    if windows ** (modalities - 1) <= mixtures:
        return np.stack(np.meshgrid(*[np.arange(windows)] * modalities, indexing="ij"), axis=-1).reshape(-1, modalities)
    random = np.random.default_rng(seed)
    own = np.arange(windows)
    rows = [np.stack([own, *(random.permutation(windows) for _ in range(modalities - 1))], 1) for _ in range(mixtures)]
    return np.concatenate(rows)


def project(values: np.ndarray, places: np.ndarray, windows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the least-squares constant (K,) and effects (modality, window, K) of ``values`` (row, K).

    Backfitting: each modality's effects are the means of what the others leave, in turn, until they stop changing. The
    effects of a modality sum to 0, and every window must supply each modality equally often.
    """
    modalities, classes = places.shape[1], values.shape[1]
    constant = values.mean(axis=0)
    rest = values - constant
    effects = np.zeros((modalities, windows, classes))
    each = len(values) / windows
    for _ in range(_SWEEPS):
        largest = 0.0
        for m in range(modalities):
            change = np.zeros((windows, classes))
            np.add.at(change, places[:, m], rest)
            change /= each
            effects[m] += change
            rest -= change[places[:, m]]
            largest = max(largest, float(np.abs(change).max(initial=0.0)))
        if largest < _CHANGE:
            break
    return constant, effects


def _centred(probabilities: np.ndarray) -> np.ndarray:
    """Return log-probabilities (row, class) relative to their mean over the classes."""
    logs = np.log(probabilities.clip(1e-300))
    return np.asarray(logs - logs.mean(axis=1, keepdims=True))
