"""Baselines beside an encoder: their rows, what may influence them, and what happens where one cannot be computed."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from eavdash.config.convert import with_settings
from eavdash.data.summaries import summary
from eavdash.data.windows import WindowSet
from eavdash.results import tables
from eavdash.results.tables import BESIDE
from eavdash.store import StudyDir
from eavdash.training import encoder_baselines, run_context
from eavdash.training.run import train_run

P = ["p_joy", "p_calm", "p_anger"]
KEYS = ["subject", "trial", "window", "fold", "seed", "split", "label", "group", "frame"]


def trained(sandbox, config, stage, name="study"):
    run = sandbox.study(config, name)(stage)
    assert train_run(run)
    return run


def rows_of(run) -> pd.DataFrame:
    return pd.read_parquet(run.baselines_file)


def accuracy(rows: pd.DataFrame, stage: str) -> float:
    mine = rows[(rows["stage"] == stage) & (rows["split"] == "test")]
    return float((mine["predicted"] == mine["label"]).mean())


@pytest.mark.parametrize("stage", ["vision", "audio", "eeg"])
def test_every_encoder_has_its_baselines(sandbox, tiny_config, stage):
    run = trained(sandbox, tiny_config(1), stage)
    rows, predictions = rows_of(run), pd.read_parquet(run.predictions_file)
    windows = predictions[predictions["frame"] == -1]
    assert list(rows["stage"].unique()) == list(BESIDE[stage])
    assert [c for c in rows if c != "stage"] == list(predictions.columns)
    for _, part in rows.groupby("stage"):  # the same windows, folds and splits
        assert part[KEYS].reset_index(drop=True).equals(windows[KEYS].reset_index(drop=True))
    assert np.allclose(rows[P].sum(axis=1), 1)
    simple = BESIDE[stage][3:]
    for name in (*simple, f"{stage}:linear"):
        assert accuracy(rows, name) > 0.9, name  # the simulated classes are easy
    assert accuracy(rows, f"{stage}:majority") == pytest.approx(1 / 3)
    notes = run.config().baselines
    assert {notes[name]["chosen_by"] for name in simple} == {"validation windows"}
    assert "baselines.parquet" in run.seal()


@pytest.mark.parametrize("leaking", [False, True])
@pytest.mark.parametrize("stage", ["vision", "audio", "eeg"])
def test_a_test_trial_influences_nothing(sandbox, tiny_config, stage, leaking, monkeypatch):
    """Other labels and recordings of test trials change no probability of any other window; a planted leak does."""
    plain = encoder_baselines.rows_of
    if leaking:
        monkeypatch.setattr(
            encoder_baselines, "rows_of", lambda i, split: plain(i, split) + plain(i, "test") * (split == "train")
        )
    found = []
    tested = sandbox.splits["split"] == "test"
    for name in ("right", "other"):
        rows = rows_of(trained(sandbox, tiny_config(1), stage, name))
        found.append(rows[rows["split"] != "test"].groupby("stage")[P].apply(lambda part: part.to_numpy().tobytes()))
        other = {"joy": "calm", "calm": "anger", "anger": "joy"}
        for column in ("label", "truth"):
            sandbox.trials.loc[tested, column] = sandbox.trials.loc[tested, column].map(other)
        monkeypatch.setattr(encoder_baselines, "summary", uncached)
    learned = [f"{stage}:linear", *BESIDE[stage][3:]]
    assert (found[0] == found[1])[learned].eq(not leaking).all()
    assert (found[0] == found[1])[[f"{stage}:majority", f"{stage}:time"]].all()


def uncached(windows, name, band, cache):
    """Compute a summary in a cache of its own: the keys of simulated windows do not name their content."""
    meta = {**windows.meta, "key": f"{windows.meta['key']}-other"}
    return summary(dataclasses.replace(windows, meta=meta), name, band, cache)


def test_without_validation_groups_of_training_choose(sandbox, tiny_config):
    sandbox.splits.loc[sandbox.splits["split"] == "validation", "split"] = "train"
    run = trained(sandbox, tiny_config(1), "audio")
    assert run.config().baselines["audio:logmel"]["chosen_by"] == "folds of the training windows"
    assert accuracy(rows_of(run), "audio:logmel") > 0.9


def test_a_baseline_that_fails_is_named_and_the_run_goes_on(sandbox, tiny_config, monkeypatch, caplog):
    def broken(*_):
        raise np.linalg.LinAlgError("matrices are not positive definite")

    monkeypatch.setattr(encoder_baselines, "_tangents", broken)
    run = trained(sandbox, tiny_config(1), "eeg")
    assert set(rows_of(run)["stage"]) == set(BESIDE["eeg"]) - {"eeg:tangent"}
    assert run.config().baselines["eeg:tangent"] == {"missing": "matrices are not positive definite"}
    assert "eeg:tangent" in caplog.text
    assert run.status().accuracy is not None


def test_a_run_that_is_asked_to_stop_stops_between_baselines(sandbox, tiny_config, monkeypatch):
    run = sandbox.study(tiny_config(1))("audio")
    asked = []
    plain = encoder_baselines._by_time

    def slow(*given):
        asked.append(True)
        return plain(*given)

    monkeypatch.setattr(encoder_baselines, "_by_time", slow)
    assert not train_run(run, should_stop=lambda: bool(asked))
    assert not run.baselines_file.exists()
    asked.clear()
    monkeypatch.setattr(encoder_baselines, "_by_time", plain)
    assert train_run(run)
    assert run.baselines_file.exists()


def test_equal_runs_have_equal_baselines_with_any_number_of_threads(sandbox, tiny_config):
    tables_ = []
    for name, threads in (("a", 1), ("b", 2)):
        run = sandbox.study(tiny_config(1), name)("eeg")
        assert train_run(run, threads=threads)
        rows = rows_of(run)
        tables_.append(rows[rows["stage"] != "eeg:linear"][P])  # torch's own sums depend on its threads
    assert tables_[0].equals(tables_[1])


def test_baselines_do_not_change_the_encoder(sandbox, tiny_config, monkeypatch, content):
    run = trained(sandbox, tiny_config(2), "vision", "with")
    monkeypatch.setattr("eavdash.training.run.write_baselines", lambda *_: None)
    assert content(run) == content(trained(sandbox, tiny_config(2), "vision", "without"))


def test_a_person_far_away_is_moved_by_its_own_windows(sandbox, tiny_config, monkeypatch):
    """Across subjects, one whose first electrode is twenty times as loud is recognised once it is scaled by person."""
    each = (sandbox.trials.assign(subject=s, trial=sandbox.trials["trial"] + s) for s in "1234")
    sandbox.trials = pd.concat(each, ignore_index=True)
    part = {"1": "test", "2": "validation"}
    sandbox.splits = sandbox.trials[["subject", "trial", "group"]].assign(
        fold=0, split=[part.get(s, "train") for s in sandbox.trials["subject"]]
    )

    def loud(trials, modality, config, cache):
        windows = sandbox._load(trials, modality, config, cache)
        gain = np.ones((len(windows), 3, 1), dtype=np.float32)
        gain[windows.index["subject"] == "1", 0] = 20
        return dataclasses.replace(windows, values=windows.values * gain)

    monkeypatch.setattr(run_context, "load_windows", loud)
    scores = {}
    for scaled in ("off", "all"):
        config = tiny_config(1)
        protocol = dataclasses.replace(config.protocol, name="loso", subject_scaling=scaled)
        run = sandbox.study(dataclasses.replace(config, protocol=protocol), f"scaled-{scaled}")("eeg")
        run.describe(subject="", unit="all")
        assert train_run(run)
        scores[scaled] = [accuracy(rows_of(run), name) for name in ("eeg:bandpower", "eeg:tangent")]
    assert max(scores["off"]) < 0.7
    assert min(scores["all"]) > 0.9


@pytest.mark.parametrize(
    ("setting", "shift"),
    [("calibration:1", [0, 0, 100, 100]), ("all", [10, 10, 10, 104, 104, 104]), ("off", [0] * 6)],
)
def test_the_statistics_of_a_person_are_those_that_the_protocol_allows(setting, shift):
    """With trials for calibration they come from those alone, which are in no index of scored windows."""
    every = pd.DataFrame({"subject": ["1"] * 3 + ["2"] * 3, "trial": list("abc") * 2})
    splits = ["calibration", "test", "test", "calibration", "train", "train"]
    trials = every.assign(split=splits if setting == "calibration:1" else ["test"] * 3 + ["train"] * 3)
    index = trials.assign(row=np.arange(6), label="x", group="g", window=0)
    index = index[index["split"] != "calibration"].reset_index(drop=True)
    protocol = SimpleNamespace(subject_scaling=setting)
    context = SimpleNamespace(config=SimpleNamespace(protocol=protocol), trials=trials)
    values = np.array([[0.0], [10], [20], [100], [104], [108]])
    windows = run_context.Windows(WindowSet("eeg", every, values, np.ones((6, 1), dtype=bool)), index)
    found = encoder_baselines._by_person(context, windows, values)
    assert found[:, 0].tolist() == (values[index["row"], 0] - shift).tolist()  # too few for a spread
    pictures = run_context.Windows(WindowSet("vision", every, values, np.ones((6, 1), dtype=bool)), index)
    assert (encoder_baselines._by_person(context, pictures, values) == values[index["row"]]).all()


def test_wide_features_are_refused_and_many_windows_are_thinned(sandbox, tiny_config, monkeypatch):
    monkeypatch.setattr(encoder_baselines, "MOST", 1000)
    monkeypatch.setattr(encoder_baselines, "NUMBERS", 15 * 20)  # EEG: 20 windows of 3 channels x 5 bands
    run = trained(sandbox, tiny_config(1), "eeg")
    notes = run.config().baselines
    assert "missing" in notes["eeg:tangent"]
    assert "strength" in notes["eeg:bandpower"]


def test_results_show_them_on_request(sandbox, tiny_config):
    make = sandbox.study(tiny_config(1))
    for stage in ("audio", "eeg"):
        run = make(stage)
        assert train_run(run)
        for state in ("running", "done"):
            run.transition(state, checksums=run.seal())
    study = StudyDir.of(make("audio"))
    assert set(tables.scores(study)["stage"]) == {"audio", "eeg"}
    stages = list(dict.fromkeys(tables.scores(study, baselines=True)["stage"]))
    assert stages == ["audio", "eeg", *BESIDE["audio"], *BESIDE["eeg"], "majority"]


def test_frozen_features_are_those_before_training(sandbox, tiny_config):
    run = sandbox.study(tiny_config(1))("vision")
    train_run(run)
    first = rows_of(run)
    longer = sandbox.study(tiny_config(3), "longer")("vision")
    train_run(longer)
    name = "vision:linear"
    assert first.loc[first["stage"] == name, P].equals(rows_of(longer).loc[first["stage"] == name, P])


def test_a_run_with_a_linear_fit_is_its_own_linear_baseline(sandbox, tiny_config, monkeypatch):
    monkeypatch.setattr(encoder_baselines, "_encoded", lambda *_: pytest.fail("computed again"))
    run = trained(sandbox, with_settings(tiny_config(1), ["train.vision.fit=linear"]), "vision")
    own = pd.read_parquet(run.predictions_file)
    own = own.loc[own["frame"] == -1, P].reset_index(drop=True)
    rows = rows_of(run)
    assert rows.loc[rows["stage"] == "vision:linear", P].reset_index(drop=True).equals(own)
    assert "itself" in run.config().baselines["vision:linear"]["by"]
