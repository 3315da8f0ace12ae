"""``eavdash check``: its output, its files, and its cache."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from eavdash.cli import console
from eavdash.cli.main import main
from eavdash.data.table import open_table
from eavdash.health import kept
from eavdash.health.report import HealthReport


def sound(path: Path, level: float, seed: int) -> None:
    samples = np.random.default_rng(seed).uniform(-level, level, 16000)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes((samples * 32767).astype("<i2").tobytes())


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Three subjects with six sounds each, of which the last is silent."""
    folder = tmp_path / "data"
    folder.mkdir()
    lines = ["subject,trial,label,group,audio"]
    for subject in (1, 2, 3):
        for n in range(6):
            sound(folder / f"{subject}-{n}.wav", 0.5 if (subject, n) != (3, 5) else 0.0, 10 * subject + n)
            lines.append(f"{subject},{n},{'ab'[n % 2]},{n // 2},{subject}-{n}.wav")
    (folder / "trials.csv").write_text("\n".join(lines) + "\n")
    return folder


def run(dataset: Path, tmp_path: Path, *options: str) -> int:
    return main(["check", str(dataset), "--checkpoints", str(tmp_path / "checkpoints"), *options])


def test_the_text_output_has_recordings_findings_and_folds(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(dataset, tmp_path) == 0
    printed = capsys.readouterr().out
    for facts in ("Recordings per subject and modality", "warning: subject 3 · audio: ", "1 warning"):
        assert facts in printed
    warning = next(line for line in printed.splitlines() if line.startswith("warning: "))
    for fact in ("1 of 6", "trial 5", "100 %"):
        assert fact in warning
    lines = {line.split("│")[1].strip(): line for line in printed.splitlines() if line.count("│") == 8}
    assert [part.strip() for part in lines["loso"].split("│")[2:7]] == ["3", "3", "6", "6", "6"]
    assert [part.strip() for part in lines["conversation"].split("│")[2:7]] == ["3", "3", "6", "6", "6"]


def test_labels_count_speaking_trials_of_eav_and_simulated_recordings_are_marked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels = pd.DataFrame({"calm": [3]}, index=pd.Index(["1"], name="subject"))
    there = pd.DataFrame({"subject": ["1"], "trials": [6]})
    for kind, simulated, words in (("eav", True, "speaking trials only"), ("table", False, "")):
        console.print_health(HealthReport("data", kind, simulated, there, labels))
        out, err = capsys.readouterr()
        assert ("speaking trials only" in out) == bool(words)
        assert ("simulated recordings" in err) == simulated


def test_one_protocol_and_other_settings(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(dataset, tmp_path, "--protocol", "paper", "--set", "audio.rate=44100", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert {row["protocol"] for row in report["outlook"]} == {"paper"}
    assert any("44100 Hz" in f["message"] and "6 of 6" in f["message"] for f in report["findings"])
    assert run(dataset, tmp_path, "--set", "audio.nothing=1") == 2
    assert "audio.nothing" in capsys.readouterr().err


def test_a_second_check_opens_no_file(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = []
    for _ in range(2):
        assert run(dataset, tmp_path, "--json") == 0
        report = json.loads(capsys.readouterr().out)
        seen.append((report["scanned"], report["reused"]))
    assert seen == [(18, 0), (0, 18)]
    assert (tmp_path / "checkpoints" / ".cache" / "scan.sqlite").is_file()


def test_the_tables_are_written_as_csv(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dataset / "1-0.wav").write_bytes(b"broken")
    assert run(dataset, tmp_path, "--csv", str(tmp_path / "out")) == 1
    assert f"written: {tmp_path / 'out' / 'findings.csv'}" in capsys.readouterr().err.replace("\n", "")
    recordings = pd.read_csv(tmp_path / "out" / "recordings.csv")
    assert len(recordings) == 18
    assert recordings["problem"].notna().sum() == 1
    assert set(pd.read_csv(tmp_path / "out" / "findings.csv")["severity"]) == {"error", "warning"}


def test_a_contact_sheet_is_a_picture_per_subject_with_videos(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    PIL.Image.fromarray(np.full((48, 64, 3), 120, np.uint8)).save(dataset / "face.png")
    lines = (dataset / "trials.csv").read_text().splitlines()
    lines = [
        f"{line},{'video' if n == 0 else 'face.png' if line.startswith('2,') else ''}" for n, line in enumerate(lines)
    ]
    (dataset / "trials.csv").write_text("\n".join(lines) + "\n")
    folder = tmp_path / "sheets"
    assert run(dataset, tmp_path, "--contact-sheet", str(folder), "--set", "vision.crop=centre") == 0
    assert [path.name for path in folder.iterdir()] == ["s02.png"]
    with PIL.Image.open(folder / "s02.png") as sheet:
        assert sheet.width > 100
    assert str(folder / "s02.png") in capsys.readouterr().err.replace("\n", "")


def test_a_folder_that_cannot_be_made_is_reported_before_the_scan(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--csv", "--contact-sheet"):
        assert run(dataset, tmp_path, option, str(dataset / "trials.csv" / "out")) == 2
        assert str(dataset / "trials.csv") in capsys.readouterr().err
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("there", [True, False])
def test_a_dataset_that_cannot_be_opened_is_one_sentence_and_no_table(
    there: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    if there:
        folder.mkdir()
    assert run(folder, tmp_path) == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "1 error"]
    assert str(folder) in lines[0]
    assert not err.strip()


def test_a_dataset_that_cannot_be_opened_gives_its_error_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = tmp_path / "nowhere"
    assert run(nowhere, tmp_path, "--csv", str(tmp_path / "csv"), "--contact-sheet", str(tmp_path / "sheets")) == 1
    out, err = capsys.readouterr()
    assert [line.partition(": ")[0] for line in out.splitlines()] == ["error", "1 error"]
    assert err.splitlines() == [f"written: {tmp_path}/csv/findings.csv"]
    assert [file.name for file in (tmp_path / "csv").iterdir()] == ["findings.csv"]


def test_a_table_without_rows_is_a_line_and_no_empty_grid(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_table(pd.DataFrame({"subject": []}), "table", title="Recordings")
    console.print_table(pd.DataFrame({"subject": []}), "table")
    assert capsys.readouterr() == ("", "Recordings: none\nnothing to show\n")
    console.print_table(pd.DataFrame({"subject": []}), "csv")
    assert capsys.readouterr().out == "subject\n"


def test_labels_that_differ_in_case_are_warned_of_and_merged_by_an_option(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = dataset / "trials.csv"
    table.write_text(table.read_text().replace("1,0,a,", "1,0,A,"))
    assert run(dataset, tmp_path) == 0
    assert "'A' in 1 trial" in capsys.readouterr().out
    assert run(dataset, tmp_path, "--merge-labels", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report["labels"][0]) == ["subject", "a", "b"]
    train = ["train", str(dataset), "--study", "s", "--stages", "audio", "--checkpoints", str(tmp_path / "c")]
    assert main([*train, "--dry-run", "--json"]) == 1  # a label of a single trial cannot be learned
    assert any("--merge-labels" in note for note in json.loads(capsys.readouterr().out)["notes"])
    assert main([*train, "--dry-run", "--json", "--merge-labels"]) == 0
    assert not any("--merge-labels" in note for note in json.loads(capsys.readouterr().out)["notes"])


def test_for_a_study_only_what_it_reads_is_looked_at(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset / "2-1.wav").write_bytes(b"RIFF")
    study = ("--for-study", "--set", "stages=audio")
    assert run(dataset, tmp_path, *study, "--subjects", "1") == 0
    assert "nothing would be left out" in capsys.readouterr().out
    assert run(dataset, tmp_path, *study, "--json") == 0
    (recording,) = json.loads(capsys.readouterr().out)["recordings"]
    assert (recording["subject"], recording["trial"]) == ("2", "1")
    assert run(dataset, tmp_path, *study, "--subjects", "9") == 2
    for option in ("--csv", "--contact-sheet"):  # of a report that is not made
        assert run(dataset, tmp_path, *study, option, str(tmp_path / "out")) == 2
        assert not (tmp_path / "out").exists()
    assert not (tmp_path / "checkpoints" / ".cache" / "health").exists()  # not what the health page shows


def test_the_report_is_kept_for_the_app_by_the_default_settings_only(dataset: Path, tmp_path: Path) -> None:
    cache = tmp_path / "checkpoints" / ".cache"
    assert run(dataset, tmp_path, "--no-faces") == run(dataset, tmp_path, "--set", "audio.rate=44100") == 0
    assert kept.kept(cache, dataset) is None
    assert run(dataset, tmp_path) == 0
    found = kept.kept(cache, dataset)
    assert found is not None
    assert found.state == kept.files_state(open_table(dataset))
    assert len(found.report.recordings) == 18
