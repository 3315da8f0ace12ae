"""``eavdash results --metric``: one metric, its means, and small tables for runs of an earlier version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_study import make_study

from eavdash.cli.main import main
from eavdash.results import tables


def test_one_metric_is_printed_with_its_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = make_study(tmp_path, stages=("audio", "eeg"), compact=False)
    expected = tables.scores(study)
    assert main(["results", "demo", "--metric", "macro_f1", "--json", "--checkpoints", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert list(rows[0])[:6] == ["study", "subject", "stage", "level", "n", "macro_f1"]
    assert "accuracy" not in rows[0]
    assert [row["macro_f1"] for row in rows] == pytest.approx(expected["macro_f1"].tolist())
    mean = expected.loc[expected["stage"] == "eeg", "macro_f1"].mean()
    assert f"Macro-F1 of eeg: {100 * mean:.1f} %, 95 % interval" in err
    assert all(run.scores_file.exists() for run in study.runs())  # made anew, and sealed with the others
    assert all("scores.parquet" in run.status().checksums for run in study.runs())
    assert main(["results", "demo", "--json", "--checkpoints", str(tmp_path)]) == 0
    assert {"accuracy", "balanced_accuracy", "macro_f1"} <= set(json.loads(capsys.readouterr().out)[0])


def test_a_column_that_is_asked_for_twice_comes_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_study(tmp_path, subjects=("1",), stages=("eeg",))
    said = []
    for by in ("fold", "fold,fold"):
        assert main(["results", "demo", "--by", by, "--format", "csv", "--checkpoints", str(tmp_path)]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
