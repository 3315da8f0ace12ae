"""The table of all studies: progress, size, and no second reading of unchanged runs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from fake_study import make_study

from eavdash.store import RunDir
from eavdash.studies import overview
from eavdash.studies.overview import COLUMNS


def rows(root: Path, archived: bool = False) -> dict[str, dict]:
    return {row["study"]: row for row in overview.overview(root, archived).to_dict(orient="records")}


def size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def test_an_empty_folder_gives_an_empty_table_with_every_column(tmp_path: Path) -> None:
    empty = overview.overview(tmp_path / "none")
    assert empty.empty
    assert list(empty.columns) == list(COLUMNS)


def test_a_row_has_progress_size_and_settings(tmp_path: Path) -> None:
    states = {"s01-audio": "failed", "s02-eeg": "queued", "s02-fusion": "blocked", "s02-audio": "running"}
    study = make_study(tmp_path, "first", subjects=("1", "2"), states=states, dataset="/data/EAV")
    make_study(tmp_path, "second", protocol="paper", simulated=False)
    study.run("s01-audio").resume_file.write_bytes(b"r" * 1000)
    (study.run("s01-fusion").explain_dir).mkdir()
    (study.run("s01-fusion").explain_dir / "4-x.npz").write_bytes(b"e" * 500)
    found = rows(tmp_path)
    assert list(found) == ["first", "second"]
    first = found["first"]
    assert (first["runs"], first["done"], first["never_queued"]) == (8, 4, 1)
    # No process holds the lock of the running run.
    assert first["states"] == {"done": 4, "failed": 1, "queued": 1, "waiting": 1, "not responding": 1}
    assert first["bytes"] == size(study.path)
    assert first["resume_bytes"] == 1000
    assert (first["dataset"], first["protocol"], first["simulated"]) == ("/data/EAV", "conversation", True)
    assert (found["second"]["protocol"], found["second"]["simulated"]) == ("paper", False)
    assert (first["preset"], first["created"]) == ("quick", "2026-01-01T00:00:00+0000")
    assert abs(first["changed"] - time.time()) < 60


def test_a_second_call_reads_only_what_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path, states={"s01-audio": "queued"})
    before = time.time() - 60
    for run in study.runs():
        os.utime(run.path, (before, before))
    assert rows(tmp_path)["demo"]["done"] == 11
    read = []
    status = RunDir.status
    monkeypatch.setattr(RunDir, "status", lambda run: read.append(run.name) or status(run))
    assert rows(tmp_path)["demo"]["done"] == 11
    assert read == []
    study.run("s01-audio").transition("cancelled", reason="x" * 5000)
    read.clear()
    again = rows(tmp_path)["demo"]
    assert again["states"]["cancelled"] == 1
    assert again["bytes"] == size(study.path)
    assert set(read) == {"s01-audio"}


def test_two_changes_with_the_same_time_are_both_seen(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1",), stages=("audio",), states={"*": "queued"})
    run = study.run("s01-audio")
    stamp = time.time_ns() + 60 * 10**9  # in the future, so that it is fresh even on a slow machine
    os.utime(run.path, ns=(stamp, stamp))
    assert rows(tmp_path)["demo"]["states"] == {"queued": 1}
    run.transition("cancelled")
    os.utime(run.path, ns=(stamp, stamp))
    assert rows(tmp_path)["demo"]["states"] == {"cancelled": 1}


def test_a_run_whose_files_are_gone_is_not_counted_as_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "SETTLED", -10.0)  # trust modification times at once
    study = make_study(tmp_path, subjects=("1", "2"), states={"s02-eeg": "queued"})
    assert overview.overview(tmp_path)["done"].item() == 7
    study.run("s01-eeg").model_file.unlink()
    study.run("s01-audio").predictions_file.write_bytes(b"x")  # in place
    study.run("s01-vision").config_file.write_text("{")
    states = overview.overview(tmp_path)["states"].item()
    assert states == {"done": 4, "damaged": 2, "failed": 1, "queued": 1}


def test_a_damaged_study_keeps_its_row_with_the_problem(tmp_path: Path) -> None:
    study = make_study(tmp_path, "torn")
    study.study_file.write_text("{")
    study.run("s01-eeg").status_file.write_text("{")
    make_study(tmp_path, "whole")
    found = rows(tmp_path)
    assert str(study.study_file) in found["torn"]["problem"]
    assert found["torn"]["states"] == {"done": 11, "failed": 1}
    assert found["whole"]["problem"] == ""
