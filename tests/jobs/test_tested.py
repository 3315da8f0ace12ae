"""Runs across subjects are shown with the subjects that they are tested on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from short_sounds import AUDIO, table

from eavdash.cli.main import main
from eavdash.config.convert import with_settings
from eavdash.config.schema import Selection
from eavdash.jobs.snapshot import snapshot
from eavdash.jobs.tested import in_words, with_tested
from eavdash.report.figures import training
from eavdash.store import StudyDir
from eavdash.studies.plan import plan
from eavdash.studies.write import prepare

pytestmark = pytest.mark.usefixtures("all_usable")
LOSO = with_settings(AUDIO, ["protocol.name=loso"])


@pytest.fixture
def study(tmp_path: Path) -> StudyDir:
    return prepare(table(tmp_path, subjects=3), "people", LOSO, Selection(), tmp_path / "c").study


def test_each_fold_names_its_test_subject(study: StudyDir) -> None:
    runs = with_tested(snapshot(study), study)
    splits = pd.read_csv(study.splits_file, dtype={"subject": str})
    of = splits[splits["split"] == "test"].groupby("fold")["subject"].unique()
    assert {len(subjects) for subjects in of} == {1}
    assert runs["tested"].tolist() == [f"test subject {of[fold][0]} (fold {fold})" for fold in runs["fold"]]
    lines = training.grid_lines(runs)
    assert [line.name for line in lines] == runs["tested"].tolist()
    assert [line.name for line in training.grid_lines(runs, "2")] == [t for t in runs["tested"] if " 2 " in t]
    assert training.short_name(runs.to_dict("records")[0]) == f"{runs['tested'][0]} · Audio"


def test_status_says_who_is_tested(study: StudyDir, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ("--checkpoints", str(study.path.parent))
    assert main(["status", study.name, *folder]) == 0
    printed = capsys.readouterr().out
    assert all(f"test subject {subject} (fold" in printed for subject in "123")
    assert main(["status", study.name, "--json", *folder]) == 0
    assert {row["tested"][:13] for row in json.loads(capsys.readouterr().out)} == {"test subject "}


@pytest.mark.parametrize("pooled", [False, True])
def test_runs_that_test_every_subject_name_none(tmp_path: Path, pooled: bool) -> None:
    config = replace(AUDIO, protocol=replace(AUDIO.protocol, pooled=pooled))
    made = prepare(table(tmp_path, subjects=3), "within", config, Selection(folds=(0,)), tmp_path / "c").study
    assert set(with_tested(snapshot(made), made)["tested"]) == {""}
    made.splits_file.write_text("damaged")
    assert set(with_tested(snapshot(made), made)["tested"]) == {""}


def test_a_run_that_is_left_out_names_its_subject(tmp_path: Path) -> None:
    root = table(tmp_path, subjects=4, video=True)
    frame = pd.read_csv(root, dtype=str, keep_default_na=False)
    frame.loc[frame["subject"] == "2", "video"] = ""
    frame.to_csv(root, index=False)
    left_out = plan(root, "people", replace(LOSO, stages=("vision", "audio")), Selection(), tmp_path / "c").left_out
    assert ["test subject 2 (fold " in reason for reason in left_out.values()] == [True]


def test_many_subjects_are_counted() -> None:
    assert in_words(["10", "2"], 1) == "test subjects 2, 10 (fold 1)"
    assert in_words([str(n) for n in range(9)], 0) == "test subjects 0, 1, 2, 3 and 5 more (fold 0)"
