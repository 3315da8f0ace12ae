"""Head-only epochs on cached features equal those that compute the features for every batch."""

from __future__ import annotations

import io

import pytest
import torch
from failing import fails

from eavdash.config.schema import TrainConfig
from eavdash.errors import TrainingError
from eavdash.models import build
from eavdash.models.base import Encoder
from eavdash.training import headphase
from eavdash.training.headphase import CachedFeatures, Unaugmented
from eavdash.training.loading import Source
from eavdash.training.loop import PUBLISHED, Recipe, fit
from eavdash.training.memory import MicroBatchSize
from eavdash.training.run import train_run


class Windows(Source):
    """Random windows as tensors; ``encoded`` counts the windows passed to the frozen part."""

    def __init__(self, x: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor) -> None:
        self.x, self.mask, self.labels, self.encoded, self.draws = x, mask, labels, 0, 0

    def load(self, model, rows, augment):
        if augment is not None:
            self.draws += 1
        return self.x[rows], self.mask[rows]

    def forward(self, model, loaded):
        return headphase.model_output(model(*loaded))

    def items(self, loaded):
        return headphase.items(loaded[1])

    def frozen_features(self, model, rows):
        self.encoded += len(rows)
        features = model.forward_features(self.x[rows], self.mask[rows])
        return None if features is None else (features, self.mask[rows])


def encoder(modality: str, dropout: float = 0.0) -> Encoder:
    torch.manual_seed(0)
    if modality == "vision":
        sizes = {"size": 16, "patch": 8, "width": 16, "depth": 1, "heads": 2, "temporal": 1}
        return build.build({"name": "vit", "kwargs": {"classes": 3, "dropout": dropout, **sizes}})
    sizes = {"mels": 16, "frames": 40, "stride": 8, "width": 16, "depth": 1, "heads": 2}
    return build.build({"name": "ast", "kwargs": {"classes": 3, "dropout": dropout, **sizes}})


def windows(modality: str) -> Windows:
    torch.manual_seed(1)
    x = torch.rand(20, 3, 3, 16, 16) if modality == "vision" else torch.randn(20, 40, 16)
    mask = torch.ones(x.shape[:2], dtype=torch.bool)
    mask[::3, -1] = False
    return Windows(x, mask, torch.arange(20) % 3)


SETTINGS = TrainConfig(epochs=3, batch=8, learning_rate=1e-3, head_learning_rate=5e-3)


def train(model: Encoder, source, rules: Recipe = PUBLISHED, settings: TrainConfig = SETTINGS):
    rows = {"train": range(12), "validation": range(12, 20)}
    seed = lambda *purpose: len(str(purpose))  # noqa: E731
    result = fit(model, source, **rows, settings=settings, name="run", seed=seed, rules=rules, head_epochs=3)
    return model.state_dict(), result.history


@pytest.mark.parametrize("modality", ["vision", "audio"])
def test_cached_features_equal_repeated_ones(modality, monkeypatch):
    source = windows(modality)
    cached, history = train(encoder(modality), source)
    assert source.encoded == 20 + 1  # every window once, and one to test whether the encoder can be split
    assert source.draws == 0
    monkeypatch.setattr(Windows, "frozen_features", lambda self, model, rows: None)
    repeated, again = train(encoder(modality), source)
    for key in cached:
        torch.testing.assert_close(cached[key], repeated[key], rtol=1e-4, atol=1e-6)
    for one, two in zip(history, again, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-5)
        assert one["validation_loss"] == pytest.approx(two["validation_loss"], rel=1e-5)
    start = encoder(modality).state_dict()
    moved = {k for k in start if not torch.equal(start[k], cached[k])}
    assert moved
    assert all(k.startswith(("head.", "temporal.")) for k in moved)


def test_features_of_the_wrong_windows_are_not_equal(monkeypatch):
    cached, _ = train(encoder("audio"), windows("audio"))
    load = CachedFeatures.load
    monkeypatch.setattr(
        CachedFeatures, "load", lambda self, model, rows, augment: load(self, model, rows.flip(0), augment)
    )
    planted, _ = train(encoder("audio"), windows("audio"))
    assert not torch.allclose(cached["head.1.weight"], planted["head.1.weight"], atol=1e-4)


def test_the_frozen_part_is_in_evaluation_mode():
    model = encoder("vision", dropout=0.5).train()
    headphase.freeze(model)
    assert not model.vit.training  # type: ignore[union-attr]
    assert model.temporal.training  # type: ignore[union-attr]
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {
        n for n, _ in model.named_parameters() if n.startswith(("head", "temporal"))
    }


def test_an_encoder_that_cannot_be_split_repeats_its_frozen_part_without_augmentation():
    model = encoder("audio")
    source = windows("audio")
    source.frozen_features = lambda model, rows: None  # type: ignore[method-assign]
    made = headphase.head_source(model, source, range(20), MicroBatchSize(8, 8), "float32", "run")
    assert isinstance(made, Unaugmented)
    made.output(model, torch.arange(2), torch.Generator())
    assert source.draws == 0


def test_non_finite_features_are_refused():
    source = windows("audio")
    source.x[3] = torch.nan
    with fails(TrainingError, where="run", expected="feature", found="nan"):
        headphase.head_source(encoder("audio"), source, range(20), MicroBatchSize(8, 8), "float32", "run")


def test_killed_in_the_head_phase_it_ends_the_same(sandbox, tiny_config, content, monkeypatch):
    monkeypatch.setattr("eavdash.training.stage1.head_epochs", lambda context: 2)
    whole = sandbox.study(tiny_config(4, micro_batch=3), "whole")("vision")
    train_run(whole)
    for epochs in (1, 2, 3):
        part = sandbox.study(tiny_config(4, micro_batch=3), f"part{epochs}")("vision")

        def die(row, last=epochs):
            if row["epoch"] == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train_run(part, report=die)
        state = torch.load(io.BytesIO(part.resume_file.read_bytes()[65:]), weights_only=True)["state"]
        assert any(k.startswith("vit.") for k in state["model"]) == (epochs > 2)
        train_run(part)
        assert content(part) == content(whole)
