"""EEG windows that exceed ``eeg.reject``: not used for training, but validated and tested like any other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from failing import fails

from eavdash.config.choices import MODALITIES
from eavdash.config.schema import StudyConfig
from eavdash.errors import DataError, SplitError
from eavdash.training import run_context as module
from eavdash.training.run import train_run
from eavdash.training.run_context import open_run_context, read_windows

REJECT = 80.0


@pytest.fixture
def rejecting(sandbox, monkeypatch):
    """A sandbox whose reader marks EEG windows as rejected; ``marked``: trial → window numbers."""

    def use(marked: dict[str, list[int]]):
        load = sandbox._load

        def load_marked(trials, modality, config, cache):
            windows = load(trials, modality, config, cache)
            if modality == "eeg":
                windows.meta["facts"] = [["1", t, {"rejected": w, "interpolated": ["Fz"]}] for t, w in marked.items()]
            return windows

        monkeypatch.setattr(module, "load_windows", load_marked)
        return sandbox

    return use


def _config(tiny_config, **train) -> StudyConfig:
    config = tiny_config(2, **train)
    return dataclasses.replace(config, eeg=dataclasses.replace(config.eeg, reject=REJECT))


def _read(run):
    windows = read_windows(open_run_context(run("eeg"), torch.device("cpu")), "eeg")
    assert windows is not None
    return windows


def test_only_training_windows_are_dropped(rejecting, tiny_config):
    # Group 0 is tested, group 1 validates, the others train.
    sandbox = rejecting({"joy0-0": [0, 1], "calm1-0": [0], "anger2-0": [1], "joy3-1": [0, 1]})
    run = sandbox.study(_config(tiny_config))
    windows = _read(run)
    kept = {(t, w) for t, w in windows.index[["trial", "window"]].itertuples(index=False)}
    assert {("joy0-0", 0), ("joy0-0", 1), ("calm1-0", 0), ("anger2-0", 0)} <= kept
    assert not kept & {("anger2-0", 1), ("joy3-1", 0), ("joy3-1", 1)}
    assert len(kept) == 60 - 3
    assert list(windows.index.index) == list(range(57))
    # The index still points at the right values.
    rows = windows.index.merge(windows.values.index.reset_index(), on=["subject", "trial", "window"])
    assert (rows["row"] == rows["index"]).all()
    assert windows.missing == [{"subject": "1", "trial": "joy3-1", "reason": "every window exceeds eeg.reject (80 µV)"}]


def test_nothing_marked_changes_nothing(rejecting, tiny_config):
    assert len(_read(rejecting({}).study(_config(tiny_config))).index) == 60


def test_rejected_windows_are_dropped_from_training_only(rejecting, tiny_config):
    marked = {"joy0-0": [0, 1], "anger2-0": [1]}
    run = rejecting(marked).study(_config(tiny_config))("eeg")
    train_run(run)
    assert run.config().input.windows == {"train": 35, "validation": 12, "test": 12}
    predictions = pd.read_parquet(run.predictions_file)
    assert (predictions["split"] == "test").sum() == 12
    assert {"0", "1"} == set(predictions.loc[predictions["trial"] == "joy0-0", "window"].astype(str))
    assert len(predictions[predictions["trial"] == "anger2-0"]) == 1


def test_weights_do_not_depend_on_a_rejected_window(rejecting, tiny_config, monkeypatch):
    weights = []
    for name, noise in (("a", 0.0), ("b", 1.0)):
        sandbox = rejecting({"anger2-0": [1]})
        load = module.load_windows

        def louder(trials, modality, config, cache, load=load, noise=noise):
            windows = load(trials, modality, config, cache)
            at = windows.index[(windows.index["trial"] == "anger2-0") & (windows.index["window"] == 1)].index
            windows.values[at] += np.float32(noise)
            return windows

        monkeypatch.setattr(module, "load_windows", louder)
        run = sandbox.study(_config(tiny_config), name)("eeg")
        train_run(run)
        weights.append(run.model_file.read_bytes())
    assert weights[0] == weights[1]


def test_fusion_keeps_the_other_modalities_of_a_rejected_window(rejecting, tiny_config):
    run = rejecting({"anger2-0": [1]}).study(_config(tiny_config))
    for stage in (*MODALITIES, "fusion"):
        train_run(run(stage))
    assert run("fusion").config().input.windows["train"] == 36
    rows = pd.read_parquet(run("fusion").predictions_file)
    row = rows[(rows["trial"] == "anger2-0") & (rows["window"] == 1) & (rows["frame"] == -1)]
    assert row["attention_eeg"].item() == 0
    assert row["attention_vision"].item() > 0


def test_rejecting_all_training_windows_is_an_error(rejecting, tiny_config):
    trials = {f"{kind}{group}-{n}": [0, 1] for kind in ("joy", "calm", "anger") for group in (2, 3, 4) for n in (0, 1)}
    with fails(DataError, where="s01-eeg", expected="80 µV", found="36", remedy="eeg.reject"):
        _read(rejecting(trials).study(_config(tiny_config)))
    one = {name: windows for name, windows in trials.items() if name.startswith("joy")}
    run = rejecting(one).study(_config(tiny_config), "one")("eeg")
    with fails(SplitError, where="s01-eeg", found="without joy"):
        train_run(run)
