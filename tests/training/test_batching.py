"""Epochs of few windows: more steps from smaller batches, then from several passes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from failing import fails

from eavdash.config import schema as cfg
from eavdash.config.choices import MODALITIES, STAGES
from eavdash.config.convert import from_dict, to_dict, with_settings
from eavdash.config.presets import preset
from eavdash.errors import ConfigError
from eavdash.models.seeds import generator
from eavdash.training import batching
from eavdash.training.run import train_run

QUICK = preset("quick").train.eeg


@pytest.mark.parametrize("windows", [1, 2, 5, 8, 9, 18, 31, 33, 72, 120, 121, 560])
@pytest.mark.parametrize("steps", [1, 8, 20])
def test_every_window_is_used_equally_often_in_enough_steps(windows, steps):
    settings = dataclasses.replace(QUICK, epoch_steps=steps)
    rows = torch.arange(windows) * 3
    parts = batching.epoch_batches(rows, settings, generator(0))
    size, passes = batching.plan(windows, settings)
    assert len(parts) >= steps
    shown, counts = torch.cat(parts).unique(return_counts=True)
    assert torch.equal(shown, rows)
    assert set(counts.tolist()) == {passes}
    sizes = [len(part) for part in parts]
    assert max(sizes) <= min(settings.batch, size) + 1  # a single remaining window joins the batch before it
    assert min(sizes) >= min(2, windows)
    assert size >= batching.SMALLEST
    assert passes == 1 or size == min(batching.SMALLEST, settings.batch)  # smaller first


def test_enough_windows_are_batched_as_before():
    """The same generator gives the order and batches of studies from before ``epoch_steps``."""
    for steps in (1, 8):
        settings = dataclasses.replace(QUICK, epoch_steps=steps)
        rows = torch.arange(120)
        expected = rows[torch.randperm(120, generator=generator(4))].split(16)
        found = batching.epoch_batches(rows, settings, generator(4))
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_batch_is_never_larger_than_configured():
    settings = dataclasses.replace(QUICK, batch=2, epoch_steps=8)
    assert batching.plan(8, settings) == (2, 2)


def test_an_interrupted_run_with_several_passes_ends_the_same(sandbox, tiny_config, content):
    config = tiny_config(4, epoch_steps=20)
    whole, part = sandbox.study(config, "whole")("eeg"), sandbox.study(config, "part")("eeg")
    assert train_run(whole)
    assert not train_run(part, report=(seen := []).append, should_stop=lambda: len(seen) >= 2)
    assert train_run(part)
    assert content(part) == content(whole)
    assert [row["epoch"] for row in whole.metrics()] == [1, 2, 3, 4]
    assert all(0 <= row["accuracy"] <= 1 for row in whole.metrics())
    few = sandbox.study(tiny_config(4), "few")("eeg")
    train_run(few)
    assert content(few)["weights"] != content(whole)["weights"]


def test_studies_from_before_the_setting_keep_their_steps():
    new = to_dict(preset("quick"))
    assert {stage: new["train"][stage].pop("epoch_steps") for stage in STAGES} == {
        **dict.fromkeys(MODALITIES, cfg.EPOCH_STEPS),
        "fusion": 1,
    }
    old = from_dict(new)
    assert {old.training(stage).epoch_steps for stage in STAGES} == {1}
    paper = preset("paper")
    assert {paper.training(stage).epoch_steps for stage in STAGES} == {1}


def test_an_epoch_without_steps_is_refused():
    with fails(ConfigError, where="train.audio.epoch_steps", expected="1", found="0"):
        with_settings(preset("quick"), ["train.audio.epoch_steps=0"])


def test_studies_from_before_bands_keep_the_mean():
    new = to_dict(preset("quick"))
    assert new["audio"].pop("pool") == "bands"
    assert from_dict(new).audio.pool == "mean"
    assert preset("paper").audio.pool == "class"
