"""Trials whose recordings cannot be used: left out by name, kept, refused; subjects with too few others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from failing import fails
from short_sounds import AUDIO, table

from eavdash.config.schema import Selection
from eavdash.errors import DataError, StudyConflictError, UsageError
from eavdash.results import left_out as texts
from eavdash.store.documents import LeftOut
from eavdash.store.record import write_record
from eavdash.studies.extend import clone, extend
from eavdash.studies.plan import plan
from eavdash.studies.unusable import Unusable
from eavdash.studies.write import prepare, refresh


def spoil(folder: Path, name: str, how: str) -> None:
    """Make one recording unusable."""
    path = folder / f"{name}.wav"
    if how == "missing":
        path.unlink()
    elif how == "unreadable":
        path.write_bytes(b"RIFF, but nothing that a decoder knows")
    else:
        wave, rate = soundfile.read(path, dtype="float32")
        wave[10:20] = np.nan
        soundfile.write(path, wave, rate, subtype="FLOAT")


def segments(root: Path, names: dict[str, float]) -> None:
    """Give the trials of subject 1 that ``names`` lists a stop in seconds."""
    rows = pd.read_csv(root, dtype=str, keep_default_na=False)
    stops = rows["trial"].map(names).where(rows["subject"] == "1")
    rows = rows.assign(start=stops.where(stops.isna(), 0), stop=stops)
    rows.to_csv(root, index=False)


def record(made) -> LeftOut:
    assert made.document.left_out is not None
    return made.document.left_out


@pytest.mark.parametrize(
    ("how", "kind"), [("missing", "missing"), ("unreadable", "unreadable"), ("nan", "not-finite"), ("stop", "outside")]
)
def test_a_trial_that_cannot_be_used_is_left_out_by_name(tmp_path: Path, how: str, kind: str) -> None:
    root = table(tmp_path)
    if how == "stop":
        segments(root, {"2-calm": 7.5})
    else:
        spoil(tmp_path, "1-2-calm", how)
    made = prepare(root, "pilot", AUDIO, Selection(), tmp_path / "c")
    assert not made.problems
    found = record(made.study.study().left_out and made)
    assert [(r.subject, r.trial, r.modality, r.kind, r.kept) for r in found.recordings] == [
        ("1", "2-calm", "audio", kind, False)
    ]
    assert found.recordings[0].reason
    assert (found.trials, found.subjects) == ({"1": 10, "2": 10, "3": 10}, {})
    assert texts.count(found) == "1 of 30 trials left out"
    for file in (made.study.splits_file, made.study.trials_file):
        rows = pd.read_csv(file, dtype=str)
        assert ("1", "2-calm") not in set(zip(rows["subject"], rows["trial"], strict=True))
    assert len(pd.read_parquet(made.study.table_file)) == 29


def test_the_rest_is_the_study_of_a_table_without_the_trial(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    root = table(tmp_path / "a")
    rows = pd.read_csv(root, dtype=str)
    spoil(tmp_path / "a", "1-2-calm", "nan")
    never = tmp_path / "a" / "without.csv"
    rows[(rows["subject"] != "1") | (rows["trial"] != "2-calm")].to_csv(never, index=False)
    one = prepare(root, "pilot", AUDIO, Selection(), tmp_path / "c")
    other = prepare(never, "pilot", AUDIO, Selection(), tmp_path / "d")
    for name in ("splits_file", "trials_file"):
        assert getattr(one.study, name).read_bytes() == getattr(other.study, name).read_bytes()
    assert one.document.dataset.fingerprint == other.document.dataset.fingerprint
    assert record(other) == LeftOut(trials={"1": 9, "2": 10, "3": 10})


def test_a_subject_without_half_of_its_trials_or_without_a_class_is_left_out_by_name(tmp_path: Path) -> None:
    root = table(tmp_path)
    for name in [f"1-{n}-calm" for n in range(5)] + [f"2-{n}-{x}" for n in range(3) for x in ("calm", "tense")]:
        spoil(tmp_path, name, "unreadable")
    spoil(tmp_path, "3-0-calm", "unreadable")
    made = prepare(root, "pilot", AUDIO, Selection(folds=(0,)), tmp_path / "c")
    assert set(record(made).subjects) == {"1", "2"}
    assert "none of calm is left" in record(made).subjects["1"]
    assert "6 of 10" in record(made).subjects["2"]
    assert {r.subject for r in record(made).recordings} == {"3"}
    assert set(made.problems) == {"s01-audio", "s02-audio"}
    states = {name: made.study.run(name).status() for name in made.runs}
    assert {name: (s.state, s.unusable) for name, s in states.items()} == {
        "s01-audio": ("failed", True),
        "s02-audio": ("failed", True),
        "s03-audio": ("queued", False),
    }
    assert set(made.document.dataset.fingerprint) == {"3"}


def test_a_study_is_refused_when_nobody_is_left(tmp_path: Path) -> None:
    root = table(tmp_path)
    for path in tmp_path.glob("*.wav"):
        spoil(tmp_path, path.stem, "unreadable")
    with pytest.raises(DataError, match=r"subject 1: .*10 of 10.*2 more subjects"):
        prepare(root, "pilot", AUDIO, Selection(), tmp_path / "c")
    assert not (tmp_path / "c" / "pilot").exists()


def test_strict_refuses_with_the_names(tmp_path: Path) -> None:
    root = table(tmp_path)
    plan(root, "pilot", AUDIO, Selection(), tmp_path / "c", unusable=Unusable(strict=True))
    spoil(tmp_path, "1-2-calm", "nan")
    with fails(DataError, where=str(tmp_path), expected="--strict", found="trial 2-calm of subject 1"):
        plan(root, "pilot", AUDIO, Selection(), tmp_path / "c", unusable=Unusable(strict=True))


def test_kinds_are_left_out_or_kept_on_request(tmp_path: Path) -> None:
    root = table(tmp_path, video=True)  # the "video" is a sound, which is no video
    both = AUDIO.__class__(stages=("vision", "audio"))
    soundfile.write(tmp_path / "2-0-calm.wav", np.zeros(1600), 16000)
    with pytest.raises(DataError, match="subject 1"):
        plan(root, "pilot", both, Selection(), tmp_path / "c")
    kept = plan(root, "pilot", both, Selection(), tmp_path / "c", unusable=Unusable(keep=("unreadable",)))
    assert {(r.modality, r.kept) for r in record(kept).recordings} == {("vision", True)}
    assert len(record(kept).recordings) == 30
    assert texts.count(record(kept)) == ""
    assert "used without a recording" in texts.sentences(record(kept))[0]
    assert (kept.table.frame["video"] == "").all()
    assert {run.config.stage for run in kept.planned} == {"audio"}
    silent = Unusable(leave_out=("silent",), keep=("unreadable",))
    quieter = plan(root, "pilot", both, Selection(), tmp_path / "c", unusable=silent)
    assert {r.trial for r in record(quieter).recordings if not r.kept} == {"0-calm"}
    with fails(UsageError, where="--keep", found="loud"):
        plan(root, "pilot", both, Selection(), tmp_path / "c", unusable=Unusable(keep=("loud",)))


def test_a_study_keeps_its_trials_when_it_is_planned_again(tmp_path: Path, submitted: object) -> None:
    root = table(tmp_path)
    good = (tmp_path / "1-2-calm.wav").read_bytes()
    spoil(tmp_path, "1-2-calm", "nan")
    spoil(tmp_path, "3-1-calm", "missing")
    study = prepare(root, "pilot", AUDIO, Selection(("1",)), tmp_path / "c").study
    before = {p: p.read_bytes() for p in study.path.rglob("*") if p.is_file()}
    (tmp_path / "1-2-calm.wav").write_bytes(good)  # repaired: the study goes on without it
    prepare(root, "pilot", AUDIO, Selection(("1",)), tmp_path / "c")
    refresh(study)
    assert {p: p.read_bytes() for p in study.path.rglob("*") if p.is_file()} == before
    extend(study, subjects=("3",))
    assert [
        (r.subject, r.trial)
        for r in record(plan(root, "pilot", AUDIO, Selection(("1", "3")), tmp_path / "c")).recordings
    ] == [
        ("1", "2-calm"),
        ("3", "1-calm"),
    ]
    rows = pd.read_csv(study.splits_file, dtype=str)
    assert rows.groupby("subject")["trial"].nunique().to_dict() == {"1": 9, "3": 9}
    with fails(StudyConflictError, found="not-finite"):
        plan(root, "pilot", AUDIO, Selection(("1",)), tmp_path / "c", unusable=Unusable(keep=("not-finite",)))


def test_keys_of_a_later_version_stay_in_the_record(tmp_path: Path, submitted: object) -> None:
    study = prepare(table(tmp_path), "pilot", AUDIO, Selection(("1",)), tmp_path / "c").study
    content = json.loads(study.study_file.read_text())
    content["left_out"]["of_later"] = [1]
    study.study_file.write_text(json.dumps(content))
    extend(study, subjects=("3",))
    after = json.loads(study.study_file.read_text())["left_out"]
    assert (after["of_later"], after["trials"]) == ([1], {"1": 10, "3": 10})


def test_a_study_without_the_record_is_planned_as_before(tmp_path: Path, submitted: object) -> None:
    root = table(tmp_path)
    study = prepare(root, "pilot", AUDIO, Selection(("1",)), tmp_path / "c").study
    write_record(study.study_file, study.study().replace(left_out=None))
    spoil(tmp_path, "3-1-calm", "unreadable")
    before = study.splits_file.read_bytes()
    refresh(study)
    assert study.splits_file.read_bytes() == before
    extend(study, subjects=("3",))
    assert study.study().left_out is None
    rows = pd.read_csv(study.splits_file, dtype=str)
    assert rows.groupby("subject")["trial"].nunique().to_dict() == {"1": 10, "3": 10}


def test_a_subject_that_was_left_out_comes_in_when_it_is_repaired(tmp_path: Path) -> None:
    root = table(tmp_path)
    kept = {p: p.read_bytes() for p in tmp_path.glob("2-*.wav")}
    for path in kept:
        spoil(tmp_path, path.stem, "missing")
    study = prepare(root, "pilot", AUDIO, Selection(folds=(0,)), tmp_path / "c").study
    assert study.run("s02-audio").status().unusable
    assert "2-0-calm.wav" in study.run("s02-audio").status().reason
    for path, content in kept.items():
        path.write_bytes(content)
    made = refresh(study)
    assert record(made) == LeftOut(trials={"1": 10, "2": 10, "3": 10})
    assert study.run("s02-audio").status().state == "queued"
    assert set(pd.read_csv(study.splits_file, dtype=str)["subject"]) == {"1", "2", "3"}


def test_the_comparison_with_a_clone_names_the_trials_that_differ(tmp_path: Path) -> None:
    root = table(tmp_path)
    study = prepare(root, "pilot", AUDIO, Selection(), tmp_path / "c").study
    spoil(tmp_path, "1-2-calm", "nan")
    made = clone(study, "again")
    assert "left out: now trial 2-calm of subject 1" in made.differences
