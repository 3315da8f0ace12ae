"""``eavdash maps`` and ``eavdash representations``: what they print and keep, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_study import make_study
from shapley_files import add_attributions

from eavdash.cli.main import main
from eavdash.errors import IntegrityError
from eavdash.explain.maps import permutation
from eavdash.explain.maps.record import load_maps
from eavdash.results import representations, separation
from eavdash.store import RunDir
from eavdash.training import representations as vectors


@pytest.fixture(autouse=True)
def few_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permutation, "PERMUTATIONS", 19)
    monkeypatch.setattr(separation, "PERMUTATIONS", 19)


def test_maps_are_kept_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = make_study(tmp_path, subjects=("1",), trials=4)
    command = ["maps", "demo", "--checkpoints", str(tmp_path), "--method", "integrated_gradients"]
    assert main(command) == 2
    assert "explain them first: eavdash explain demo --trials all" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*command[:-1], "magic"])
    assert "'magic'" in capsys.readouterr().err
    add_attributions(study, "s01-fusion", "1", ["2", "4", "6"])
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "3 trials of 4 explained" in out
    assert "most surprising decisions" in out
    assert load_maps(study, "fusion", "integrated_gradients", "mean") is not None
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["explained"], found["tested"], found["stage"]) == (3, 4, "fusion")
    assert {row["view"] for row in found["tests"]} == {"vision", "audio", "scalp", "eeg"}
    assert [row["trial"] for row in found["trials"]] == ["2", "4", "6"]


def test_representations_are_kept_made_once_and_a_failing_run_stops_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_study(tmp_path, subjects=("1", "2"), stages=("eeg", "fusion"), states={"s02-fusion": "failed"})
    asked: list[str] = []

    def represent(run: RunDir, device: str) -> pd.DataFrame:
        asked.append(run.name)
        if run.name == "s02-fusion":
            raise IntegrityError.at(run.path, expected="recordings", found="none", remedy="restore them")
        rows = pd.read_parquet(run.predictions_file).query("split == 'test'").drop_duplicates("trial")
        values = list(np.random.default_rng(0).normal(size=(len(rows), 3)).astype(np.float32))
        return rows[["subject", "trial"]].assign(space="fusion", values=values)

    monkeypatch.setattr(vectors, "represent", represent)
    command = ["representations", "demo", "--checkpoints", str(tmp_path)]
    assert main(command) == 0
    assert asked == ["s01-fusion"]
    out = capsys.readouterr().out
    assert "decisions of fusion, all runs:" in out
    assert main([*command, "--json"]) == 0
    assert asked == ["s01-fusion"]  # the weights are the same
    found = json.loads(capsys.readouterr().out)
    assert [(s["run"], s["space"]) for s in found["spaces"]][-1] == ("s01-fusion", "fusion")
    assert main([*command, "--again"]) == 0
    assert asked == ["s01-fusion"] * 2

    other = make_study(tmp_path, "both", subjects=("1", "2"), stages=("eeg", "fusion"))
    assert main(["representations", "both", "--checkpoints", str(tmp_path)]) == 1
    assert "restore them" in capsys.readouterr().err
    kept = representations.load(other)
    assert kept is not None
    assert list(kept.problems) == ["s02-fusion"]
    assert set(kept.files) == {"", "s01-fusion"}
    make_study(tmp_path, "new", subjects=("1",), states={"*": "queued"})
    assert main(["representations", "new", "--checkpoints", str(tmp_path)]) == 2
    assert "expected a finished run with test trials" in capsys.readouterr().err
