"""Runs with the encoder ``tangent``: what its statistics come from, resuming, fusion and explanation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from eavdash.config.convert import with_settings
from eavdash.explain.attributions import integrated_gradients
from eavdash.explain.fused import load_fused_model
from eavdash.models.base import to_encoder_input
from eavdash.store import StudyDir
from eavdash.training.features import load_encoder
from eavdash.training.run import train_run
from eavdash.training.run_context import open_run_context, read_windows, rows_of


@pytest.fixture
def tangent_config(tiny_config):
    return with_settings(tiny_config(2), ["eeg.encoder=tangent", "train.eeg.fit=linear"])


def test_it_learns_and_its_statistics_are_those_of_training_windows(sandbox, tangent_config):
    run = sandbox.study(tangent_config)("eeg")
    train_run(run)
    assert run.status().accuracy > 0.9
    model = load_encoder(run)
    context = open_run_context(run, torch.device("cpu"))
    windows = read_windows(context, "eeg")
    rows = windows.index["row"].to_numpy()[rows_of(windows.index, "train")]
    x = torch.from_numpy(np.array(windows.values.values[rows]))
    mask = torch.from_numpy(np.array(windows.values.mask[rows]))
    found = model.person_statistics(x, mask)
    assert torch.allclose(found["reference"], model.get_buffer("reference"), atol=1e-9)
    assert torch.allclose(found["power"], model.get_buffer("power"), atol=1e-9)


@pytest.mark.parametrize("fit", ["linear", "gradient"])
def test_resumed_equals_uninterrupted(sandbox, tangent_config, content, fit):
    config = with_settings(tangent_config, [f"train.eeg.fit={fit}"])
    whole, part = (sandbox.study(config, name)("eeg") for name in ("whole", "part"))
    train_run(whole)

    class KilledError(Exception):
        pass

    def die(row):
        raise KilledError

    with pytest.raises(KilledError):
        train_run(part, report=die)
    assert train_run(part)
    assert content(part) == content(whole)


def test_other_recordings_of_test_trials_change_nothing(sandbox, tangent_config):
    tested = sandbox.splits["split"] == "test"
    weights = []
    for name in ("right", "other"):
        run = sandbox.study(tangent_config, name)("eeg")
        train_run(run)
        weights.append(run.model_file.read_bytes())
        sandbox.trials.loc[tested, "truth"] = "anger"
    assert weights[0] == weights[1]


def test_a_fusion_reads_its_tokens_and_is_explained_through_it(sandbox, tangent_config):
    study = sandbox.study(tangent_config)
    for stage in ("vision", "audio", "eeg", "fusion"):
        assert train_run(study(stage))
    run = study("fusion")
    assert run.status().accuracy > 0.6
    model = load_fused_model(StudyDir.of(run), run)
    inputs, masks = {}, {}
    for stage in ("vision", "audio", "eeg"):
        windows = read_windows(open_run_context(study(stage), torch.device("cpu")), stage).values
        inputs[stage] = to_encoder_input(stage, torch.from_numpy(np.array(windows.values[:1])))
        masks[stage] = torch.from_numpy(np.array(windows.mask[:1]))
    found, receipt = integrated_gradients(model, inputs, masks, 0, steps=64)
    assert found["eeg"].abs().sum() > 0
    assert receipt.relative_gap < 0.05
    stored = pd.read_parquet(run.predictions_file)
    assert np.allclose(stored[["p_joy", "p_calm", "p_anger"]].sum(axis=1), 1)
