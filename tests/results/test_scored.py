"""scores.parquet: the numbers of the predictions, recomputed by pandas alone; never a stale or damaged file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from fake_study import make_study, write_parquet
from pandas_scores import by_hand

from eavdash.config.choices import STAGES
from eavdash.results import groups, study_scores, tables, trial_scores
from eavdash.store import StudyDir
from eavdash.store.record import write_record


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyDir:
    """Two folds, one of two seeds undone for one run, frames for vision."""
    return make_study(
        tmp_path_factory.mktemp("scored"),
        subjects=("2", "10"),
        stages=("vision", "audio", "fusion"),
        folds=(0, 1),
        seeds=(0, 1),
        trials=5,
        states={"s02-audio-fold1-seed1": "failed"},
    )


@pytest.mark.parametrize("level", tables.LEVELS)
def test_every_score_is_that_of_pandas_alone(study: StudyDir, level: str) -> None:
    table = tables.scores(study, level)
    assert set(table["stage"]) == ({"vision"} if level == "frame" else {"vision", "audio", "fusion"})
    for row in table.to_dict("records"):
        for name, value in by_hand(study, level, row["subject"], row["stage"]).items():
            assert row[name] == pytest.approx(value, abs=1e-12), (row, name)


def test_seeds_and_folds_are_told_apart(study: StudyDir) -> None:
    found = study_scores.read(study).spread("trial", "accuracy")
    rows = tables.scores(study, by=("seed",)).query("subject == '10' and stage == 'fusion'")
    values = [f"{100 * value:.0f} %" for value in rows["accuracy"]]
    assert found["10", "fusion"].startswith(f"seeds 0: {values[0]}, 1: {values[1]}; folds 0: ")


@pytest.mark.parametrize("by", [(), ("fold",), ("fold", "seed")])
def test_the_small_files_give_the_tables_of_the_predictions(study: StudyDir, by: tuple[str, ...]) -> None:
    rows = tables.predictions(study, baselines=True)
    for level in tables.LEVELS:
        found = tables.scores(study, level, by, baselines=True)
        pd.testing.assert_frame_equal(found, tables.score_table(rows, level, by), check_dtype=False, rtol=1e-12)
    kinds = rows[["subject", "trial"]].drop_duplicates().assign(fold=lambda t: t["trial"].astype(int) % 3)
    kinds["fold"] = kinds["fold"].astype(str)
    own = tables.predictions(study)
    made = study_scores.read(study).scores(by=by, split=kinds)
    pd.testing.assert_frame_equal(made, tables.score_table(own, by=by, split=kinds), check_dtype=False, rtol=1e-12)


def test_trials_are_those_of_the_predictions(study: StudyDir) -> None:
    for baselines in (False, True):
        found = tables.trials(study, baselines=baselines)
        expected = tables.trial_table(tables.predictions(study, baselines=baselines))
        expected = expected[[c for c in found.columns if c in expected.columns]]
        pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-12)
    assert groups.effective_trials(found) == pytest.approx(groups.effective_trials(expected))
    assert list(tables.trials(study, ["audio"])["stage"].unique()) == ["audio"]


def test_runs_of_an_earlier_version_are_read_from_their_predictions(tmp_path: Path) -> None:
    old = make_study(tmp_path, "old", stages=("eeg", "fusion"), compact=False)
    new = make_study(tmp_path, "new", stages=("eeg", "fusion"))
    assert not (old.path / "s01-eeg" / "scores.parquet").exists()
    columns = [c for c in tables.scores(new).columns if c != "study"]
    pd.testing.assert_frame_equal(tables.scores(old)[columns], tables.scores(new)[columns])
    assert all(trial_scores.add_scores(run) for run in old.runs())
    assert not any(trial_scores.add_scores(run) for run in old.runs())  # nothing is left to do
    assert "scores.parquet" in old.run("s01-eeg").status().sizes
    pd.testing.assert_frame_equal(tables.scores(old)[columns], tables.scores(new)[columns])


def test_a_file_made_of_other_predictions_is_not_read(tmp_path: Path) -> None:
    study = make_study(tmp_path, stages=("eeg",))
    run = study.run("s01-eeg")
    before = tables.scores(study)["accuracy"].tolist()
    frame = pd.read_parquet(run.predictions_file)
    write_parquet(run.predictions_file, frame.assign(predicted=frame["label"], **_certain(frame)))
    write_record(run.status_file, run.status().replace(checksums=run.seal()))
    assert tables.scores(study)["accuracy"].tolist() == [1.0, *before[1:]]


def _certain(frame: pd.DataFrame) -> dict[str, pd.Series]:
    return {c: (frame["label"] == c[2:]).astype(float) for c in frame.columns if c.startswith("p_")}


def test_a_damaged_small_file_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    study = make_study(tmp_path, stages=("eeg",))
    file = study.run("s02-eeg").scores_file
    file.write_bytes(file.read_bytes()[:-9] + b"123456789")
    table = tables.scores(study)
    assert table["subject"].tolist() == ["1", "3"]
    (problem,) = table.attrs["problems"]
    assert str(file) in problem
    flipped = study.run("s03-eeg").predictions_file
    flipped.write_bytes(flipped.read_bytes()[:-1] + b"x")  # of the same size: pages show what was sealed before
    assert study_scores.read(study).scores()["subject"].tolist() == ["1"]
    flipped.unlink()
    assert tables.scores(study)["subject"].tolist() == ["1"]


def test_a_new_run_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path, states={"s03-fusion": "running"}, stages=STAGES)
    read: list[str] = []
    real = study_scores.read_scores
    monkeypatch.setattr(study_scores, "read_scores", lambda run, *more: read.append(run.name) or real(run, *more))
    assert len(tables.scores(study)) == 11
    assert len(read) == 11
    tables.scores(study, "window", baselines=True)
    tables.trials(study)
    assert len(read) == 11
    done = make_study(tmp_path / "other", stages=STAGES).run("s03-fusion")
    shutil.rmtree(study.path / "s03-fusion")
    shutil.copytree(done.path, study.path / "s03-fusion")
    assert len(tables.scores(study)) == 12
    assert read[11:] == ["s03-fusion"]


@pytest.mark.parametrize("value", [float("nan"), -0.5, 2.0])
def test_probabilities_that_are_none_are_damage(value: float, tmp_path: Path) -> None:
    made = make_study(tmp_path, subjects=("1", "2"), stages=("eeg",), compact=False)
    run = made.run("s01-eeg")
    rows = pd.read_parquet(run.predictions_file)
    rows.loc[rows["split"] == "test", "p_Anger"] = value
    write_parquet(run.predictions_file, rows)
    run.update(checksums=run.seal())
    found = study_scores.read(made)
    assert "probabilities from 0 to 1" in found.problems["s01-eeg"]
    assert set(found.scores()["subject"]) == {"2"}
