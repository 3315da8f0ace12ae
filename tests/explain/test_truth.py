"""truth.json: what it tells, and that one which is missing, broken or of other recordings is refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from failing import fails
from fake_study import make_study

from eavdash.demo.files import MARKERS, places
from eavdash.demo.plan import SMALL, Planting, plan_subject, truth
from eavdash.errors import IntegrityError, UsageError
from eavdash.explain.truth import read_truth, require_truth_of

TRIALS = [("1", "2"), ("2", "4")]


def write(folder: Path, seed: int = 0, subjects: tuple[int, ...] = (1, 2), **changed: object) -> Path:
    plans = [plan_subject(seed, subject, SMALL) for subject in subjects]
    folder.mkdir(exist_ok=True)
    path = folder / "truth.json"
    content = truth(seed, plans, SMALL, Planting(), MARKERS, places) | changed
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
    return path


def test_it_tells_what_is_expressed(tmp_path: Path) -> None:
    found = read_truth(write(tmp_path))
    assert len(found.planted) == 400
    for trial in plan_subject(0, 1, SMALL).trials:
        for modality, shown in trial.expressions.items():
            marks = set(MARKERS[modality](shown.emotion)["place"])
            expressed = found.expressed("1", str(trial.number), modality)
            assert (expressed is None) == (not marks)
            assert found.is_noise("1", modality) == (modality == "eeg")
            if expressed:
                assert (expressed.start, expressed.stop) == (shown.start, shown.stop)
                assert expressed.emotion == shown.emotion
                assert set(expressed.where) == marks
    assert found.expressed("9", "1", "eeg") is None


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"trials": 3}', '{"trials": [7], "reliability": {}}'])
def test_a_broken_file_is_one_sentence(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "truth.json"
    path.write_text(damage)
    with fails(IntegrityError, where="truth.json") as caught:
        read_truth(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_lacks_places_or_is_none(tmp_path: Path) -> None:
    with fails(IntegrityError, where="truth.json", expected="places", remedy="make-demo"):
        read_truth(write(tmp_path, places=None))
    with fails(UsageError, where="none.json", found="no such file", remedy="truth.json"):
        read_truth(tmp_path / "none.json")


def test_the_truth_of_other_recordings_is_noticed(tmp_path: Path) -> None:
    own = write(tmp_path / "own")
    study = make_study(tmp_path, subjects=("1", "2"), dataset=own.parent)
    copy = write(tmp_path / "copy")
    require_truth_of(study, read_truth(own), own, TRIALS)
    require_truth_of(study, read_truth(copy), copy, TRIALS)
    other = write(tmp_path / "other", seed=1)
    with fails(UsageError, where="other", expected=study.name, found="seed 1", remedy=str(own)):
        require_truth_of(study, read_truth(other), other, TRIALS)
    fewer = write(tmp_path / "fewer", subjects=(1,))
    require_truth_of(study, read_truth(fewer), fewer, TRIALS[:1])
    with fails(UsageError, where="fewer", expected="all 2 trials", found=("1", "subject 2, trial 4")):
        require_truth_of(study, read_truth(fewer), fewer, TRIALS)


def test_a_file_beside_the_recordings_of_an_earlier_version_still_tells(tmp_path: Path) -> None:
    own = write(tmp_path / "own", places=None)
    study = make_study(tmp_path, subjects=("1", "2"), dataset=own.parent)
    copy, other = write(tmp_path / "copy"), write(tmp_path / "other", seed=1)
    require_truth_of(study, read_truth(copy), copy, TRIALS)
    with fails(UsageError, found="seed 1"):
        require_truth_of(study, read_truth(other), other, TRIALS)
    own.write_text("{")  # it tells nothing, so it refutes nothing
    require_truth_of(study, read_truth(other), other, TRIALS)
