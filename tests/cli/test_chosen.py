"""The study and the subjects that options name."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
from failing import fails
from fake_study import make_study

from eavdash.cli.commands.chosen import study_of, subjects_of
from eavdash.errors import UsageError


def test_a_study_by_its_name(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1",), stages=("eeg",))
    assert study_of(Namespace(checkpoints=tmp_path, study="demo")) == study
    with fails(UsageError, where=str(tmp_path), expected="other", found="demo", remedy="--checkpoints"):
        study_of(Namespace(checkpoints=tmp_path, study="other"))


def test_subjects_of_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Subject 2 has trials and a problem: it can be named, and counts once."""
    rows = "".join(f"{subject},1,joy,{subject}.wav\n" for subject in ("1", "2", "anna"))
    (tmp_path / "trials.csv").write_text(f"subject,trial,label,audio\n{rows}", encoding="utf-8")
    for subject in ("1", "anna"):
        (tmp_path / f"{subject}.wav").touch()
    assert subjects_of(None, "/nowhere") == ()
    assert subjects_of("anna,1-3", tmp_path) == ("anna", "1", "2")
    assert "only 1, 2 exist" in capsys.readouterr().err
    with fails(UsageError, where="--subjects", expected="1, 2, anna", found="7", remedy="existing subjects"):
        subjects_of("7", tmp_path)
