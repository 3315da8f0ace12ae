"""The additive part of a fusion: equal to the definition of EMAP on all mixtures, estimated on some."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from eavdash.training.additive import additive_part, mixed, project
from eavdash.training.fusion_features import FusionFeatures

N, K = 12, 3
CLASSES = ("joy", "calm", "anger")


class Model:
    """Logits of a mixture: a sum over modalities, and ``strength`` times products of the modalities' numbers."""

    def __init__(self, strength: float, count: int = N, modalities: int = 3) -> None:
        random = np.random.default_rng(0)
        self.alone = random.normal(size=(modalities, count, K))
        self.together = random.normal(size=(modalities, count, K))
        self.strength = strength
        self.modalities = ("vision", "audio", "eeg")[:modalities]
        self.tested = list(range(count))
        self.present = torch.ones(count, modalities, dtype=torch.bool)
        index = pd.DataFrame({"label": [CLASSES[i % K] for i in range(count)]})
        self.joined = FusionFeatures(index, {}, {}, {})

    def logits(self, at: np.ndarray) -> np.ndarray:
        number = np.arange(len(self.modalities))
        together = np.prod(self.together[number, at], axis=1)
        return self.alone[number, at].sum(axis=1) + self.strength * together

    def probabilities(self, at: Tensor) -> np.ndarray:
        return torch.as_tensor(self.logits(at.numpy())).softmax(1).numpy()


def test_a_sum_is_additive_whatever_the_mixtures():
    for rows in (100, 10**4):
        found = additive_part(Model(0.0), CLASSES, 0, rows)
        assert found.variance == pytest.approx(1, abs=1e-9)
        assert found.unchanged == 1
        assert found.accuracy == found.additive_accuracy
        assert found.windows == N


@pytest.mark.parametrize("modalities", [2, 3])
def test_all_mixtures_give_the_definition(modalities):
    """Hessel & Lee 2020, equation 4, for any number of modalities: the sum of conditional means less (M - 1) means."""
    model = Model(1.0, modalities=modalities)
    places = mixed(N, modalities, N**modalities, 0)
    assert len(places) == N**modalities
    values = model.logits(places)
    constant, effects = project(values, places, N)
    added = constant + effects.sum(axis=0)
    means = [np.stack([values[places[:, m] == i].mean(axis=0) for i in range(N)]) for m in range(modalities)]
    assert added == pytest.approx(sum(means) - (modalities - 1) * values.mean(axis=0))


def test_some_mixtures_estimate_it():
    model = Model(1.0, 60)
    every = additive_part(model, CLASSES, 0, 60**3)
    some = [additive_part(model, CLASSES, seed) for seed in range(3)]
    assert (every.mixtures, some[0].mixtures) == (3600, 8192 // 60)
    assert 0.3 < every.variance < 0.9
    for found in some:
        assert found.variance == pytest.approx(every.variance, abs=0.03)
        assert found.unchanged == pytest.approx(every.unchanged, abs=0.11)
        assert found.accuracy == every.accuracy
    assert some[0] == additive_part(model, CLASSES, 0)  # seeded
    assert some[0] != some[1]


def test_more_interaction_is_less_additive():
    found = [additive_part(Model(s), CLASSES, 0) for s in (0.1, 1, 10)]
    assert found[0].variance > found[1].variance > found[2].variance
    assert found[0].unchanged > found[2].unchanged


def test_windows_with_all_modalities_count():
    model = Model(0.5)
    model.present[:3, 1] = False
    assert additive_part(model, CLASSES, 0).windows == N - 3
    model.present[:-1, 1] = False
    assert additive_part(model, CLASSES, 0) is None
    assert additive_part(Model(0.5, modalities=1), CLASSES, 0) is None


def test_every_window_supplies_each_modality_equally_often():
    places = mixed(50, 3, 20, 0)
    for m in range(3):
        assert (np.bincount(places[:, m], minlength=50) == 20).all()
