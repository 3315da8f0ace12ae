"""Recipe of the paper protocol: hyper-parameters, optimiser, and the choice of an epoch on test trials."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch import nn

from eavdash.config import schema as cfg
from eavdash.config.presets import preset
from eavdash.config.schema import StudyConfig, TrainConfig
from eavdash.models.base import Encoder, EncoderOutput
from eavdash.training import loop
from eavdash.training.loading import ModelOutput, Source
from eavdash.training.optimiser import optimiser_of
from eavdash.training.run import train_run


def test_the_published_hyper_parameters():
    train = preset("paper").train
    assert (train.vision.head_epochs, train.vision.epochs - train.vision.head_epochs) == (10, 5)
    assert (train.audio.head_epochs, train.audio.epochs - train.audio.head_epochs) == (20, 10)
    for one in (train.vision, train.audio):
        assert (one.head_learning_rate, one.learning_rate, one.augment) == (5e-4, 5e-6, False)
    frames = train.vision.batch * preset("paper").vision.frames_per_second * preset("paper").window
    assert 64 <= frames <= 128
    assert train.audio.batch == 32
    assert (train.eeg.epochs, train.eeg.learning_rate, train.eeg.patience) == (300, 1e-3, 15)
    assert 32 <= train.eeg.batch <= 64
    assert (train.fusion.epochs, train.fusion.learning_rate, train.fusion.batch) == (10, 3e-4, 128)
    rules = loop.PUBLISHED
    assert (rules.smoothing, rules.warm_up, rules.cosine, rules.clip, rules.patience_after) == (0, 0, False, 0, 150)


def test_without_decay_it_is_adam():
    models = [nn.Linear(3, 2), nn.Linear(3, 2)]
    models[1].load_state_dict(models[0].state_dict())
    ours = optimiser_of(models[0], preset("paper").train.eeg, decay_all=True)
    theirs = torch.optim.Adam(models[1].parameters(), lr=1e-3)
    for number in range(5):
        for model, optimiser in zip(models, (ours, theirs), strict=True):
            optimiser.zero_grad()
            model(torch.full((1, 3), float(number))).square().sum().backward()
            optimiser.step()
    assert torch.equal(models[0].weight, models[1].weight)


def test_the_published_decay_reaches_every_parameter():
    settings = TrainConfig(weight_decay=0.1)
    everything = optimiser_of(nn.Linear(3, 2), settings, decay_all=True).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in everything] == [(2, 0.1)]
    ours = optimiser_of(nn.Linear(3, 2), settings, decay_all=False).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in ours] == [(1, 0.1), (1, 0.0)]


class Constant(Encoder):
    """Never learns anything."""

    def __init__(self) -> None:
        super().__init__((1,))
        self.head = nn.Linear(1, 2)

    def forward(self, x, mask):
        return EncoderOutput(x[:, None], mask, 0 * self.head(x))


class Ones(Source):
    labels = torch.tensor([0, 1] * 4)

    def load(self, model, rows, augment):
        return torch.ones(len(rows), 1), torch.ones(len(rows), 1).bool()

    def forward(self, model, loaded):
        return ModelOutput(model(*loaded).logits)


@pytest.mark.parametrize(("test", "expected"), [((4, 5), 6 + 3), ((), 20)])
def test_patience_starts_late_and_needs_scores(test, expected):
    rules = replace(loop.PUBLISHED, patience_after=6)
    settings = TrainConfig(epochs=20, batch=4, patience=3)
    fitted = loop.fit(
        Constant(), Ones(), [0, 1, 2, 3], [], settings, name="x", seed=lambda *a: 1, rules=rules, test=test
    )
    assert len(fitted.history) == expected
    assert fitted.best_epoch == (1 if test else 20)


def paper(config: StudyConfig, test_epoch: bool) -> StudyConfig:
    protocol = cfg.ProtocolConfig(name="paper", test_epoch=test_epoch)
    return replace(config, protocol=protocol, audio=replace(config.audio, pool="class"))


def test_the_test_epoch_is_chosen_only_when_asked_and_its_gain_is_shown(sandbox, tiny_config, content):
    sandbox.splits["split"] = sandbox.splits["split"].replace("validation", "train")
    sandbox.noise, sandbox.first = ("audio",), 2  # pure noise: the best of many epochs on test trials is luck
    honest = sandbox.study(paper(tiny_config(10), False), "honest")("audio")
    train_run(honest)
    chosen = sandbox.study(paper(tiny_config(10), True), "chosen")("audio")
    train_run(chosen)
    assert honest.status().best_epoch == 10
    assert honest.status().honest_accuracy is None
    assert honest.config().epoch_chosen_by == "last"
    assert "test_accuracy" not in honest.metrics()[0]
    status = chosen.status()
    curve = [row["test_accuracy"] for row in chosen.metrics()]
    assert status.best_epoch == curve.index(max(curve)) + 1
    assert max(curve) > curve[-1]  # otherwise this test shows nothing
    assert status.honest_accuracy == honest.status().accuracy
    assert chosen.config().epoch_chosen_by == "test"
    rows = pd.read_parquet(chosen.predictions_file).query("split == 'test' and frame == -1")
    assert (rows["predicted"] == rows["label"]).mean() == pytest.approx(max(curve))
    again = content(chosen)
    train_run(chosen)  # as after a kill: both accuracies are the same again
    assert (content(chosen), chosen.status().honest_accuracy) == (again, status.honest_accuracy)
