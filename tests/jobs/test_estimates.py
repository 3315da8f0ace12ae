"""Estimates of the time left, from the pace of runs of the same kind, or unknown."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from documents import run_config
from fake_study import make_study

from eavdash.config.convert import to_dict, with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Execution
from eavdash.jobs.estimates import (
    duration,
    expected_durations,
    max_parallel_runs,
    plan_time_left,
    seconds_left,
    study_time_left,
)
from eavdash.jobs.snapshot import snapshot
from eavdash.store.record import write_record


@pytest.fixture
def table(tmp_path: Path) -> Any:
    """Vision and audio runs of three subjects; no duration is known until a test sets one."""
    study = make_study(tmp_path, stages=("vision", "audio"), states={"*": "queued"})
    return snapshot(study).set_index("run", drop=False)


def set_run(table: Any, name: str, **fields: Any) -> None:
    for key, value in fields.items():
        table.loc[name, key] = value


def test_without_a_finished_epoch_the_time_is_unknown(table: Any) -> None:
    assert seconds_left(table).isna().all()
    assert study_time_left(table).text == "unknown"
    set_run(table, "s01-vision", shown="running", state="running", epochs=10, started=100.0, heartbeat=130.0)
    assert seconds_left(table).isna().all()  # no epoch is over yet
    assert study_time_left(table).text == "unknown"


def test_a_running_run_is_estimated_from_the_pace_of_its_attempt(table: Any) -> None:
    set_run(table, "s01-vision", shown="running", epochs=10, epoch=6, from_epoch=4, started=100.0, heartbeat=130.0)
    left = seconds_left(table)
    assert left["s01-vision"] == 15 * 4
    # Others of its stage are expected to take as long; of audio nothing is known.
    assert left["s02-vision"] == 150
    assert math.isnan(left["s02-audio"])
    estimate = study_time_left(table)
    assert (estimate.seconds, estimate.parallel_runs, estimate.at_least) == (60 + 2 * 150, 1, True)
    assert estimate.text == "at least 6 min"


def test_waiting_runs_take_the_median_of_those_that_are_done(table: Any) -> None:
    done = {"shown": "done", "state": "done", "ended": True, "epochs": 10, "epoch": 10, "started": 0.0}
    for name, took in (("s01-vision", 100.0), ("s02-vision", 140.0), ("s01-audio", 10.0)):
        set_run(table, name, **done, finished=took)
    # A run that was resumed at epoch 5 took half of a whole one.
    set_run(table, "s02-audio", **{**done, "from_epoch": 5}, finished=10.0)
    set_run(table, "s03-vision", shown="running", epochs=10, started=0.0, heartbeat=30.0)
    left = seconds_left(table)
    assert left["s03-vision"] == 120 - 30
    assert left["s03-audio"] == 15
    assert left["s01-vision"] == 0
    estimate = study_time_left(table)
    assert (estimate.seconds, estimate.at_least) == (105, False)
    # A run that was interrupted after half of its epochs needs half of the time.
    set_run(table, "s03-audio", epochs=10, epoch=5)
    assert seconds_left(table)["s03-audio"] == 7.5
    # Two at a time: never less than the longest.
    set_run(table, "s03-audio", shown="running", started=0.0, heartbeat=5.0, epoch=0)
    assert study_time_left(table).seconds == 90


def test_a_run_that_does_not_respond_is_unknown_and_not_counted_as_running(table: Any) -> None:
    set_run(table, "s01-vision", shown="not responding", epochs=10, epoch=5, started=0.0, heartbeat=50.0)
    assert math.isnan(seconds_left(table)["s01-vision"])
    assert study_time_left(table).seconds is None
    table["ended"] = True
    assert study_time_left(table).seconds == 0


def test_within_and_across_subjects_are_two_kinds(table: Any) -> None:
    set_run(table, "s01-vision", shown="running", epochs=10, epoch=5, started=0.0, heartbeat=50.0)
    set_run(table, "s02-vision", subject="")
    left = seconds_left(table)
    assert math.isnan(left["s02-vision"])
    assert left["s03-vision"] == 100


def test_a_plan_is_estimated_from_finished_runs_of_the_same_kind(tmp_path: Path) -> None:
    study = make_study(tmp_path, "before", subjects=("1",), stages=("vision", "audio"), dataset="/data/EAV")
    for run in study.runs():
        run.update(from_epoch=0, started=1000.0, finished=1120.0)  # 12 epochs of 10 s
    config = to_dict(with_settings(preset("quick"), ["train.vision.epochs=5", "train.audio.learning_rate=0.1"]))
    runs = [run_config(f"s{n:02d}-vision", stage="vision", subject=str(n)) for n in (2, 3)]
    estimate = plan_time_left(tmp_path, "/data/EAV", config, runs, parallel_runs=2)
    assert (estimate.seconds, estimate.at_least) == (50, False)
    assert "2 finished runs" in estimate.basis
    assert "before" in estimate.basis
    assert plan_time_left(
        tmp_path, "/data/EAV", config, [*runs, run_config("s02-eeg", stage="eeg", subject="2")], 2
    ).at_least
    assert plan_time_left(tmp_path, "/data/other", config, runs, 2).seconds is None
    wider = to_dict(with_settings(preset("quick"), ["vision.width=128"]))
    assert plan_time_left(tmp_path, "/data/EAV", wider, runs, 2).seconds is None
    assert plan_time_left(tmp_path, "/data/EAV", config, [], 2).seconds == 0
    document = study.study()
    document.config["protocol"]["subject_scaling"] = False  # as earlier versions wrote "off"
    write_record(study.study_file, document)
    assert plan_time_left(tmp_path, "/data/EAV", config, runs, 2).seconds == 50


def test_before_the_first_epoch_a_study_takes_as_long_as_the_launch_page_said(tmp_path: Path) -> None:
    before = make_study(tmp_path, "before", subjects=("1",), stages=("vision",), dataset="/data/EAV")
    for run in before.runs():
        run.update(from_epoch=0, started=1000.0, finished=1120.0)  # 12 epochs of 10 s
    now = make_study(
        tmp_path, "now", subjects=("1", "2"), stages=("vision",), dataset="/data/EAV", states={"*": "queued"}
    )
    expected = expected_durations(now)
    whole = 10 * preset("quick").train.vision.epochs
    assert expected == {"vision": whole}
    waiting = snapshot(now)
    assert seconds_left(waiting).isna().all()
    left = seconds_left(waiting, expected)
    assert left.tolist() == [whole, whole]
    assert study_time_left(waiting, left).seconds is None  # how many run at once is not known
    assert study_time_left(waiting, left, capacity=8).seconds == whole
    assert study_time_left(waiting, left, capacity=1).seconds == 2 * whole


@pytest.mark.parametrize("recorded", ["linear", None])
def test_a_linear_fit_is_one_epoch_of_another_kind(tmp_path: Path, recorded: str | None) -> None:
    study = make_study(tmp_path, "before", subjects=("1",), stages=("vision",), dataset="/data/EAV")
    for run in study.runs():
        run.update(from_epoch=0, epoch=12, started=1000.0, finished=1120.0)
    document = study.study()
    config = to_dict(with_settings(preset("quick"), ["train.vision.fit=linear"]))
    before = to_dict(with_settings(preset("quick"), ["train.vision.fit=linear"]))
    if recorded is None:  # a study of an earlier version, which was fitted by gradients
        del before["train"]["vision"]["fit"]
    write_record(study.study_file, document.replace(config=before))
    runs = [run_config("s02-vision", stage="vision", subject="2")]
    seconds = plan_time_left(tmp_path, "/data/EAV", config, runs, 1).seconds
    assert seconds == (10 if recorded else None)
    config["train"]["vision"]["fit"] = "gradient"
    seconds = plan_time_left(tmp_path, "/data/EAV", config, runs, 1).seconds
    assert seconds == (None if recorded else 300)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (59.4, "59 s"), (59.7, "1 min"), (3599, "1 h"), (3700, "1 h 2 min"), (90_000, "1 d 1 h")],
)
def test_durations_as_text(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_parallel_runs_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAVDASH_SLOTS", "8")
    monkeypatch.setenv("EAVDASH_GPUS", "")
    assert max_parallel_runs(Execution(threads=3)) == 2
    assert max_parallel_runs(Execution(threads=20)) == 1
    assert max_parallel_runs(Execution(executor="slurm")) == 1
    monkeypatch.setenv("EAVDASH_GPUS", "0,1")
    assert max_parallel_runs(Execution(runs_per_gpu=2)) == 4
    assert max_parallel_runs(Execution(device="cuda:1")) == 1
    assert max_parallel_runs(Execution(device="cpu")) == 8
