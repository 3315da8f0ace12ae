"""A linear fit: a frozen encoder whose last layer is a regression, and the files of its run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from failing import fails
from torch import nn

from eavdash.config.convert import from_dict, to_dict, with_epochs, with_settings
from eavdash.config.fitting import with_fit
from eavdash.config.presets import preset
from eavdash.config.schema import StudyConfig
from eavdash.errors import ConfigError
from eavdash.models import build
from eavdash.models.base import last_linear
from eavdash.training import frozen, linear
from eavdash.training.features import load_encoder
from eavdash.training.run import train_run
from eavdash.training.run_context import labels_of, open_run_context, read_windows, rows_of
from eavdash.training.stage1 import WindowSource

STAGES = ("vision", "audio", "eeg")


class KilledError(Exception):
    pass


@pytest.fixture
def linear_config(tiny_config):
    return with_settings(tiny_config(3), [f"train.{stage}.fit=linear" for stage in STAGES])


@pytest.mark.parametrize("stage", STAGES)
def test_files_of_a_run(sandbox, linear_config, stage):
    run = sandbox.study(linear_config)(stage)
    rows = []
    assert train_run(run, report=rows.append)
    assert [(r["epoch"], r["epochs"]) for r in rows] == [(1, 1)]
    row = run.metrics()[0]
    assert (len(run.metrics()), run.status().epochs, run.status().best_epoch, run.status().n) == (1, 1, 1, 6)
    predictions = pd.read_parquet(run.predictions_file)
    windows = predictions[predictions["frame"] == -1]
    assert windows["split"].value_counts().to_dict() == {"train": 36, "validation": 12, "test": 12}
    for split, key in (("train", "accuracy"), ("validation", "validation_accuracy")):
        part = windows[windows["split"] == split]
        assert (part["predicted"] == part["label"]).mean() == pytest.approx(row[key])
    assert row["accuracy"] > 0.6  # chance is a third
    assert run.config().linear["chosen_by"] == "validation windows"
    assert run.config().linear["strength"] in linear.STRENGTHS


@pytest.mark.parametrize("stage", STAGES)
def test_only_the_last_layer_changes_and_it_is_the_regression_on_its_input(sandbox, linear_config, stage, monkeypatch):
    run = sandbox.study(linear_config)(stage)
    calls = []

    def watched(*arguments):
        calls.append((arguments, linear.fit_linear(*arguments)))
        return calls[-1][1]

    monkeypatch.setattr(frozen, "fit_linear", watched)
    train_run(run)
    (features, labels, train, validation, classes, _), found = calls[0]
    assert (features.shape[0], classes, len(train), len(validation)) == (48, 3, 36, 12)
    model = load_encoder(run)
    layer = last_linear(model.head)
    assert np.allclose(layer.weight.detach(), found.weight, rtol=1e-6)
    assert np.allclose(layer.bias.detach(), found.bias, rtol=1e-6)
    torch.manual_seed(open_run_context(run, torch.device("cpu")).seed("init"))
    first = build.build(run.config().architecture).state_dict()
    kept = {k for k, v in model.state_dict().items() if torch.equal(v, first[k])}
    ids = {id(layer.weight), id(layer.bias)}
    own = {k for k, v in model.state_dict(keep_vars=True).items() if id(v) in ids}
    assert set(first) - kept - {"shift", "scale"} == own
    context = open_run_context(run, torch.device("cpu"))
    windows = read_windows(context, stage)
    labels_all = labels_of(windows.index, context.classes)
    rows = rows_of(windows.index, "train")
    assert labels_all[rows].tolist() == labels[: len(rows)].tolist()
    source = WindowSource(windows, labels_all, torch.device("cpu"), True)
    with torch.no_grad():
        logits = source.output(model, torch.tensor(rows), None)
    if stage == "vision":  # the mean of what the frames' features are mapped to
        inside = layer(torch.from_numpy(features[: len(rows)]))
        assert inside.argmax(1).eq(logits.logits.argmax(1)).float().mean() > 0.8
    else:
        assert torch.allclose(layer(torch.from_numpy(features[: len(rows)])), logits.logits, atol=1e-4)


def test_frames_that_were_not_recorded_are_not_averaged():
    class Frames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 3)

    class Given(frozen.Source):
        def load(self, model, rows, augment):
            x = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [900.0, 900.0]]]).repeat(len(rows), 1, 1)
            return x, torch.tensor([[True, True, False]]).repeat(len(rows), 1)

        def forward(self, model, loaded):
            each = model.layer(loaded[0])
            return frozen_output(each, loaded[1])

    def frozen_output(each, mask):
        from eavdash.training.loading import ModelOutput

        return ModelOutput(each.mean(1), each, mask)

    model = Frames()
    size = frozen.MicroBatchSize(2, 2)
    found = frozen._inputs_of(model.layer, model, Given(), [0, 1, 2], size, "float32", "test")
    assert found.tolist() == [[2.0, 3.0]] * 3


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_resumed_equals_uninterrupted(sandbox, linear_config, content, stage, how):
    whole = sandbox.study(linear_config, "whole")(stage)
    assert train_run(whole)
    part = sandbox.study(linear_config, "part")(stage)
    if how == "stop":
        asked = []

        def should_stop():
            asked.append(1)
            return len(asked) > 3

        assert not train_run(part, should_stop=should_stop)
        assert not part.resume_file.exists()
    else:

        def die(row):
            raise KilledError

        with pytest.raises(KilledError):
            train_run(part, report=die)
        assert part.resume_file.exists()
    assert not part.model_file.exists()
    torch.manual_seed(123)
    assert train_run(part)
    assert content(part) == content(whole)
    assert part.config().linear == whole.config().linear
    assert train_run(part)  # killed after the results and before the run was marked done
    assert content(part) == content(whole)


def test_memory_that_runs_out_changes_nothing(sandbox, linear_config, content, monkeypatch):
    whole = sandbox.study(linear_config, "whole")("vision")
    train_run(whole)
    forward = WindowSource.frozen_features

    def small(self, model, rows):
        if len(rows) > 3:
            raise torch.OutOfMemoryError
        return forward(self, model, rows)

    monkeypatch.setattr(WindowSource, "frozen_features", small)
    part = sandbox.study(linear_config, "part")("vision")
    train_run(part)
    first, second = (pd.read_parquet(run.predictions_file) for run in (whole, part))
    assert (first["predicted"] == second["predicted"]).all()
    assert np.allclose(first["p_joy"], second["p_joy"], atol=1e-3)


def test_neither_test_labels_nor_test_recordings_change_it(sandbox, linear_config):
    tested = sandbox.splits["split"] == "test"
    weights = []
    for name in ("right", "wrong"):
        run = sandbox.study(linear_config, name)("audio")
        train_run(run)
        weights.append(run.model_file.read_bytes())
        other = {"joy": "calm", "calm": "anger", "anger": "joy"}
        for column in ("label", "truth"):
            sandbox.trials.loc[tested, column] = sandbox.trials.loc[tested, column].map(other)
    assert weights[0] == weights[1]


def test_without_validation_folds_of_the_training_trials_choose(sandbox, linear_config):
    sandbox.splits.loc[sandbox.splits["split"] == "validation", "split"] = "train"
    run = sandbox.study(linear_config)("eeg")
    train_run(run)
    assert run.config().linear["chosen_by"] == "folds of the training windows"
    assert run.metrics()[0]["validation_loss"] is None


def test_a_fusion_of_linear_fits(sandbox, linear_config):
    study = sandbox.study(linear_config)
    for stage in (*STAGES, "fusion"):
        assert train_run(study(stage))
    assert study("fusion").status().accuracy > 0.6


def test_folds_keep_people_apart_or_else_groups_or_trials():
    index = pd.DataFrame(
        {
            "subject": ["1", "1", "2"],
            "trial": ["a", "b", "c"],
            "group": ["g", "", "g"],
            "split": ["train", "train", "test"],
        }
    )
    assert frozen.groups_of(index).tolist() == ["g", "b", "g"]
    assert frozen.groups_of(index.assign(split="train")).tolist() == ["1", "1", "2"]


def test_the_choice_is_resolved_and_older_studies_keep_gradients():
    assert with_fit(StudyConfig()).train.eeg.fit == "gradient"
    assert {getattr(preset("paper").train, s).fit for s in STAGES} == {"auto"}
    old = to_dict(StudyConfig())
    for stage in old["train"].values():
        if isinstance(stage, dict):
            del stage["fit"]
    assert from_dict(old).train.eeg.fit == "gradient"
    assert from_dict(old) == with_fit(StudyConfig())
    one = with_settings(StudyConfig(), ["train.audio.fit=linear", "train.audio.epochs=7"])
    assert with_fit(one).training("audio").epochs == 1
    assert with_fit(one).train.audio.epochs == 7
    assert with_epochs(one, 5).train.audio.fit == "linear"


@pytest.mark.parametrize(
    ("settings", "where", "expected"),
    [
        (["train.fusion.fit=linear"], "train.fusion.fit", "fusion"),
        (["train.eeg.fit=linear", "protocol.pooled=true"], "protocol.pooled", "train.eeg.fit=linear"),
        (["train.audio.fit=linear", "fusion.joint_epochs=2"], "fusion.joint_epochs", "train.audio.fit=linear"),
        (
            ["train.audio.fit=linear", "protocol.name=paper", "protocol.test_epoch=true"],
            "protocol.test_epoch",
            "train.audio.fit=linear",
        ),
        (["train.audio.fit=quadratic"], "train.audio.fit", "linear"),
    ],
)
def test_fits_that_make_no_sense_are_refused(settings, where, expected):
    with fails(ConfigError, where=where, expected=expected):
        with_settings(StudyConfig(), settings)


@pytest.mark.parametrize(
    ("settings", "key", "value"),
    [
        (["protocol.pooled=true"], "protocol.pooled", "false"),
        (["protocol.name=paper", "protocol.test_epoch=true"], "protocol.test_epoch", "false"),
        (["fusion.joint_epochs=3"], "fusion.joint_epochs", "0"),
    ],
)
def test_the_preset_frozen_names_the_setting_that_would_train_its_encoders(settings, key, value):
    with fails(ConfigError, where=key, expected="preset frozen", remedy=(f"{key}={value}", "another preset")):
        with_settings(preset("frozen"), settings)


def test_the_last_linear_layer_of_a_head():
    last = nn.Linear(2, 3)
    assert last_linear(nn.Sequential(nn.LayerNorm(2), nn.Linear(2, 2), nn.GELU(), last, nn.Dropout())) is last
    assert last_linear(last) is last
    assert last_linear(nn.Sequential(last, nn.LayerNorm(3))) is None
    assert last_linear(nn.Conv1d(2, 3, 1)) is None
    assert last_linear(nn.Linear(2, 3, bias=False)) is None
    assert last_linear(nn.Identity()) is None
