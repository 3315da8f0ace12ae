"""The command line: exit codes, JSON for programs, and one study from recordings to explanation."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import hostile
import pytest
from fake_study import make_study
from recordings import FAST, LABELS, make_recordings
from short_sounds import table

from eavdash.cli import commands
from eavdash.cli.main import main, parser
from eavdash.results.tables import BASELINES
from eavdash.store import StudyDir
from eavdash.store.atomic import write_json


def settings() -> list[str]:
    return [part for setting in FAST for part in ("--set", setting)]


def test_options_are_read_before_the_commands_are_loaded() -> None:
    heavy = "[name for name in ('pandas', 'numpy', 'torch') if name in sys.modules]"
    code = f"import sys; from eavdash.cli.main import parser; parser(); print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def run(*arguments: str | Path) -> int:
    return main([str(a) for a in arguments])


def test_every_command_has_a_handler() -> None:
    actions = next(a for a in parser()._actions if a.dest == "command")
    assert set(actions.choices) == {
        *("demo", "check", "make-demo", "train", "status", "cancel", "retry", "logs", "results", "explain", "app"),
        *("cache", "fetch-weights", "import-checkpoint", "probe", "receipts", "shapley", "maps", "representations"),
        "expressiveness",
        *("studies", "clone", "extend", "archive", "unarchive", "delete", "verify", "relocate"),
        *("pause", "resume", "prioritise", "move", "executors", "encoders", "tasks", "whatif", "report", "export"),
    }
    for name in actions.choices:
        assert callable(getattr(commands, name.replace("-", "_")))


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "{data}", "--study", "a/b"),
        ("train", "{data}", "--study", "p", "--subjects", "9"),
        ("train", "{data}", "--study", "p", "--folds", "x"),
        ("train", "{data}", "--study", "p", "--subjects", ""),
        ("train", "{data}", "--study", "p", "--set", "eeg.lows=1"),
        ("train", "{data}", "--study", "p", "--set", "eeg.low"),
        ("app", "--port", "99999"),
        ("train", "{data}", "--study", "p", "--stages", "smell"),
        ("train", "{data}", "--study", "p", "--preset", "huge"),
        ("train", "{data}", "--study", "p", "--epochs", "0"),
        ("status", "nothing"),
        ("cancel", "nothing"),
        ("retry", "nothing"),
        ("logs", "nothing"),
        ("results", "nothing"),
        ("explain", "nothing", "--subject", "1", "--trial", "1"),
        ("make-demo", "{data}/demo", "--subjects", "0"),
        ("make-demo", "{data}/demo", "--plant", "steep"),
        ("make-demo", "{data}/demo", "--cues", "pitch,smell"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EAVDASH_CHECKPOINTS", str(tmp_path / "c"))
    make_recordings(tmp_path / "data", subjects=1)
    assert run(*(a.replace("{data}", str(tmp_path / "data")) for a in arguments)) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("eavdash: ")
    assert len(error.splitlines()) == 1
    assert "expected" in error
    assert not (tmp_path / "c" / "p").exists()


@pytest.mark.parametrize(
    ("variable", "value"),
    [("EAVDASH_SLOTS", "x"), ("EAVDASH_RAM", "0"), ("EAVDASH_IDLE", "soon"), ("EAVDASH_IDLE", "-1")],
)
def test_an_invalid_variable_is_reported_by_every_command(
    variable: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, value)
    for command in (("status",), ("studies",), ("pause", "nothing")):
        assert run(*command, "--checkpoints", tmp_path) == 2
        assert f"eavdash: {variable}: " in capsys.readouterr().err


def test_a_file_cannot_be_the_folder_of_studies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    for command in (("status",), ("studies",), ("cache", "list"), ("results", "demo")):
        for folder in (file, file / "below"):
            assert run(*command, "--checkpoints", folder) == 2
            assert f"eavdash: {file}: " in capsys.readouterr().err
    monkeypatch.setenv("EAVDASH_CHECKPOINTS", str(file))
    assert run("status") == 2
    assert run("status", "--checkpoints", tmp_path / "new") == 0


def test_missing_subjects_are_named(tmp_path: Path, checkpoints: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_recordings(tmp_path / "data", subjects=2)
    train = ("train", data, "--study", "p", "--dry-run", "--checkpoints", checkpoints)
    assert run(*train, "--subjects", "1,50") == 2
    error = capsys.readouterr().err
    assert "eavdash: --subjects: " in error
    assert "found 50;" in error
    assert run(*train, "--subjects", "1-99") == 0
    assert "--subjects 1-99: only 1, 2 exist" in capsys.readouterr().err


def test_a_missing_dataset_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", tmp_path / "none", "--study", "p", "--checkpoints", tmp_path / "c") == 1
    assert f"eavdash: {tmp_path / 'none'}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"), [("dataset", ""), ("--set", "eeg.reference=\udcff"), ("--where", "label=\udcff")]
)
def test_text_that_is_not_utf_8_is_one_sentence_and_exit_code_2(
    tmp_path: Path, checkpoints: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    (tmp_path / "data").mkdir()
    table(tmp_path / "data")
    data = (tmp_path / "data").rename(tmp_path / (os.fsdecode(b"data\xff") if option == "dataset" else "other"))
    (tmp_path / "link").symlink_to(data)
    options = () if option == "dataset" else (option, value)
    assert (
        run("train", tmp_path / "link", "--study", "p", "--stages", "audio", *options, "--checkpoints", checkpoints)
        == 2
    )
    printed = capsys.readouterr().err
    assert printed.count("UTF-8") == 1
    assert len(printed.splitlines()) == 1
    assert not list(checkpoints.glob("*/study.json"))


def test_check_reports_broken_files_with_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_recordings(tmp_path / "data", subjects=1)
    folder = ("--checkpoints", tmp_path / "c")
    assert run("check", data, "--json", *folder) == 0
    capsys.readouterr()
    (tmp_path / "data" / "1-2.wav").write_bytes(b"")
    assert run("check", data, "--json", *folder) == 1
    report = json.loads(capsys.readouterr().out)
    assert any("1-2.wav" in str(finding) for finding in report["findings"])
    assert run("check", data, *folder) == 1
    assert "1-2.wav" in capsys.readouterr().out


def test_a_dry_run_lists_the_runs_and_writes_nothing(
    tmp_path: Path, checkpoints: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_recordings(tmp_path / "data", subjects=2)
    train = ("train", data, "--study", "pilot", "--folds", "0", "--checkpoints", checkpoints, "--dry-run")
    assert run(*train, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["runs"]) == 8
    assert printed["existing"] == []
    assert run(*train, "--where", "subject=1") == 0
    printed_notes = capsys.readouterr().err
    assert "4 of them would be queued" in printed_notes
    assert "folds are asked for" in printed_notes  # the recordings have fewer groups than that
    sweep = ("--sweep", "fusion.width=32,64", "--stages", "audio,eeg,fusion")
    assert run(*train, *sweep, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert [each["study"] for each in printed] == ["pilot-width-32", "pilot-width-64"]
    assert run(*train, *sweep) == 0
    assert "12 of them would be queued" in capsys.readouterr().err
    assert run(*train, "--sweep", "fusion.width=32") == 2
    assert "--sweep fusion.width: expected two or more values" in capsys.readouterr().err
    assert run(*train, "--where", "mood=calm") == 2
    assert "found 'mood'" in capsys.readouterr().err
    assert not checkpoints.exists()


def test_the_error_of_a_mistyped_setting_suggests_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_recordings(tmp_path / "data", subjects=1)
    assert run("train", data, "--study", "p", "--set", "eeg.lows=1", "--checkpoints", tmp_path / "c") == 2
    assert "eeg.low" in capsys.readouterr().err.replace("eeg.lows", "")


def test_options_cannot_be_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("train", "data", "--study", "p", "--stage", "eeg")
    assert "unrecognized arguments: --stage" in capsys.readouterr().err


def test_scores_note_unfinished_runs_and_simulated_recordings(
    checkpoints: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_study(checkpoints, "whole")
    make_study(checkpoints, "part", states={"s02-eeg": "failed"}, simulated=False)
    assert run("results", "whole", "--json", "--checkpoints", checkpoints) == 0
    printed = capsys.readouterr().err
    assert "simulated" in printed
    assert "not all runs are done" not in printed
    assert run("results", "part", "--json", "--checkpoints", checkpoints) == 0
    printed = capsys.readouterr().err
    assert "not all runs are done" in printed
    assert "(11 done, 1 failed)" in printed
    assert "simulated" not in printed


def test_runs_of_all_subjects_cannot_be_selected_by_subject(
    checkpoints: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run_of_all in make_study(checkpoints, "across", protocol="loso", states={"*": "failed"}).runs():
        write_json(run_of_all.config_file, {**run_of_all.config().document(), "subject": None})
    assert run("retry", "across", "--subject", "1", "--checkpoints", checkpoints) == 2
    error = capsys.readouterr().err
    for option in ("eavdash: --subject: ", "--fold", "--stage", "--run"):
        assert option in error


def test_a_study_from_recordings_to_explanation(
    tmp_path: Path, checkpoints: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_recordings(tmp_path / "data", subjects=2)
    folder = ("--checkpoints", checkpoints)
    train = ("train", data, "--study", "pilot", "--folds", "0", "--epochs", "3", *settings(), *folder)
    assert run(*train, "--wait", "--json") == 0
    queued = json.loads(capsys.readouterr().out)
    assert set(queued["states"].values()) == {"done"}
    assert len(queued["runs"]) == 8

    # The same command again starts nothing; another configuration is refused.
    changed = {r.name: r.status().started for r in StudyDir(checkpoints / "pilot").runs()}
    assert run(*train, "--wait", "--json") == 0
    capsys.readouterr()
    assert {r.name: r.status().started for r in StudyDir(checkpoints / "pilot").runs()} == changed
    assert run(*train, "--set", "window=1") == 2
    assert "window: 2.0 → 1.0" in capsys.readouterr().err

    assert run("results", "pilot", "--baselines", "--format", "json", *folder) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["stage"] for row in rows} == {"vision", "audio", "eeg", "fusion", *BASELINES} - {"fusion:transformer"}
    for row in rows:
        assert row["n"] == len(LABELS)
        assert 0 <= row["accuracy"] <= 1
        assert list(row)[:5] == ["study", "subject", "stage", "level", "n"]
    for form in ("table", "csv", "latex"):
        assert run("results", "pilot", "--format", form, "--by", "fold,seed", *folder) == 0
        assert "fusion" in capsys.readouterr().out
    assert run("results", "pilot", "--level", "frame", "--json", *folder) == 0
    assert {row["stage"] for row in json.loads(capsys.readouterr().out)} == {"vision"}
    assert run("results", "pilot", "--by", "mood", *folder) == 2
    capsys.readouterr()

    assert run("results", "pilot", "--trials", "--format", "json", *folder) == 0
    tested = json.loads(capsys.readouterr().out)
    assert {row["stage"] for row in tested} == {"vision", "audio", "eeg", "fusion"}
    assert all((row["label"] == row["predicted"]) == row["correct"] for row in tested)

    assert run("status", "pilot", "--json", *folder) == 0
    assert {row["shown"] for row in json.loads(capsys.readouterr().out)} == {"done"}
    assert run("status", *folder) == 0
    assert "pilot" in capsys.readouterr().out
    assert run("logs", "pilot/s01-eeg", "--lines", "2", *folder) == 0
    assert len(capsys.readouterr().out.splitlines()) <= 2
    assert run("logs", "pilot/s01-eeg", "--lines", str(10**30), *folder) == 0
    assert capsys.readouterr().out

    assert run("explain", "pilot", "--subject", "1", "--trial", "1", "--json", *folder) == 0
    summary = json.loads(capsys.readouterr().out)
    assert Path(summary["files"][0]).exists()
    assert abs(sum(summary["attention"].values()) - 1) < 1e-6
    assert set(summary["probabilities"]) == {"vision", "audio", "eeg", "fusion"}
    assert run("explain", "pilot", "--subject", "1", "--trial", "1", *folder) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = [[c.strip() for c in line.split("│")[1:-1]] for line in lines if line.count("│") == 6]
    assert [row[:2] for row in cells[:3]] == [["layer 1 head 1", m] for m in ("vision", "audio", "eeg")]
    assert all(abs(sum(map(float, row[2:])) - 1) < 0.01 for row in cells)
    assert max(len(line) for line in lines if not line.startswith("files")) < 250
    assert run("explain", "pilot", "--subject", "1", "--trial", "99", *folder) == 2

    for command, nothing in (("cancel", "nothing was cancelled"), ("retry", "nothing was queued")):
        assert run(command, "pilot", *folder) == 0
        assert nothing in capsys.readouterr().err
    assert run("status", "pilot", "--json", *folder) == 0
    assert {row["shown"] for row in json.loads(capsys.readouterr().out)} == {"done"}


@pytest.mark.slow
def test_no_command_prints_what_controls_a_terminal_or_hides_a_name(
    tmp_path: Path, checkpoints: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = hostile.dataset(tmp_path / "data")
    study = hostile.study(checkpoints, data)
    run_name = study.runs()[0].name
    study.run(run_name).log_file.write_text(f"read {hostile.NAME}\x1b[2J\x9b31m\n")
    commands_run = [
        ("check", data),
        ("check", data, "--json"),
        *(("results", hostile.STUDY, "--format", form) for form in ("table", "csv", "latex", "json")),
        *(("results", hostile.STUDY, "--split", hostile.COLUMN, "--format", form) for form in ("csv", "latex")),
        ("results", hostile.STUDY, "--trials"),
        ("status",),
        ("status", hostile.STUDY),
        ("studies",),
        ("logs", f"{hostile.STUDY}/{run_name}"),
        ("train", data, "--study", "other", "--dry-run"),
        ("cache", "list"),
        ("explain", hostile.STUDY, "--subject", f"{hostile.NAME}\x1b[2J", "--trial", "1"),
        ("results", hostile.STUDY, "--split", "\x1b[2J[/]"),
    ]
    for command in commands_run:
        main([str(part) for part in (*command, "--checkpoints", checkpoints)])
        printed = "".join(capsys.readouterr())
        assert printed, command
        assert not hostile.control_characters(printed), command
        if command[0] == "results" and "table" in command:
            assert all(part in printed for part in ("[red]evil[/red]", ":evil:", "evil\\u202etxt"))
        if "latex" in command:
            assert r"\textless{}b\textgreater{}evil" in printed
            assert r"\$evil\$ \%\{evil\}" in printed
            assert r"\textasciitilde{} \textasciicircum{} \& \textbackslash{}evil \#" in printed
        if "csv" in command:
            cells = [cell for row in csv.reader(io.StringIO(printed)) for cell in row]
            assert "'=evil(1)" in cells or "'=evil" in cells
            assert not [cell for cell in cells if cell.startswith(("=", "@", "-e"))]
    main(["check", str(data), "--csv", str(tmp_path / "out"), "--checkpoints", str(checkpoints)])
    written = "\n".join(file.read_text() for file in (tmp_path / "out").iterdir())
    assert "'=evil(1)" in written
    assert ",=evil" not in written
