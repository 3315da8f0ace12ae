"""The health report: every planted fault is found and named, and nothing is ever raised."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import eav_files
import numpy as np
import pytest
import scipy.io
import soundfile
from health_files import brain, film, finding_with, table, voice

from eavdash.health.check import check_dataset as check_all
from eavdash.health.measures.base import MeasureRequest, Part
from eavdash.health.measures.measure import measure_file
from eavdash.health.report import SEVERITIES, HealthReport


def check(path: Path, *args: object) -> HealthReport:
    """A check without the search for faces: these videos show no person."""
    return check_all(path, *args, faces=False)  # type: ignore[arg-type]


def sound(path: Path, seconds: float = 2.0, seed: int = 0, rate: int = 16000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, voice(seconds, rate, seed).astype("float32"), rate, subtype="FLOAT")
    return path


def cut(path: Path, share: float = 0.5) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def test_a_sound_dataset_has_no_findings(tmp_path: Path) -> None:
    for n in (1, 2):
        sound(tmp_path / f"{n}.wav", seed=n)
        film(tmp_path / f"{n}.mp4", seed=n)
    seen: list[tuple[int, int]] = []
    lines = ("1,1,a,,,,,1.wav,1.mp4", "1,2,b,,,,,2.wav,2.mp4")
    report = check(table(tmp_path, *lines), lambda *x: seen.append(x))
    assert report.ok
    assert report.findings == ()
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert (report.scanned, report.reused) == (4, 0)
    row = report.table.iloc[0].to_dict()
    assert row["subject"] == "1"
    assert [row[k] for k in ("trials", "vision", "audio", "eeg", "complete")] == [2, 2, 2, 0, 2]
    assert [row[k] for k in ("missing_vision", "missing_audio", "missing_eeg", "errors", "warnings")] == [0] * 5
    assert report.labels.to_dict("records") == [{"subject": "1", "a": 1, "b": 1}]
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True


def test_what_cannot_be_opened_is_one_finding(tmp_path: Path) -> None:
    report = check(tmp_path / "absent")
    assert not report.ok
    assert len(report.findings) == 1
    assert report.findings[0].remedy == "fix the path"
    assert json.dumps(report.to_dict())


def test_every_bad_file_is_named_and_the_others_are_counted(tmp_path: Path) -> None:
    good = sound(tmp_path / "good.wav", seed=9)
    cut(sound(tmp_path / "cut.wav"))
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("not a sound at all, but long enough to be read")
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 8000)
    soundfile.write(tmp_path / "nan.wav", np.full(8000, np.nan, dtype="float32"), 8000, subtype="FLOAT")
    cut(film(tmp_path / "cut.mp4"))
    cut(film(tmp_path / "faststart.mp4", seconds=6, options={"movflags": "faststart"}))
    film(tmp_path / "good.mp4", seconds=2)
    (tmp_path / "text.edf").write_text("0       nothing")
    lines = ["cut.wav,", "empty.wav,", "text.wav,", "silent.wav,", "nan.wav,", "gone.wav,", "good.wav,good.mp4"]
    lines = [*lines, ",cut.mp4", ",faststart.mp4"]
    rows = [f"1,{n},{'ab'[n % 2]},,,,,{line}" for n, line in enumerate(lines)]
    report = check(table(tmp_path, *rows, "2,1,a,,,,text.edf,good.wav,"))
    assert not report.ok
    bad = {Path(f.file).name for f in report.findings if f.severity == "error"}
    assert bad == {"cut.wav", "empty.wav", "text.wav", "nan.wav", "gone.wav", "cut.mp4", "faststart.mp4", "text.edf"}
    assert finding_with(report, "digital silence").severity == "warning"
    assert "correct the table" in finding_with(report, "gone.wav").remedy
    assert finding_with(report, "faststart.mp4").modality == "vision"
    first = report.table.iloc[0]
    assert (first["audio"], first["vision"], first["errors"]) == (2, 1, 7)
    assert report.table["eeg"].tolist() == [0, 0]
    assert all(f.message and f.remedy for f in report.findings)
    order = [SEVERITIES.index(f.severity) for f in report.findings]
    assert order == sorted(order)
    assert good.exists()


def test_lengths_and_times_are_compared(tmp_path: Path) -> None:
    sound(tmp_path / "two.wav")
    sound(tmp_path / "four.wav", 4)
    film(tmp_path / "two.mp4")
    rows = ["1,1,a,,,,,four.wav,two.mp4", "1,2,b,,0.5,1.5,,four.wav,two.mp4", "1,3,a,,1,3,,two.wav,"]
    rows.append("1,4,b,,2,,,two.wav,")
    report = check(table(tmp_path, *rows))
    assert "trial 1: vision 1.9 s, audio 4.0 s" in finding_with(report, "different lengths in 1 of").message
    assert finding_with(report, "trial 3: 1 to 3 s is outside the 2.00 s").severity == "error"
    assert finding_with(report, "trial 4: 2 to 2 s is outside").severity == "error"


def test_copies_under_two_names_are_found(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav")
    (tmp_path / "b.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    sound(tmp_path / "c.wav", seed=1)
    report = check(table(tmp_path, "1,1,x,,,,,a.wav,", "1,2,y,,,,,b.wav,", "1,3,x,,,,,c.wav,", "2,4,y,,,,,a.wav,"))
    same = finding_with(report, "the same content as another in 1 of 3 recordings")
    assert "trial 2 as trial 1, labelled y and x" in same.message
    assert "a.wav" in same.message
    assert same.file.endswith("b.wav")


def test_balance_and_pairing(tmp_path: Path) -> None:
    for n in range(3):
        sound(tmp_path / f"{n}.wav", seed=n)
    rows = ["1,1,a,,,,,0.wav,", "1,2,a,,,,,1.wav,", "1,3,b,,,,,,", "2,1,a,,,,,2.wav,"]
    report = check(table(tmp_path, *rows))
    assert report.ok
    assert finding_with(report, "labels are not balanced (a 2, b 1)").subject == "1"
    assert finding_with(report, "no trials of b").severity == "warning"
    assert finding_with(report, "no audio recording for 1 of 3 trials (trial 3)").subject == "1"
    assert report.table["missing_audio"].tolist() == [1, 0]
    assert report.table["complete"].tolist() == [2, 1]


@pytest.fixture
def eav_root(tmp_path: Path) -> Path:
    """Subject 1 with 20 trials of real, short recordings and subject 2 with EEG alone."""
    folder = eav_files.make_subject(tmp_path, trials=20, samples=500)
    trials = np.stack([1e6 * brain(30, 1, 500, seed=n).T for n in range(20)], axis=2)
    scipy.io.savemat(folder / "EEG" / "subject1_eeg.mat", {"seg1": trials})
    for n in range(1, 21):
        film(folder / "Video" / eav_files.video_name(n), seconds=1, seed=n)
        if n % 2 == 0:
            sound(folder / "Audio" / eav_files.audio_name(n), 1, seed=n)
    second = eav_files.make_subject(tmp_path, "subject2", trials=20, samples=500)
    for path in [*(second / "Video").iterdir(), *(second / "Audio").iterdir()]:
        path.unlink()
    # A .mat file's header holds the second it was written in: only a copy has the same content for certain.
    shutil.copy(folder / "EEG" / "subject1_eeg.mat", second / "EEG" / "subject2_eeg.mat")
    return tmp_path


def test_eav_counts_sounds_of_speaking_trials_only(eav_root: Path) -> None:
    report = check(eav_root)
    assert report.ok
    assert report.kind == "eav"
    columns = ["trials", "vision", "audio", "eeg", "missing_audio", "complete", "warnings"]
    assert report.table[columns].to_numpy().tolist() == [[20, 20, 10, 20, 0, 20, 0], [20, 0, 0, 20, 10, 0, 3]]
    assert finding_with(report, "the same content").modality == "eeg"  # the fixture's EEG is that of subject 1
    assert report.labels.iloc[0].to_dict() == {"subject": "1", "Anger": 8, "Neutral": 2}


def test_eav_faults_are_all_listed(eav_root: Path) -> None:
    eeg = np.ones((500, 30, 20))
    eeg[3, 4, 6] = np.nan
    scipy.io.savemat(eav_root / "subject1" / "EEG" / "subject1_eeg.mat", {"seg1": eeg})
    cut(eav_root / "subject2" / "EEG" / "subject2_eeg.mat")
    (eav_root / "subject2" / "Video" / "001_Trial_01_Listening_Anger.mp4").touch()
    report = check(eav_root)
    assert "subject1_eeg.mat#7: expected finite samples" in finding_with(report, "finite samples").message
    assert report.table["eeg"].tolist() == [19, 0]
    assert finding_with(report, "expected a complete file").subject == "2"
    assert finding_with(report, "expected Listening Neutral").subject == "2"
    assert {f.severity for f in report.findings if f.file.endswith("Anger.mp4")} == {"error"}  # 0 bytes


def test_real_recordings_are_healthy(real_data: Path) -> None:
    for name, subjects in (("speech", 4), ("eeg", 6)):
        report = check(real_data / name)
        assert report.ok
        assert {f.severity for f in report.findings} <= {"info"}
        assert len(report.table) == subjects
    for path in sorted((real_data / "video").glob("*.mpg"))[:3]:
        answer = measure_file(MeasureRequest("video", str(path), (Part(),)))
        assert answer["problem"] == ""
        assert answer["length"] == pytest.approx(3, abs=0.1)
        assert answer["parts"][0]["frames"] == 75
