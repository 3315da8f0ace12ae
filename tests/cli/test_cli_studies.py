"""Commands on whole studies: exit codes, JSON, and the confirmation of deletions."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from fake_study import make_study, perfect_baselines
from short_sounds import AUDIO, table

from eavdash.cli.main import main
from eavdash.config.schema import Selection
from eavdash.store import StudyDir
from eavdash.studies.write import prepare


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EAVDASH_CHECKPOINTS", str(tmp_path / "c"))
    return tmp_path / "c"


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    requests: list[tuple[str, list[str]]] = []

    def submit(study: StudyDir, runs: list[str], _execution: object, *, given: bool = True) -> None:
        requests.append((study.name, list(runs)))
        for name in runs:
            study.run(name).update(submission="1")

    monkeypatch.setattr("eavdash.jobs.queue.submit", submit)
    return requests


@pytest.fixture
def pilot(tmp_path: Path, root: Path) -> StudyDir:
    return prepare(table(tmp_path), "pilot", AUDIO, Selection(("1",), (0,)), root).study


def printed(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    output = capsys.readouterr()
    return " ".join(output.out.split()), " ".join(output.err.split())


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0):
    capsys.readouterr()
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_an_empty_list_names_the_command_that_makes_a_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["studies"]) == 0
    assert "make one with: eavdash train" in printed(capsys)[1]
    assert as_json(capsys, "studies") == []


def test_the_list_shows_progress_and_the_number_of_archived_studies(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_study(root, "first", states={"s01-eeg": "failed"})
    make_study(root, "second", protocol="paper").set_control(paused=True)
    assert main(["archive", "first"]) == 0
    assert main(["studies"]) == 0
    out, err = printed(capsys)
    assert "12 of 12" in out
    assert "paused, simulated" in out
    assert "first" not in out
    assert "1 archived study is not shown" in err
    assert main(["status"]) == 0
    out, err = printed(capsys)
    assert ("second" in out, "first" in out) == (True, False)
    assert "1 archived study is not shown" in err
    assert [row["study"] for row in as_json(capsys, "status")] == ["second"]
    assert main(["status", "first"]) == 0
    assert "first is archived" in printed(capsys)[1]
    assert main(["studies", "--archived"]) == 0
    assert "11 of 12" in printed(capsys)[0]
    (row,) = as_json(capsys, "studies")
    assert (row["study"], row["protocol"], row["states"]) == ("second", "paper", {"done": 12})
    assert main(["unarchive", "first"]) == 0
    assert [row["study"] for row in as_json(capsys, "studies")] == ["first", "second"]


def test_a_clone_lists_the_differences_and_writes_only_on_request(
    pilot: StudyDir, root: Path, submitted: list, capsys: pytest.CaptureFixture[str]
) -> None:
    edit = ("clone", "pilot", "wide", "--set", "audio.width=32", "--subjects", "1-2", "--seeds", "0,1")
    dry = as_json(capsys, *edit, "--dry-run")
    assert dry["differences"] == [
        "audio.width: 64 → 32",
        "seeds: [0] → [0, 1]",
        "subjects: ['1'] → ['1', '2']",
    ]
    assert (dry["queued"], len(dry["runs"])) == (False, 4)
    assert not (root / "wide").exists()
    assert main([*edit, "--no-queue"]) == 0
    out, err = printed(capsys)
    assert "audio.width: 64 → 32" in out
    assert "eavdash extend wide" in err
    assert submitted == []
    assert main(["extend", "wide"]) == 0
    assert submitted == [("wide", dry["runs"])]
    assert main(["clone", "pilot", "same"]) == 0
    assert "nothing differs from pilot" in printed(capsys)[0]
    assert submitted[-1] == ("same", ["s01-audio"])
    assert main([*edit]) == 2
    assert "wide-2" in printed(capsys)[1]


def test_extending_queues_new_runs_and_on_request_failed_ones(
    pilot: StudyDir, submitted: list, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pilot.run("s01-audio").transition("failed", submission="1")
    found = as_json(capsys, "extend", "pilot", "--subjects", "2", "--folds", "1")
    assert found["new"] == ["s01-audio-fold1", "s02-audio", "s02-audio-fold1"]
    assert (found["queued"], found["again"]) == (found["new"], [])
    monkeypatch.setattr("eavdash.jobs.queue.retry", lambda _study, runs: runs)
    assert as_json(capsys, "extend", "pilot", "--again")["again"] == ["s01-audio"]
    assert main(["extend", "pilot", "--subjects", "all", "--folds", "all"]) == 0
    assert "new runs: 11, queued: 11, queued again: 0" in printed(capsys)[1]
    assert main(["extend", "pilot", "--seeds", "x"]) == 2
    assert main(["archive", "pilot"]) == 2  # its runs wait
    assert "eavdash cancel pilot" in printed(capsys)[1]


def test_archiving_reports_the_disk_space_that_it_could_free(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = make_study(root, states={"s01-eeg": "failed"})
    study.run("s01-eeg").resume_file.write_bytes(b"r" * 2000)
    assert main(["archive", "demo"]) == 0
    assert "--drop-resume would free 2.0 kB" in printed(capsys)[1]
    for refused in (("retry", "demo"), ("extend", "demo")):
        assert main([*refused]) == 2
        assert "eavdash unarchive demo" in printed(capsys)[1]
    found = as_json(capsys, "archive", "demo", "--drop-resume")
    assert found == {"study": "demo", "archived": True, "freed": 2000, "resume_bytes": 0}


class Terminal(io.StringIO):
    """A terminal with typed input."""

    def isatty(self) -> bool:
        return True


def test_nothing_is_deleted_unless_the_name_was_typed(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(root)
    monkeypatch.setattr("sys.stdin", io.StringIO("demo\n"))  # a pipe is no terminal
    assert main(["delete", "demo"]) == 2
    assert "--yes" in printed(capsys)[1]
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert main(["delete", "demo"]) == 2
    assert "'y'" in printed(capsys)[1]
    assert len(study.runs()) == 12
    monkeypatch.setattr("sys.stdin", Terminal("demo\n"))
    assert main(["delete", "demo"]) == 0
    assert not study.path.exists()
    make_study(root)
    assert as_json(capsys, "delete", "demo", "--yes") == {"study": "demo", "deleted": True}
    assert main(["delete", "demo", "--yes"]) == 2


def test_relocating_prints_the_new_place_or_the_missing_recording(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old").mkdir()
    study = prepare(table(tmp_path / "old"), "pilot", AUDIO, Selection(("1",), (0,)), root).study
    (tmp_path / "old").rename(tmp_path / "new")
    assert main(["relocate", "pilot", str(tmp_path / "elsewhere")]) == 2
    assert str(tmp_path / "elsewhere" / "1-0-calm.wav") in printed(capsys)[1]
    places = {"before": str(tmp_path / "old" / "trials.csv"), "after": str(tmp_path / "new")}
    found = as_json(capsys, "relocate", "pilot", str(tmp_path / "new"))
    assert found == {"study": "pilot", **places, "files": 30}
    assert study.study().dataset.path == str(tmp_path / "new")
    assert main(["relocate", "pilot", str(tmp_path / "new" / "trials.csv")]) == 0
    assert str(tmp_path / "new" / "trials.csv") in printed(capsys)[1]
    assert main(["relocate", "none", str(tmp_path / "new")]) == 2


def test_subjects_are_looked_up_in_the_frozen_table_first(
    tmp_path: Path, pilot: StudyDir, submitted: list, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trials.csv").rename(tmp_path / "hidden.csv")
    assert as_json(capsys, "extend", "pilot", "--subjects", "1-2")["new"] == ["s02-audio"]
    assert main(["extend", "pilot", "--subjects", "4"]) == 1  # it may be new in the dataset, which is not there
    (tmp_path / "hidden.csv").rename(tmp_path / "trials.csv")
    assert main(["extend", "pilot", "--subjects", "4"]) == 2
    table(tmp_path, subjects=4)
    assert as_json(capsys, "extend", "pilot", "--subjects", "1-4")["new"] == ["s03-audio", "s04-audio"]


def test_a_damaged_study_is_exit_code_1_with_the_remedy(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = make_study(root)
    assert main(["verify", "demo"]) == 0
    files = sum(len(run.status().checksums) for run in study.runs())
    assert f"{files} files of 12 runs" in printed(capsys)[0]
    study.run("s01-eeg").model_file.write_bytes(b"weightz")
    assert main(["verify", "demo"]) == 1
    out, err = printed(capsys)
    assert f"{files} files of 12 runs: 1 damaged" in out
    assert "eavdash retry demo --run s01-eeg" in err
    found = as_json(capsys, "verify", "demo", code=1)
    assert [(d["run"], d["file"]) for d in found["damaged"]] == [("s01-eeg", "model.safetensors")]


def test_results_name_an_encoder_behind_its_baselines(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = make_study(root, "first")
    perfect_baselines(study, "eeg")
    for more in ((), ("--baselines",), ("--by", "fold")):
        assert main(["results", "first", *more]) == 0
        out, err = printed(capsys)
        assert "The EEG encoder" in err
        assert "does not beat the simple baseline" in err
        assert ("eeg:tangent" in out) == (more == ("--baselines",))
    (row, *_) = [r for r in as_json(capsys, "results", "first", "--baselines") if r["stage"] == "eeg:bandpower"]
    assert row["accuracy"] == 1
    make_study(root, "older", beside=False)
    assert main(["results", "older", "--baselines"]) == 0
    out, err = printed(capsys)
    assert "encoder" not in err
    assert "fusion:concat" in out
    assert "eeg:" not in out


def test_damaged_baselines_are_reported_and_the_rest_is_shown(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = make_study(root, "first", stages=("audio", "eeg"))
    content = study.run("s01-eeg").baselines_file.read_bytes()
    study.run("s01-eeg").baselines_file.write_bytes(content[:-1] + b"x")
    assert main(["results", "first", "--baselines"]) == 0
    out, err = printed(capsys)
    assert "baselines.parquet" in err
    assert "eeg:tangent" in out
    rows = as_json(capsys, "results", "first", "--baselines")
    assert {r["subject"] for r in rows if r["stage"] == "eeg:tangent"} == {"2", "3"}
    assert {r["subject"] for r in rows if r["stage"] == "eeg"} == {"1", "2", "3"}
