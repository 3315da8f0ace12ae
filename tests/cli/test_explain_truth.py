"""``explain --truth``: maps that point right, wrong or at noise, on a study without models, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_study import make_explanation, make_study

from eavdash.cli.main import main
from eavdash.demo.eeg import CHANNELS
from eavdash.demo.files import MARKERS, places
from eavdash.demo.plan import SMALL, Planting, plan_subject, truth
from eavdash.explain import trial
from eavdash.explain.explanation import Explanation
from eavdash.explain.planted_points import PlantedPoints
from eavdash.explain.truth import read_truth
from eavdash.store import StudyDir

times = np.arange(0, 10, 0.02).reshape(2, -1)  # (window, sample) seconds


def write_truth(folder: Path, seed: int = 0) -> Path:
    folder.mkdir()
    content = truth(seed, [plan_subject(seed, s, SMALL) for s in (1, 2)], SMALL, Planting(), MARKERS, places)
    (folder / "truth.json").write_text(json.dumps(content))
    return folder / "truth.json"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_truth(tmp_path / "recordings")


@pytest.fixture
def study(tmp_path: Path, path: Path) -> StudyDir:
    return make_study(tmp_path, subjects=("1", "2"), dataset=path.parent)


def explained(study: StudyDir, path: Path, monkeypatch: pytest.MonkeyPatch, aim: str) -> None:
    """Explain every trial by a map of the EEG (noise in subject 1) that is highest at what is planted, or elsewhere."""
    told = read_truth(path)

    def explain_trial(study: StudyDir, subject: str, number: str, **asked: Any) -> Explanation:
        planted = told.planted[subject, number]["eeg"]
        values = np.zeros((2, len(CHANNELS), times.shape[1]), dtype=np.float32)
        inside = (planted.start <= times) & (times <= planted.stop)
        for row, name in enumerate(CHANNELS):
            if (name in planted.where) == (aim == "right"):
                values[:, row] = inside if aim == "right" else ~inside
        made = make_explanation(study, f"s0{subject}-fusion", subject, number)
        shown = {"label": planted.emotion, "predicted": planted.emotion, "target": planted.emotion}
        arrays = {"attributions": {"eeg": values}, "inputs": {"eeg": values}, "times": {"eeg": times}}
        return replace(made, **shown, **arrays, channels=CHANNELS, rate=50.0, baseline="mean")

    monkeypatch.setattr(trial, "explain_trial", explain_trial)
    monkeypatch.setattr(trial, "find_explanation", lambda *_, **__: None)
    monkeypatch.setattr(PlantedPoints, "_difference", lambda self, made, modality: np.ones((2, 1, 30, 250)))


def run(study: StudyDir, *options: str) -> int:
    return main(["explain", study.name, *options, "--checkpoints", str(study.path.parent)])


@pytest.mark.parametrize("aim", ["right", "wrong"])
def test_the_table_counts_hits(
    study: StudyDir, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], aim: str
) -> None:
    explained(study, path, monkeypatch, aim)
    assert run(study, "--trials", "test", "--truth", str(path), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["trials"]) == 20
    rows = {row["measure"]: row for row in found["pointing"]}
    assert set(rows) == {"electrode", "electrode x time", "electrode x frequency"}
    told = read_truth(path)
    own = [(each["subject"], each["trial"]) for each in found["trials"] if each["subject"] == "2"]
    chance = np.mean([len(told.planted[key]["eeg"].where) / len(CHANNELS) for key in own])
    for measure in ("electrode", "electrode x time"):
        row = rows[measure]
        assert (row["hits"], row["n"]) == ((10, 10) if aim == "right" else (0, 10))
        assert (row["noise_hits"], row["noise_n"]) == ((10, 10) if aim == "right" else (0, 10))
        assert row["low"] - 1e-9 <= row["share"] <= row["high"] + 1e-9
    assert rows["electrode"]["chance"] == pytest.approx(chance)
    assert 0 < rows["electrode x time"]["chance"] < chance


def test_it_prints_tables_and_no_line_per_trial(
    study: StudyDir, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    explained(study, path, monkeypatch, "right")
    assert run(study, "--trials", "test", "--truth", str(path)) == 0
    out, err = capsys.readouterr()
    assert "10/10" in out
    assert "1.00 (0.72 to 1.00)" in out
    assert "|x - baseline|" in out
    assert "attention share" in out
    assert "trial 2:" not in out
    assert "trial 2:" in err


def test_what_cannot_be_used_is_refused_before_anything_is_explained(
    study: StudyDir, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(trial, "explain_trial", None)  # calling it would be another error
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    other = write_truth(tmp_path / "other", seed=1)
    for given, word in ((tmp_path / "none.json", "no such file"), (broken, "broken.json"), (other, "seed 1")):
        assert run(study, "--trials", "test", "--truth", str(given)) != 0
        assert word in " ".join(capsys.readouterr().err.split())
    assert run(study, "--subject", "1", "--trial", "2", "--truth", str(path)) == 2
    assert "--trials" in capsys.readouterr().err
    assert run(study, "--trials", "test", "--truth", str(path), "--method", "attention_rollout") == 2
    assert "integrated_gradients" in capsys.readouterr().err
