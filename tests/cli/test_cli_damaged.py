"""Commands on a checkpoints folder in which every other study is damaged in another way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from damage import CONTROL, STUDY, damaged_studies, damaged_study

from eavdash.cli.main import main


@pytest.fixture
def root(tmp_path: Path) -> Path:
    damaged_studies(tmp_path)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(a) for a in arguments])
    found = capsys.readouterr()
    assert "Traceback" not in found.out + found.err
    return code, found.out, found.err


@pytest.mark.parametrize("command", [("studies",), ("studies", "--archived"), ("status",)])
def test_lists_have_a_row_for_each_damaged_study_and_the_others(
    root: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    code, out, err = printed(capsys, *command, "--checkpoints", root)
    assert code == 0
    assert " good " in out
    code, found, _ = printed(capsys, *command, "--checkpoints", root, "--json")
    assert code == 0
    rows = {row["study"]: row for row in json.loads(found)}
    assert set(rows) == {"good", *STUDY, *CONTROL}
    assert rows["good"]["problem"] == ""
    for name in (*STUDY, *CONTROL):
        problem = rows[name]["problem"]
        assert ("control.json" if name in CONTROL else "study.json") in problem, name
        assert len(problem) < 500, name
        assert problem.count("\n") == 0, name
        assert problem in out + err, name
        assert rows[name]["done"] == 1, name
    assert (out + err).count("damaged") >= len(STUDY) + len(CONTROL)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("status", "good"), 0),
        (("results", "good"), 0),
        (("verify", "good"), 0),
        (("cache", "list"), 0),
        (("archive", "good"), 0),
        (("delete", "good", "--yes"), 0),
        (("results", "none"), 2),
    ],
)
def test_a_good_study_is_not_held_up_by_damaged_ones(
    root: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], code: int
) -> None:
    assert printed(capsys, *command, "--checkpoints", root)[0] == code


#: Commands on one study, and the exit code when its study.json is damaged.
ONE = {
    ("status", "{}"): 0,
    ("status", "{}", "--json"): 0,
    ("results", "{}"): 0,
    ("verify", "{}"): 1,
    ("extend", "{}"): 1,
    ("clone", "{}", "other", "--dry-run"): 1,
    ("probe", "{}", "--probes", "time"): 1,
}


@pytest.mark.parametrize("name", STUDY)
def test_each_command_on_a_damaged_study_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    damaged_study(tmp_path, name)
    for command, code in ONE.items():
        found, out, err = printed(capsys, *(part.format(name) for part in command), "--checkpoints", tmp_path)
        assert (found, "study.json" in out + err) == (code, True), (command, out, err)


@pytest.mark.parametrize("name", CONTROL)
def test_a_damaged_switch_starts_and_switches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    study = damaged_study(tmp_path, name)
    for command in ("extend", "pause", "resume", "archive", "unarchive", "retry"):
        code, out, err = printed(capsys, command, name, "--checkpoints", tmp_path)
        assert (code, "control.json" in out + err) == (1, True), (command, out, err)
        assert "delete it" in err, command
    code, out, err = printed(capsys, "results", name, "--checkpoints", tmp_path)
    assert (code, " 1 " in out) == (0, True)
    assert study.study().name == "good"
