"""Snapshots of a study's runs: always true, and only changed files are read again."""

from __future__ import annotations

import fcntl
import math
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from documents import run_config
from fake_study import make_study

from eavdash.jobs import snapshot as module
from eavdash.jobs.snapshot import COLUMNS, snapshot
from eavdash.store import RunDir, StudyDir


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs whose status was read, in order."""
    names: list[str] = []
    whole = RunDir.live_status

    def counted(run: RunDir) -> dict[str, Any]:
        names.append(run.name)
        return whole(run)

    monkeypatch.setattr(RunDir, "live_status", counted)
    return names


def displayed_states(study: StudyDir) -> dict[str, str]:
    table = snapshot(study)
    return dict(zip(table["run"], table["shown"], strict=True))


def test_only_changed_files_are_read_again(tmp_path: Path, reads: list[str]) -> None:
    study = make_study(tmp_path, subjects=("1", "2"), states={"*": "queued", "s01-eeg": "done"})
    first = snapshot(study)
    assert sorted(reads) == first["run"].tolist()
    assert first.dtypes.astype(str).to_dict() == COLUMNS
    reads.clear()
    assert snapshot(study).equals(first)
    assert reads == []
    study.run("s02-audio").transition("cancelled", reason="")
    assert displayed_states(study)["s02-audio"] == "cancelled"
    assert reads == ["s02-audio"]


def test_a_running_run_is_checked_in_every_snapshot(tmp_path: Path, reads: list[str]) -> None:
    study = make_study(tmp_path, subjects=("1",), states={"*": "done", "s01-eeg": "running"})
    study.run("s01-eeg").update(heartbeat=time.time() + 600)  # recent, even on a slow machine
    lock = study.run("s01-eeg").lock_file.open("ab")
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert displayed_states(study)["s01-eeg"] == "running"
    lock.close()  # as if its process was killed
    reads.clear()
    assert displayed_states(study)["s01-eeg"] == "not responding"
    assert reads == ["s01-eeg"]
    with study.run("s01-eeg").lock_file.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert displayed_states(study)["s01-eeg"] == "running"
        study.run("s01-eeg").update(heartbeat=time.time() - 3600)  # alive, and stuck
        assert displayed_states(study)["s01-eeg"] == "not responding"


def test_runs_come_and_go(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1",), stages=("audio", "eeg"))
    (study.path / "notes").mkdir()
    (study.path / "s01-file").write_text("no folder")
    assert list(displayed_states(study)) == ["s01-audio", "s01-eeg"]
    shutil.rmtree(study.run("s01-audio").path)
    study.run("s02-eeg").create(run_config("s02-eeg"))
    assert list(displayed_states(study)) == ["s01-eeg", "s02-eeg"]
    assert list(module._study_cache(study).runs) == ["s01-eeg", "s02-eeg"]
    # Replaced by another study of the same name: no row of the old one is left.
    shutil.rmtree(study.path)
    assert snapshot(study).empty
    make_study(tmp_path, subjects=("1",), stages=("audio", "eeg"), folds=(3,), states={"*": "queued"})
    assert displayed_states(study) == {"s01-audio": "queued", "s01-eeg": "queued"}
    assert set(snapshot(study)["fold"]) == {3}


@pytest.mark.parametrize("state", ["queued", "running", "done"])
def test_a_study_that_is_replaced_between_two_snapshots_is_read_again(tmp_path: Path, state: str) -> None:
    for fold in (0, 3):
        shutil.rmtree(tmp_path / "demo", ignore_errors=True)
        study = make_study(tmp_path, subjects=("1",), stages=("eeg",), folds=(fold,), states={"*": state})
        assert snapshot(study)["fold"].tolist() == [fold]


def test_the_further_columns(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1",), states={"*": "running", "s01-eeg": "queued", "s01-audio": "done"})
    run = study.run("s01-vision")
    run.update(execution={"executor": "slurm", "priority": 3}, job={"executor": "slurm", "name": "eavdash-x"})
    run.update(
        usage={"cpu": 150.0, "rss": 10**9, "peak": 2 * 10**9, "gpu": 40.0, "gpu_memory": 3 * 10**9},
        cancel="soon",
        host="n1",
    )
    table = snapshot(study).set_index("run")
    row = table.loc["s01-vision"]
    assert (row["executor"], row["host"], row["priority"], row["from_epoch"], row["stopping"]) == (
        *("slurm", "n1", 3, 2),
        True,
    )
    assert row[["cpu", "memory", "peak", "gpu", "gpu_memory"]].tolist() == [150.0, 1e9, 2e9, 40.0, 3e9]
    # The peak is kept; the current usage is shown for running runs only.
    assert (table.loc["s01-audio", "peak"], math.isnan(table.loc["s01-audio", "memory"])) == (510_000_000, True)
    assert table.loc["s01-eeg", ["executor", "host"]].tolist() == ["local", ""]


def test_one_damaged_file_is_one_failed_run(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1",))
    study.run("s01-audio").config_file.write_text("[1]")
    snapshot(study)
    study.run("s01-eeg").status_file.write_text("{")
    study.run("s01-fusion").status_file.write_text('{"state": "done", "epoch": "seven"}')
    study.run("s01-vision").status_file.unlink()
    table = snapshot(study).set_index("run")
    assert (table["shown"] == "failed").all()
    assert "s01-eeg/status.json: expected JSON" in table.loc["s01-eeg", "reason"]
    assert "status.json" in table.loc["s01-fusion", "reason"]
    assert "s01-vision/status.json: expected a file, found none" in table.loc["s01-vision", "reason"]
    study.run("s01-eeg").status_file.write_text('{"state": "done"}')
    assert displayed_states(study)["s01-eeg"] == "done"


def test_a_finished_run_is_damaged_once_its_files_are_not_as_written(tmp_path: Path, reads: list[str]) -> None:
    study = make_study(tmp_path, subjects=("1",))
    whole = {run.name: (run.model_file.read_bytes(), run.predictions_file.read_bytes()) for run in study.runs()}
    assert set(displayed_states(study).values()) == {"done"}
    study.run("s01-eeg").model_file.unlink()
    study.run("s01-audio").predictions_file.unlink()
    with study.run("s01-vision").model_file.open("r+b") as file:  # in place: the folder's time stays
        file.truncate(3)
    table = snapshot(study).set_index("run")
    assert table["shown"].to_dict() == {
        **dict.fromkeys(("s01-audio", "s01-eeg", "s01-vision"), "damaged"),
        "s01-fusion": "done",
    }
    assert (table["state"] == "done").all()
    assert table["ended"].all()
    assert "eavdash retry demo --run s01-eeg" in table.loc["s01-eeg", "reason"]
    assert "expected 7 bytes, found 3 bytes" in table.loc["s01-vision", "reason"]
    reads.clear()
    snapshot(study)
    assert reads == []
    for name, (model, predictions) in whole.items():
        study.run(name).model_file.write_bytes(model)
        study.run(name).predictions_file.write_bytes(predictions)
    assert set(displayed_states(study).values()) == {"done"}


def test_a_configuration_that_is_damaged_later_is_noticed(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("7",), folds=(0, 1), states={"*": "queued", "s07-eeg-fold1": "running"})
    assert "failed" not in displayed_states(study).values()
    before = snapshot(study)
    for name in ("s07-eeg-fold1", "s07-audio-fold1"):
        study.run(name).config_file.write_text("{")
    for fresh in (False, True):
        if fresh:
            module._caches.clear()
        table = snapshot(study).set_index("run")
        assert table.index[table["shown"] == "failed"].tolist() == ["s07-audio-fold1", "s07-eeg-fold1"]
        assert "eavdash extend demo" in table["reason"].iloc[1]
        # It keeps its position in the grid.
        position = ["run", "unit", "subject", "stage", "fold", "seed"]
        assert table.reset_index()[position].equals(before[position])


def test_a_large_study_is_checked_in_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FULL_CHECKS", 2)
    study = make_study(tmp_path, subjects=("1", "2"))
    snapshot(study)
    for run in study.runs():
        run.predictions_file.write_bytes(b"")
    counts = [list(displayed_states(study).values()).count("damaged") for _ in range(4)]
    assert counts == [2, 4, 6, 8]
    study.run("s01-eeg").model_file.unlink()
    study.run("s02-eeg").config_file.unlink()
    assert "s02-eeg" not in displayed_states(study)  # a removed run is noticed at once


def test_a_table_updated_in_place_is_correct(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1", "2"), states={"*": "queued", "s01-eeg": "running"})
    before = snapshot(study)
    study.run("s01-eeg").update(epoch=9)
    study.run("s02-eeg").transition("failed", reason="no file")
    after = snapshot(study)
    module._caches.clear()
    assert after.equals(snapshot(study))  # a full read gives the same
    assert before.set_index("run").loc["s01-eeg", "epoch"] == 7
    assert after.set_index("run").loc[["s01-eeg", "s02-eeg"], "epoch"].tolist() == [9, 0]
    assert snapshot(study, ["s02-eeg", "s01-eeg"])["run"].tolist() == ["s02-eeg", "s01-eeg"]


def test_a_caller_that_changes_the_table_does_not_change_the_next(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1",))
    first = snapshot(study)
    first["shown"] = "lost"
    first.loc[0, "epoch"] = 99
    assert set(snapshot(study)["shown"]) == {"done"}
    assert 99 not in set(snapshot(study)["epoch"])


def test_only_a_few_studies_are_cached(tmp_path: Path) -> None:
    for number in range(module.CACHED_STUDIES + 3):
        snapshot(StudyDir(tmp_path / str(number)))
    assert len(module._caches) == module.CACHED_STUDIES
