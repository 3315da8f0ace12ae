"""``explain`` of several trials: which are chosen, what is skipped, and that one failure stops no other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_study import make_explanation, make_study

from eavdash.cli.main import main
from eavdash.errors import RecordingError
from eavdash.explain import question, trial
from eavdash.explain.explanation import Explanation, save_explanation
from eavdash.results import tables
from eavdash.store import StudyDir

UNREADABLE = ("2", "4")


@pytest.fixture
def study(tmp_path: Path) -> StudyDir:
    return make_study(tmp_path, subjects=("1", "2"))


@pytest.fixture
def computed(study: StudyDir, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The trials that are computed, by a fake that stores what was asked and cannot read one of them."""
    seen: list[tuple[str, str]] = []

    def explain_trial(study: StudyDir, subject: str, number: str, **asked: Any) -> Explanation:
        if (subject, number) == UNREADABLE:
            raise RecordingError.at("2/4.mp4", expected="a video", found="nothing", remedy="restore it")
        seen.append((subject, number))
        words = {name: asked[name] for name in ("method", "target", "against", "baseline")}
        run = study.run(f"s0{subject}-{asked['stage'] or 'fusion'}")
        found = question.Question(**words).of(run, subject, number)._asdict()
        made = replace(make_explanation(study, run.name, subject, number), stage=run.name.split("-")[1], **found)
        made = replace(made, crops=np.zeros((2, 5, 4), np.float32))
        save_explanation(run, made)
        return made

    monkeypatch.setattr(trial, "explain_trial", explain_trial)
    return seen


def outcomes(study: StudyDir, stage: str = "fusion") -> dict[tuple[str, str], bool]:
    """Subject and trial of every test trial: was the decision right?"""
    table = tables.trials(study, [stage])
    return dict(zip(zip(table["subject"], table["trial"], strict=True), table["correct"], strict=True))


def run(study: StudyDir, *options: str) -> int:
    return main(["explain", study.name, *options, "--checkpoints", str(study.path.parent)])


def test_all_trials_but_the_unreadable_one_are_explained_once(
    study: StudyDir, computed: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(study, "--trials", "all", "--json") == 1
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert [(each["subject"], each["trial"]) for each in found] == list(outcomes(study))
    assert set(computed) == set(outcomes(study)) - {UNREADABLE}
    assert len(computed) == len(outcomes(study)) - 1
    assert [each["error"] for each in found if "error" in each] == [next(e["error"] for e in found if "error" in e)]
    assert "2/4.mp4" in printed.err
    assert f"1 trial of {len(found)} could not be explained" in " ".join(printed.err.split())
    assert all(Path(each["files"][0]).exists() for each in found if "files" in each)
    computed.clear()
    assert run(study, "--trials", "all", "--subject", "1") == 0
    assert computed == []
    assert capsys.readouterr().out.count("(stored before)") == len([s for s, _ in outcomes(study) if s == "1"])
    assert run(study, "--trials", "all", "--subject", "1", "--steps", "8") == 0
    assert len(computed) == len([s for s, _ in outcomes(study) if s == "1"])


def test_wrong_ones_lists_and_stages(
    study: StudyDir, computed: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = [key for key, right in outcomes(study).items() if not right]
    assert wrong
    assert run(study, "--trials", "wrong", "--against", "true") in (0, 1)
    assert computed == [key for key in wrong if key != UNREADABLE]
    computed.clear()
    assert run(study, "--trials", "2, 6", "--subject", "1", "--stage", "eeg", "--target", "Anger") == 0
    assert computed == [("1", "2"), ("1", "6")]
    assert list(study.run("s01-eeg").explain_dir.glob("2-expected_gradients-Anger-mixed.json"))
    capsys.readouterr()
    assert run(study, "--trials", "2,999", "--subject", "1") == 2
    assert "999" in capsys.readouterr().err


def test_one_trial_prints_the_same_object_as_before_and_more(
    study: StudyDir, computed: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(study, "--subject", "1", "--trial", "2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {"study", "run", "attribution", "completeness_gap", "files", "target", "unit"} <= set(found)
    assert run(study, "--subject", "1", "--trial", "2") == 0
    assert computed == [("1", "2")]
    assert run(study, "--trial", "2") == 2
    assert "--subject" in capsys.readouterr().err


def test_files_without_the_places_of_their_pictures_are_computed_again(
    study: StudyDir, computed: list[tuple[str, str]]
) -> None:
    assert run(study, "--subject", "1", "--trial", "2") == 0
    made = trial.find_explanation(study, "1", "2")
    assert made is not None
    assert not made.lacks_places
    save_explanation(study.run("s01-fusion"), replace(made, crops=None))
    assert run(study, "--subject", "1", "--trial", "2") == 0
    assert run(study, "--subject", "1", "--trial", "2") == 0
    assert computed == [("1", "2")] * 2


def test_damaged_files_are_computed_again(study: StudyDir, computed: list[tuple[str, str]]) -> None:
    assert run(study, "--subject", "1", "--trial", "2") == 0
    (arrays,) = study.run("s01-fusion").explain_dir.glob("*.npz")
    arrays.write_bytes(b"damaged")
    assert run(study, "--subject", "1", "--trial", "2") == 0
    assert computed == [("1", "2")] * 2


def test_a_subject_that_was_not_tested_is_named_with_those_that_were(
    study: StudyDir, computed: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(study, "--trials", "wrong", "--subject", "9") == 2
    printed = " ".join(capsys.readouterr().err.split())
    assert "--subject: expected a subject that a finished run has tested (1, 2), found 9" in printed
    assert computed == []


@pytest.mark.parametrize("option", ["--target", "--against"])
def test_an_unknown_class_is_refused_once_before_the_first_trial(
    option: str, study: StudyDir, computed: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(study, "--trials", "all", option, "Joy") == 2
    assert not computed
    assert capsys.readouterr().err.count("Joy") == 1
