"""Options of the protocols in training: pooled runs, and standardisation by subject."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from failing import fails
from recordings import FAST, make_recordings
from safetensors.torch import load_file

from eavdash.config.convert import with_epochs, with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Selection
from eavdash.errors import SplitError
from eavdash.explain.trial import explain_trial
from eavdash.results.tables import predictions, scores
from eavdash.store import RunDir
from eavdash.studies.write import prepare
from eavdash.training.run import train_run
from eavdash.training.run_context import open_run_context, read_windows


@pytest.fixture
def people(sandbox):
    """The sandbox with a second subject."""
    for name in ("trials", "splits"):
        table = getattr(sandbox, name)
        setattr(sandbox, name, pd.concat([table, table.assign(subject="2")], ignore_index=True))
    return sandbox


def pooled(first: RunDir, name: str = "all-eeg", seed: int = 0) -> RunDir:
    """Create the run over all subjects beside a run of subject 1."""
    run = first.sibling(name)
    run.create(first.config().replace(run=name, unit="all", subject="", seed=seed, pooled=True))
    return run


def test_a_pooled_run_never_sees_a_test_trial(people, tiny_config):
    weights = []
    for name in ("right", "other"):
        run = pooled(people.study(tiny_config(2), name)("eeg"))
        train_run(run)
        weights.append(run.model_file.read_bytes())
        tested = people.splits["split"] == "test"
        people.trials.loc[tested, ["truth", "label"]] = "anger"
    assert weights[0] == weights[1]
    rows = pd.read_parquet(run.predictions_file)
    assert set(rows["split"]) == {"train", "validation"}
    assert set(rows["subject"]) == {"1", "2"}
    assert run.status().accuracy is None


def test_a_subject_starts_from_the_pooled_run(people, tiny_config, caplog):
    still = ["train.eeg.learning_rate=1e-12", "train.eeg.weight_decay=0", "train.eeg.head_epochs=1"]
    still = with_settings(tiny_config(1), still)
    alone = people.study(still)("eeg")
    all_subjects = pooled(alone, seed=7)
    train_run(all_subjects)
    own = alone.sibling("s01-eeg-own")
    own.create(alone.config().replace(run=own.name, parents={"eeg": all_subjects.name}))
    for run in (alone, own):
        train_run(run)
    warned = [r.args[0] for r in caplog.records if "pretrained" in r.message]
    assert "s01-eeg" in warned  # head-only epochs without pretrained weights
    assert "s01-eeg-own" not in warned
    parent, first, second = (load_file(run.model_file) for run in (all_subjects, alone, own))
    learned = [
        k
        for k, v in parent.items()
        if v.is_floating_point() and v.ndim > 1 and "usual" not in k and k not in ("shift", "scale")
    ]
    assert all(np.allclose(second[k], parent[k], atol=1e-6) for k in learned)
    assert not all(np.allclose(first[k], parent[k], atol=1e-6) for k in learned)


def test_standardised_subjects_have_the_same_scale(people, tiny_config):
    load = people._load

    def louder(trials, modality, *rest):
        windows = load(trials, modality, *rest)
        second = (windows.index["subject"] == "2").to_numpy()
        windows.values[second] = 5 * windows.values[second] + 1e-3
        return windows

    found = {}
    for scaled in (False, True):
        config = with_settings(tiny_config(1), [f"protocol.subject_scaling={str(scaled).lower()}"])
        run = pooled(people.study(config, f"study-{scaled}")("eeg"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("eavdash.training.run_context.load_windows", louder)
            made = read_windows(open_run_context(run, "cpu"), "eeg")
            train_run(run)
        subjects = made.values.index["subject"].to_numpy()
        spread = {s: float(np.std(made.values.values[np.flatnonzero(subjects == s)])) for s in "12"}
        found[scaled] = spread["2"] / spread["1"]
        assert (run.config().input.subject_scaling is not None) == scaled
        assert made.values.meta["key"].endswith("-by-subject") == scaled
    assert found[False] == pytest.approx(5, rel=0.1)
    assert found[True] == pytest.approx(1, rel=0.1)


def test_equal_windows_in_two_splits_fail_a_run_before_training(sandbox, tiny_config):
    run = sandbox.study(tiny_config(1))("audio")
    load = sandbox._load

    def copied(*args):
        windows = load(*args)
        tested, trained = (int(windows.index.index[windows.index["trial"] == t][0]) for t in ("joy0-0", "joy2-0"))
        windows.values[trained] = windows.values[tested]
        return windows

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eavdash.training.run_context.load_windows", copied)
        with fails(SplitError) as failed:
            train_run(run)
    for fact in ("joy0-0", "joy2-0", "test", "train"):
        assert fact in str(failed.value)
    assert not run.metrics_file.exists()


def test_a_pooled_and_standardised_study_is_scored_and_explained(tmp_path: Path) -> None:
    root = make_recordings(tmp_path / "data", subjects=2, groups=3)
    config = with_settings(
        replace(with_epochs(preset("quick"), 1), stages=("audio", "eeg", "fusion")),
        [*FAST, "protocol.pooled=true", "protocol.subject_scaling=true"],
    )
    plan = prepare(root, "both", config, Selection(folds=(0,)), tmp_path / "c")
    for name in plan.runs:
        train_run(plan.study.run(name))
        plan.study.run(name).transition("running")
        plan.study.run(name).transition("done", checksums=plan.study.run(name).seal())
    assert set(scores(plan.study)["subject"]) == {"1", "2"}
    assert not predictions(plan.study)["run"].str.startswith("all-").any()
    trial = pd.read_csv(plan.study.splits_file, dtype=str).query("subject == '2' and fold == '0' and split == 'test'")
    made = explain_trial(plan.study, "2", trial["trial"].iloc[0], steps=4)
    assert made.run == "s02-fusion"
    assert made.receipts.reproduction < 1e-4
    assert 1e-6 < np.abs(made.inputs["eeg"]).max() < 1e-2  # volt, as recorded
