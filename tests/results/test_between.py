"""Two studies on the same trials: pairing, planted splits and labels, and the steps to honest scoring."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from fake_study import make_study
from sklearn.metrics import f1_score

from eavdash.report.figures import between as figures
from eavdash.results import between, optimism, tables
from eavdash.results.paired import compare
from eavdash.store import StudyDir


def compared(first: StudyDir, second: StudyDir) -> between.Between:
    return between.between(first, tables.trials(first), second, tables.trials(second))


@pytest.fixture
def two(tmp_path: Path) -> tuple[StudyDir, StudyDir]:
    people = [str(i) for i in range(1, 8)]
    first = make_study(tmp_path, "first", subjects=people, stages=("eeg", "audio"), windows=1)
    second = make_study(
        tmp_path, "second", subjects=[*people[1:], "9"], stages=("eeg",), windows=1, seeds=(0, 1), seed=4
    )
    return first, second


def test_only_common_trials_and_stages_are_compared(two: tuple[StudyDir, StudyDir]) -> None:
    found = compared(*two)
    assert set(found.rows) == {"eeg"}
    c = found.rows["eeg"]
    assert (c.subjects, c.trials, c.trials_left_out, c.subjects_left_out) == (6, 60, 20, 2)
    one, other = (tables.trials(s).query("stage == 'eeg'") for s in two)
    a, b = (t.groupby(["subject", "trial"])["correct"].mean() for t in (one, other))
    both = pd.concat([a, b], axis=1, keys=["a", "b"]).dropna().groupby("subject").mean()
    assert c.difference == pytest.approx((both["a"] - both["b"]).mean())
    assert c.p == pytest.approx(compare("", both["a"].tolist(), "", both["b"].tolist()).p)
    assert not [w for w in found.warnings if "splits" in w]
    assert "common trials" in figures.answer(found, "eeg")
    assert figures.between_table(found)["trials"].tolist() == [60]


def test_other_splits_protocols_and_recordings_are_said(two: tuple[StudyDir, StudyDir]) -> None:
    first, second = two
    splits = pd.read_csv(second.splits_file, dtype=str)
    drop = (splits["subject"] == "2") & (splits["split"] == "train")
    splits.drop(splits.index[drop][:1]).to_csv(second.splits_file, index=False)
    assert between.differing_splits(first, second) == (10, 60)
    assert any("10 of 60 common test trials" in w for w in compared(first, second).warnings)


def test_a_trial_with_another_label_is_left_out(two: tuple[StudyDir, StudyDir]) -> None:
    a, b = (tables.trials(s) for s in two)
    b.loc[(b["subject"] == "3") & (b["trial"] == "2"), "label"] = "Sadness"
    found = between.between(two[0], a, two[1], b)
    assert (found.relabelled, found.rows["eeg"].trials) == (1, 59)


def test_the_same_study_twice_has_no_difference(two: tuple[StudyDir, StudyDir]) -> None:
    found = compared(two[0], two[0])
    assert {c.p for c in found.rows.values()} == {1.0}
    assert not found.warnings


def test_a_study_with_open_runs_has_no_verdict(tmp_path: Path) -> None:
    done = make_study(tmp_path, "done", stages=("eeg",))
    part = make_study(tmp_path, "part", stages=("eeg",), states={"s03-eeg": "queued"})
    found = compared(done, part)
    assert "part: Not done yet" in found.why_not
    assert found.why_not in figures.answer(found, "eeg")


def test_the_steps_to_honest_scoring_add_up(tmp_path: Path) -> None:
    published = make_study(tmp_path, "published", protocol="paper", fusion="paper")
    honest = make_study(tmp_path, "honest", seed=3)
    for run in published.runs():
        run.update(honest_accuracy=float(run.status().accuracy) - 0.07)
    splits = pd.read_csv(published.splits_file, dtype=str)
    splits["group"] = splits["group"].str.removesuffix("-train")  # the planted leak: shared conversations
    splits.to_csv(published.splits_file, index=False)
    frames, trials = (tables.scores(published, level) for level in ("frame", "trial"))
    steps = optimism.optimism(published, "fusion", frames, trials, compared(published, honest))
    assert [s.name for s in steps][:3] == ["per frame, as published", "per trial", "last epoch"]
    assert steps[2].change == pytest.approx(-0.07)
    assert steps[-1].accuracy == pytest.approx(tables.scores(honest).query("stage == 'fusion'")["accuracy"].mean())
    assert steps[0].accuracy + sum(s.change for s in steps) == pytest.approx(steps[-1].accuracy)
    assert "30 of 30 test trials share a group" in steps[-1].why
    assert len(figures.waterfall(steps, "fusion").data) == len(figures.step_table(steps)) == 5
    alone = optimism.optimism(honest, "eeg", tables.scores(honest, "frame"), tables.scores(honest), None)
    assert [s.name for s in alone] == ["per trial"]


def test_studies_are_compared_in_another_metric(two: tuple[StudyDir, StudyDir]) -> None:
    one, other = (tables.trials(s) for s in two)
    found = between.between(two[0], one, two[1], other, "macro_f1")
    both = one.merge(other, on=["subject", "trial", "stage"], suffixes=("", "_b"))  # a row per seed of the second
    mine = both.drop_duplicates(["subject", "trial"])
    expected = {
        name: f1_score(rows["label"], rows["predicted"], average="macro", zero_division=0)
        for name, rows in mine.groupby("subject")
    }
    assert found.people["eeg"]["a"].to_dict() == pytest.approx(expected)
    doubled = {
        name: f1_score(rows["label_b"], rows["predicted_b"], average="macro", zero_division=0)
        for name, rows in both.groupby("subject")
    }
    assert found.people["eeg"]["b"].to_dict() == pytest.approx(doubled)
    assert found.metric == "macro_f1"
