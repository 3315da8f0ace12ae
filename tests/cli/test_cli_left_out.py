"""``train`` of a dataset with trials that cannot be used: exit codes, JSON, and the notes beside results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from fake_study import make_study
from short_sounds import table

from eavdash.cli.main import main
from eavdash.results.marks import study_marks
from eavdash.store.documents import LeftOut, LeftOutRecording
from eavdash.store.record import write_record


def train(folder: Path, *more: str) -> int:
    place = ["--study", "pilot", "--stages", "audio", "--checkpoints", str(folder / "c")]
    return main(["train", str(folder), *place, *more])


def spoil(folder: Path, pattern: str) -> None:
    for path in folder.glob(pattern):
        soundfile.write(path, np.full(1600, np.nan, "float32"), 16000, subtype="FLOAT")


def test_trials_left_out_alone_end_with_0_and_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(tmp_path)
    spoil(tmp_path, "1-2-calm.wav")
    assert train(tmp_path, "--dry-run") == 0
    assert "1 of 30 trials left out: 1 not-finite in audio (trial 2-calm of subject 1)" in capsys.readouterr().err
    assert train(tmp_path, "--dry-run", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(r["subject"], r["trial"], r["kind"]) for r in shown["left_out_trials"]] == [("1", "2-calm", "not-finite")]
    assert (shown["left_out_subjects"], shown["problems"]) == ({}, {})
    assert train(tmp_path, "--dry-run", "--strict") == 1
    assert "--strict" in capsys.readouterr().err
    assert train(tmp_path, "--dry-run", "--keep", "nonsense") == 2


def test_a_dry_run_ends_with_1_where_runs_could_not_be_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table(tmp_path)
    spoil(tmp_path, "2-*-calm.wav")
    assert train(tmp_path, "--dry-run") == 1
    error = capsys.readouterr().err
    assert "s02-audio-fold0 cannot start: subject 2: " in error
    assert "5 runs of 15 could not be computed" in error
    assert train(tmp_path, "--dry-run", "--json") == 1
    shown = json.loads(capsys.readouterr().out)
    assert set(shown["left_out_subjects"]) == {"2"}
    assert len(shown["problems"]) == 5


def test_segments_past_the_end_of_one_file_stop_no_fold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for subject in "12345":
        soundfile.write(tmp_path / f"{subject}.wav", rng.uniform(-0.5, 0.5, 36 * 800), 8000)
        for n in range(36):
            late = 10.0 if subject == "3" and n in (8, 20) else 0.0
            rows.append((subject, n, "ab"[n % 2], f"g{n // 4}", 0.1 * n + late, 0.1 * n + 0.1 + late, f"{subject}.wav"))
    columns = ["subject", "trial", "label", "group", "start", "stop", "audio"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "trials.csv", index=False)
    assert train(tmp_path, "--dry-run") == 0
    error = capsys.readouterr().err
    assert "2 of 180 trials left out: 2 outside in audio (trial 8 of subject 3, trial 20 of subject 3)" in error
    assert "25 of them would be queued" in error


def test_status_and_results_name_what_a_study_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = make_study(tmp_path, subjects=("1", "2"))
    gone = LeftOutRecording(subject="1", trial="9", modality="eeg", kind="outside", reason="past the end")
    record = LeftOut(trials={"1": 20, "2": 20, "3": 20}, recordings=(gone,), subjects={"3": "subject 3: too few."})
    write_record(study.study_file, study.study().replace(left_out=record))
    assert "1 of 40 trials left out, 1 subject left out" in [mark.text for mark in study_marks(study.study())]
    assert main(["status", "demo", "--checkpoints", str(tmp_path)]) == 0
    assert "1 of 40 trials left out: 1 outside in eeg (trial 9 of subject 1)." in capsys.readouterr().err
    assert main(["results", "demo", "--json", "--checkpoints", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "subject 3: too few" in printed.err
    assert printed.err.count("1 of 40 trials left out") == 1
    assert {(row["subject"], row["left_out"]) for row in json.loads(printed.out)} == {("1", 1), ("2", 0)}
