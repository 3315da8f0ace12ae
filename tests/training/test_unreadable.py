"""Trials that prove unreadable: the rest is trained and scored as if they had never been in the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from recordings import FAST, make_recordings

from eavdash.config.convert import with_epochs, with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Selection, StudyConfig
from eavdash.errors import DataError, RecordingError
from eavdash.jobs import worker
from eavdash.results import left_out, tables
from eavdash.store import StudyDir
from eavdash.store.record import write_record
from eavdash.studies.write import prepare
from eavdash.training.run import train_run

BAD = "5"  # the second trial of the second group
ONE_FOLD = Selection(("1",), (0,), (0,))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_recordings(tmp_path / "data", subjects=1)


def config(*stages: str) -> StudyConfig:
    settings = [*FAST, f"stages={','.join(stages)}"]
    return with_epochs(with_settings(preset("quick"), settings), 2)


def spoil(root: Path, trial: str = BAD) -> None:
    """Put ten samples that are not finite into one trial's sound."""
    path = root.parent / f"1-{trial}.wav"
    wave, rate = soundfile.read(path, dtype="float32")
    wave[1000:1010] = np.nan
    soundfile.write(path, wave, rate, subtype="FLOAT")


def without(root: Path) -> Path:
    """The table without that trial, beside the other."""
    rows = pd.read_csv(root, dtype=str)
    path = root.parent / "without.csv"
    rows[rows["trial"] != BAD].to_csv(path, index=False)
    return path


def trained(root: Path, checkpoints: Path, *stages: str) -> StudyDir:
    made = prepare(root, "pilot", config(*stages), ONE_FOLD, checkpoints)
    for name in made.runs:
        assert train_run(made.study.run(name))
    return made.study


def predictions(study: StudyDir, stage: str) -> bytes:
    return study.run(f"s01-{stage}").predictions_file.read_bytes()


def test_a_trial_left_out_at_planning_changes_nothing_else(root: Path, tmp_path: Path) -> None:
    spoil(root)
    one = trained(root, tmp_path / "c", "audio", "eeg", "fusion")
    other = trained(without(root), tmp_path / "d", "audio", "eeg", "fusion")
    assert left_out.count(one.study().left_out) == "1 of 12 trials left out"
    for stage in ("audio", "eeg", "fusion"):
        assert predictions(one, stage) == predictions(other, stage)
        assert one.run(f"s01-{stage}").config().left_out == []


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let planning find every recording usable, so that only a run finds what is wrong."""
    monkeypatch.setattr("eavdash.health.look.unusable", lambda *_: [])


@pytest.mark.usefixtures("unseen")
def test_a_trial_that_only_a_run_finds_is_left_out_of_all_stages_and_recorded(root: Path, tmp_path: Path) -> None:
    spoil(root)
    one = trained(root, tmp_path / "c", "audio", "eeg", "fusion")
    other = trained(without(root), tmp_path / "d", "audio", "eeg", "fusion")
    assert predictions(one, "audio") == predictions(other, "audio")
    entry = (one.run("s01-audio").config().left_out or [])[0]
    assert (entry["subject"], entry["trial"], entry["kind"]) == ("1", BAD, "not-finite")
    assert f"1-{BAD}.wav" in entry["reason"]
    for name in ("s01-audio", "s01-eeg", "s01-fusion"):
        one.run(name).transition("running")
        one.run(name).transition("done")
    rows = tables.predictions(one, split=None)
    assert BAD in set(pd.read_parquet(one.run("s01-eeg").predictions_file)["trial"])
    assert BAD not in set(rows["trial"])
    assert rows.groupby("stage")["trial"].nunique().to_dict() == {"audio": 11, "eeg": 11, "fusion": 11}
    assert f"trial {BAD} of subject 1" in left_out.unread_sentence(rows)
    assert left_out.with_counts(tables.scores(one), None)["left_out"].unique().tolist() == [1]


@pytest.mark.usefixtures("unseen")
def test_the_worker_marks_such_a_run(root: Path, tmp_path: Path) -> None:
    spoil(root)
    made = prepare(root, "pilot", config("audio"), ONE_FOLD, tmp_path / "c")
    assert worker.main([str(made.study.run("s01-audio").path)]) == 0
    status = made.study.run("s01-audio").status()
    assert status.state == "done"
    assert f"trial {BAD} of subject 1, not-finite" in status.reason


@pytest.mark.usefixtures("unseen")
def test_a_run_fails_if_half_of_the_trials_or_a_class_cannot_be_read(root: Path, tmp_path: Path) -> None:
    for trial in (1, 4, 7, 10):  # all calm ones
        spoil(root, str(trial))
    made = prepare(root, "pilot", config("audio"), ONE_FOLD, tmp_path / "c")
    with pytest.raises(DataError, match="none of calm is left"):
        train_run(made.study.run("s01-audio"))
    for trial in (2, 3, 5):
        spoil(root, str(trial))
    with pytest.raises(DataError, match="7 of 12"):
        train_run(made.study.run("s01-audio"))


@pytest.mark.usefixtures("unseen")
def test_a_run_of_a_study_without_the_record_fails_as_before(root: Path, tmp_path: Path) -> None:
    spoil(root)
    made = prepare(root, "pilot", config("audio"), ONE_FOLD, tmp_path / "c")
    write_record(made.study.study_file, made.study.study().replace(left_out=None))
    with pytest.raises(RecordingError, match=f"trial {BAD}"):
        train_run(made.study.run("s01-audio"))
