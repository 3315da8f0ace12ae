"""A label that only two modalities together tell: kinds that read features learn it, a pool of opinions cannot."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import torch

from eavdash.config.presets import preset
from eavdash.config.schema import FusionConfig, StudyConfig
from eavdash.models import build
from eavdash.models.seeds import reproducible, seeder
from eavdash.training.fusion_features import FeatureSource, FusionFeatures
from eavdash.training.loop import RECIPES, fit, measure

DIMS = {"vision": 12, "audio": 8, "eeg": 6}
COUNTS = {"vision": 4, "audio": 2, "eeg": 1}
TRAIN, VALIDATION, TEST = range(300), range(300, 400), range(400, 1000)


def exclusive_or() -> FeatureSource:
    """Make windows labelled by whether a bit in vision's and one in audio's features differ; EEG tells nothing."""
    random = torch.Generator().manual_seed(3)
    bits = torch.randint(2, (2, 1000), generator=random)
    tokens, masks, logits = {}, {}, {}
    for number, (name, dim) in enumerate(DIMS.items()):
        shown = (2.0 * bits[number] - 1)[:, None, None] if name != "eeg" else torch.zeros(1000, 1, 1)
        noise = torch.randn(1000, COUNTS[name], dim, generator=random)
        tokens[name] = 2 * shown * torch.randn(dim, generator=random) + 0.5 * noise
        masks[name] = torch.ones(noise.shape[:2], dtype=torch.bool)
        logits[name] = torch.randn(1000, 2, generator=random)  # no encoder knows the label
    joined = FusionFeatures(pd.DataFrame(index=range(1000)), tokens, masks, logits)
    return FeatureSource(joined, bits[0] ^ bits[1], TRAIN, {}, torch.device("cpu"))


def accuracy(kind: str, source: FeatureSource) -> float:
    """Train a fusion of this kind as the quick preset does, for 12 epochs; return its accuracy on test windows."""
    config = StudyConfig(fusion=FusionConfig(kind=kind, width=32))
    torch.manual_seed(0)
    model = build.build(build.fusion_spec(config, 2, DIMS))
    settings = replace(preset("quick").train.fusion, epochs=12)
    with reproducible(torch.device("cpu"), 1):
        fitted = fit(
            model, source, TRAIN, VALIDATION, settings, name=kind, seed=seeder(0, 0, "fusion"), rules=RECIPES["default"]
        )
    return measure(model, source, TEST, fitted.micro_batch, settings.precision, kind)[1]


@pytest.mark.parametrize("kind", ["transformer", "concat"])
def test_what_two_modalities_tell_together_is_learnt_from_features(kind: str) -> None:
    assert accuracy(kind, exclusive_or()) >= 0.95


def test_a_pool_of_opinions_cannot_learn_it() -> None:
    assert 0.4 < accuracy("attention", exclusive_or()) < 0.6
