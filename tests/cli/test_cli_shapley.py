"""``eavdash shapley``: what is missing is computed, what cannot be is an error, and the rest is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_study import make_study

from eavdash.cli.main import main
from eavdash.store import RunDir
from eavdash.training import finished


def _forget(run: RunDir) -> bytes:
    content = run.shapley_file.read_bytes()
    run.shapley_file.unlink()
    run.update(checksums={k: v for k, v in run.status().checksums.items() if k != "shapley.parquet"})
    return content


def test_values_are_printed_and_missing_files_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path, subjects=("1", "2"), trials=4)
    made: list[str] = []
    monkeypatch.setattr(finished, "add_coalitions", lambda run, device: made.append(f"{run.name} {device}"))
    assert main(["shapley", "demo", "--checkpoints", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert made == []
    assert [(r["run"], r["modality"]) for r in rows["shapley"]] == [
        (f"s0{s}-fusion", m) for s in (1, 2) for m in ("vision", "audio", "eeg")
    ]
    assert rows["shapley"][0]["size"] > rows["shapley"][2]["size"]
    assert rows["additive"] == []
    _forget(study.run("s02-fusion"))
    assert main(["shapley", "demo", "--checkpoints", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert made == ["s02-fusion cpu"]
    assert "s02-fusion …" in err
    assert "vision |Shapley|" in out
    assert "s01-fusion" in out


def test_one_run_and_what_cannot_be_computed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = make_study(tmp_path, subjects=("1", "2", "3"), trials=4, states={"s03-fusion": "running"})
    command = ["shapley", "demo", "--checkpoints", str(tmp_path)]
    assert main([*command, "--run", "s01-eeg"]) == 2
    assert "expected a finished fusion run, found a run of eeg that is done" in capsys.readouterr().err
    assert main([*command, "--run", "s03-fusion"]) == 2
    assert "found a run of fusion that is running" in capsys.readouterr().err
    assert main([*command, "--run", "s01-fusion", "--json"]) == 0
    assert {r["run"] for r in json.loads(capsys.readouterr().out)["shapley"]} == {"s01-fusion"}
    _forget(study.run("s02-fusion"))  # its weights are no weights, and its dataset is nowhere
    assert main(command) == 1
    out, err = capsys.readouterr()
    assert "s01-fusion" in out  # the others are printed all the same
    assert "Traceback" not in err
    assert not study.run("s02-fusion").shapley_file.exists()
    study.run("s01-fusion").shapley_file.write_bytes(b"x")
    assert main([*command, "--run", "s01-fusion"]) == 1
    assert "shapley.parquet: expected checksum" in capsys.readouterr().err
