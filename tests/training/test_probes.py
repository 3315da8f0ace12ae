"""Leakage probes that need training, on clean data and on data with the defect that they must detect."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from failing import fails

from eavdash.data.windows import WindowSet
from eavdash.errors import UsageError
from eavdash.results.statistics import chance_line
from eavdash.store import StudyDir
from eavdash.training.probes import shuffled_labels, subject_identity
from eavdash.training.run import train_run


def done(run):
    """Mark the run as finished and return its study."""
    run.transition("running")
    run.transition("done")
    return StudyDir.of(run)


def of_groups(trials: pd.DataFrame, modality: str, _config, _cache) -> WindowSet:
    """Sounds with a mel band per group and no other information."""
    random = np.random.default_rng(5)
    groups = {g: n for n, g in enumerate(sorted({f"{kind}{n}" for kind in ("joy", "calm", "anger") for n in range(5)}))}
    values = random.normal(-8, 0.5, (len(trials), 40, 16)).astype(np.float32)
    for row, group in enumerate(trials["group"]):
        values[row, :, groups[group]] += 8
    index = trials[["subject", "trial", "group", "label"]].reset_index(drop=True)
    index = index.assign(window=0, start=0.0, stop=5.0)
    return WindowSet(modality, index, values, np.ones((len(values), 40), bool), {"key": f"groups-{len(trials)}"})


def test_shuffled_labels_fall_to_chance_if_groups_are_separate(sandbox, tiny_config):
    study = done(sandbox.study(tiny_config(8))("eeg"))
    before = sorted(p.name for p in study.path.parent.iterdir())
    found = shuffled_labels(study)
    assert (found.stage, found.fold, found.subjects) == ("eeg", 0, ("1",))
    assert (found.n, found.units) == (6, 3)
    assert found.accuracy <= chance_line(found.n, 3, majority=found.majority)
    assert sorted(p.name for p in study.path.parent.iterdir()) == before
    assert shuffled_labels(study) == found


def test_trials_without_the_recording_are_no_independent_items(sandbox, tiny_config):
    sandbox.trials.loc[sandbox.trials["group"] == "joy0", "eeg"] = ""  # a tested group
    found = shuffled_labels(done(sandbox.study(tiny_config(1))("eeg")))
    assert (found.n, found.units) == (4, 2)


def test_shuffled_labels_detect_a_group_in_training_and_test(sandbox, tiny_config, monkeypatch):
    monkeypatch.setattr("eavdash.training.run_context.load_windows", of_groups)
    accuracies = {}
    for name, straddling in (("separate", False), ("straddling", True)):
        last = sandbox.trials["trial"].str[-1] == "1"
        tested = last if straddling else sandbox.trials["group"].str[-1].isin(["0", "1"])
        sandbox.splits["split"] = np.where(tested, "test", "train")
        study = done(sandbox.study(tiny_config(40), name)("audio"))
        found = shuffled_labels(study)
        accuracies[name] = (found.accuracy, chance_line(found.units, 3, majority=found.majority))
    assert accuracies["straddling"][0] > accuracies["straddling"][1]
    assert accuracies["separate"][0] <= accuracies["separate"][1]


def people(sandbox, count: int = 3) -> None:
    trials, splits = sandbox.trials, sandbox.splits
    names = [str(n) for n in range(1, count + 1)]
    sandbox.trials = pd.concat([trials.assign(subject=s) for s in names], ignore_index=True)
    sandbox.splits = pd.concat([splits.assign(subject=s) for s in names], ignore_index=True)


@pytest.mark.parametrize("across", [False, True])
def test_identity_is_above_chance_only_if_subjects_differ(sandbox, tiny_config, monkeypatch, across):
    people(sandbox)
    load = sandbox._load

    def louder(trials, modality, *rest):
        windows = load(trials, modality, *rest)
        windows.values[:] *= np.array([1, 2, 4])[windows.index["subject"].astype(int) - 1][:, None, None]
        return windows

    accuracies = {}
    for name, reader in (("alike", load), ("different", louder)):
        monkeypatch.setattr("eavdash.training.run_context.load_windows", reader)
        run = sandbox.study(tiny_config(2), name)("eeg")
        if across:
            pooled = run.sibling("all-eeg")
            pooled.create(run.config().replace(run="all-eeg", unit="all", subject=""))
            train_run(pooled)
            done(pooled)
        else:
            done(run)
        found = subject_identity(StudyDir.of(run))
        assert found.subjects == ("1", "2", "3")
        assert found.of == ("the eeg encoder's features" if across else "simple features of eeg")
        accuracies[name] = (found.accuracy, chance_line(found.trials, 3, majority=found.majority))
    assert accuracies["different"][0] > accuracies["different"][1]
    assert accuracies["alike"][0] <= accuracies["alike"][1]


def test_probes_need_a_finished_encoder_and_several_subjects(sandbox, tiny_config):
    run = sandbox.study(tiny_config(1))("eeg")
    study = StudyDir.of(run)
    with fails(UsageError, where=str(study.path), found="none", remedy=f"eavdash status {study.name}"):
        shuffled_labels(StudyDir.of(run))
    done(run)
    with fails(UsageError, where=str(study.path), expected="2 subjects", found="subject 1"):
        subject_identity(StudyDir.of(run))
