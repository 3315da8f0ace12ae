"""A dataset that changes after a study was planned: the study's trials stay as they were."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from failing import fails
from short_sounds import AUDIO, table

from eavdash.config.convert import with_settings
from eavdash.config.schema import Selection
from eavdash.data.frozen import read_frozen
from eavdash.data.table import open_table, select
from eavdash.errors import IntegrityError, OutsideError, StudyConflictError
from eavdash.explain.recordings import trial_row
from eavdash.store import RunDir, StudyDir
from eavdash.store.readable import VARIABLE, set_data_folders
from eavdash.studies import extend
from eavdash.studies.write import prepare, refresh
from eavdash.training.run import train_run
from eavdash.training.run_context import open_run_context, signature

SMALL = with_settings(
    AUDIO, ["train.audio.epochs=1", "audio.width=16", "audio.depth=1", "audio.mels=16", "window=0.1", "audio.heads=2"]
)


def edited(root: Path, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Change the table on disk."""
    edit(pd.read_csv(root, dtype=str, keep_default_na=False)).to_csv(root, index=False)


def flipped(frame: pd.DataFrame) -> pd.DataFrame:
    """Swap the labels of two trials of subject 1."""
    rows = (frame["subject"] == "1") & frame["trial"].str.startswith("2-")
    frame.loc[rows, "label"] = frame.loc[rows, "label"].map({"calm": "tense", "tense": "calm"})
    return frame


def shorter(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[~((frame["subject"] == "1") & (frame["trial"] == "3-calm"))]


def cut(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(start=np.where(frame["subject"] == "1", "0.05", ""), stop="")


def tables_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every opening of a dataset fail."""

    def refuse(path: object) -> None:
        raise AssertionError(f"{path} was opened")

    for module in ("table", "frozen"):
        monkeypatch.setattr(f"eavdash.data.{module}.open_table", refuse)


def facts(run: RunDir) -> tuple[str, str]:
    """The trials of a run and the signature of its resume state."""
    context = open_run_context(run, torch.device("cpu"))
    return context.trials.to_csv(), signature(context, "key")


@pytest.mark.parametrize("edit", [flipped, shorter, cut, lambda frame: frame[frame["subject"] == "2"]])
def test_a_queued_run_trains_on_the_frozen_rows_bit_for_bit(tmp_path: Path, edit) -> None:
    root = table(tmp_path)
    study = prepare(root, "pilot", SMALL, Selection(("1",), (0,)), tmp_path / "c").study
    twin = prepare(root, "twin", SMALL, Selection(("1",), (0,)), tmp_path / "c").study
    frame = select(open_table(root), SMALL, ("1",)).frame
    pd.testing.assert_frame_equal(select(read_frozen(study.table_file, ("1",)), SMALL, ("1",)).frame, frame)
    before = facts(study.run("s01-audio"))
    assert train_run(twin.run("s01-audio"))
    edited(root, edit)
    assert facts(study.run("s01-audio")) == before
    assert train_run(study.run("s01-audio"))
    for name in ("model_file", "predictions_file"):
        one, other = (getattr(s.run("s01-audio"), name).read_bytes() for s in (study, twin))
        assert one == other, name
    assert trial_row(study, SMALL, "1", "3-calm").equals(frame[frame["trial"] == "3-calm"].reset_index(drop=True))


def test_extensions_within_the_frozen_table_do_not_open_the_dataset(
    tmp_path: Path, submitted: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = table(tmp_path)
    study = prepare(root, "pilot", AUDIO, Selection(("1",), (0,)), tmp_path / "c").study
    twin = prepare(root, "twin", AUDIO, Selection(("1", "2"), (0,)), tmp_path / "c").study
    extend.extend(twin, folds=(1,), seeds=(1,))
    frozen = study.table_file.read_bytes()
    edited(root, flipped)
    tables_closed(monkeypatch)
    assert extend.plan_extension(study, folds=(1,)).new == ("s01-audio-fold1",)
    extend.extend(study, folds=(1,))
    extend.extend(study, seeds=(1,))
    extend.extend(study, subjects=("2",))
    assert study.table_file.read_bytes() == frozen
    for name in ("splits_file", "trials_file", "table_file"):
        assert getattr(study, name).read_bytes() == getattr(twin, name).read_bytes()
    for key in ("dataset", "classes", "selection"):
        assert getattr(study.study(), key) == getattr(twin.study(), key)
    assert facts(study.run("s02-audio-fold1-seed1")) == facts(twin.run("s02-audio-fold1-seed1"))


def test_a_changed_subject_that_has_runs_is_a_conflict_when_the_dataset_is_read(
    tmp_path: Path, submitted: list
) -> None:
    root = table(tmp_path, subjects=4)
    study = prepare(root, "pilot", AUDIO, Selection(("1", "2"), (0,)), tmp_path / "c").study
    edited(root, lambda frame: flipped(frame[frame["subject"] != "4"]))
    before = {p: p.read_bytes() for p in study.path.rglob("*") if p.is_file()}
    for attempt in (
        lambda: prepare(root, "pilot", AUDIO, Selection(("1",), (1,)), tmp_path / "c"),
        lambda: extend.extend(study, subjects=()),
        lambda: refresh(study),
    ):
        with fails(StudyConflictError, found="subject 1"):
            attempt()
    assert {p: p.read_bytes() for p in study.path.rglob("*") if p.is_file()} == before
    # Subject 1 is not planned here: its rows stay, and those of subjects without runs follow the dataset.
    prepare(root, "pilot", AUDIO, Selection(("2", "3"), (0,)), tmp_path / "c")
    table_now = read_frozen(study.table_file)
    assert table_now.subjects == ("1", "2", "3")
    assert table_now.frame.loc[table_now.frame["trial"] == "2-calm", "label"].tolist() == ["calm"] * 3
    assert extend.extend(study, folds=(1,)).new == ("s01-audio-fold1", "s02-audio-fold1", "s03-audio-fold1")


def test_a_repaired_subject_alone_gets_new_rows(tmp_path: Path, submitted: list) -> None:
    root = table(tmp_path)
    edited(root, lambda frame: frame.assign(group=frame["group"].where(frame["subject"] != "2", "same")))
    made = prepare(root, "pilot", AUDIO, Selection(folds=(0,)), tmp_path / "c")
    assert made.study.run("s02-audio").status().state == "failed"
    before = read_frozen(made.study.table_file).frame
    edited(root, lambda frame: frame.assign(group="g" + frame["trial"].str[0]))
    refresh(made.study)
    assert made.study.run("s02-audio").status().state == "queued"
    after = read_frozen(made.study.table_file).frame
    others = before["subject"] != "2"
    pd.testing.assert_frame_equal(after[others], before[others])
    assert set(after.loc[~others, "group"]) == {"g0", "g1", "g2", "g3", "g4"}


def test_a_file_that_was_lost_for_a_time_does_not_lose_the_rows(tmp_path: Path, submitted: list) -> None:
    root = table(tmp_path)
    study = prepare(root, "pilot", AUDIO, Selection(folds=(0,)), tmp_path / "c").study
    before = facts(study.run("s02-audio"))
    (tmp_path / "2-3-calm.wav").rename(tmp_path / "hidden.wav")
    for again in (lambda: prepare(root, "pilot", AUDIO, Selection(folds=(0,)), tmp_path / "c"), lambda: refresh(study)):
        again()
        assert read_frozen(study.table_file).subjects == ("1", "2", "3")
    (tmp_path / "hidden.wav").rename(tmp_path / "2-3-calm.wav")
    assert facts(study.run("s02-audio")) == before


def test_a_study_without_the_file_reads_its_dataset_until_it_is_planned_again(tmp_path: Path, submitted: list) -> None:
    root = table(tmp_path)
    study = prepare(root, "pilot", AUDIO, Selection(("1", "2"), (0,)), tmp_path / "c").study
    run, frozen = study.run("s01-audio"), study.table_file.read_bytes()
    before = facts(run)
    for again in (
        lambda: extend.extend(study, folds=(1,)),
        lambda: prepare(root, "pilot", AUDIO, Selection(("1",), (0,)), tmp_path / "c"),
        lambda: refresh(study),
    ):
        study.table_file.unlink()
        assert facts(run) == before
        assert len(trial_row(study, AUDIO, "1", "3-calm")) == 1
        again()
        assert study.table_file.read_bytes() == frozen
    # A subject whose rows no longer are those of its runs is not frozen as if they were.
    study.table_file.unlink()
    edited(root, flipped)
    prepare(root, "pilot", AUDIO, Selection(("2",), (0,)), tmp_path / "c")
    assert read_frozen(study.table_file).subjects == ("2", "3")
    with fails(StudyConflictError, found="subject 1"):
        extend.extend(study, folds=(2,))


def test_a_damaged_file_stops_runs_and_plans_and_is_made_again_once_removed(tmp_path: Path, submitted: list) -> None:
    root = table(tmp_path)
    study = prepare(root, "pilot", AUDIO, Selection(("1",), (0,)), tmp_path / "c").study
    good = study.table_file.read_bytes()
    study.table_file.write_bytes(good[:-20])
    for read in (
        lambda: facts(study.run("s01-audio")),
        lambda: trial_row(study, AUDIO, "1", "3-calm"),
        lambda: extend.extend(study, folds=(1,)),
        lambda: prepare(root, "pilot", AUDIO, Selection(("1",), (0,)), tmp_path / "c"),
    ):
        with fails(IntegrityError, where="trials.parquet", remedy="eavdash extend"):
            read()
    study.table_file.unlink()
    extend.extend(study)
    assert study.table_file.read_bytes() == good


def test_a_link_to_the_dataset_may_be_changed_later(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    root = table(tmp_path / "one")
    shutil.copy(root, tmp_path / "two")
    link = tmp_path / "latest"
    link.symlink_to(tmp_path / "one")
    study = prepare(link, "pilot", AUDIO, Selection(("1",), (0,)), tmp_path / "c").study
    before = facts(study.run("s01-audio"))
    link.unlink()
    link.symlink_to(tmp_path / "two")
    assert facts(study.run("s01-audio")) == before
    assert study.study().dataset.path == str(tmp_path / "one")
    assert read_frozen(StudyDir(study.path).table_file).root == tmp_path / "one"


def test_a_study_planned_by_the_app_keeps_its_data_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    table(tmp_path / "a")
    monkeypatch.setenv(VARIABLE, "[]")  # restored afterwards
    set_data_folders(None)
    free = prepare(tmp_path / "a", "free", AUDIO, Selection(("1",), (0,)), tmp_path / "c").study
    assert "folders" not in free.study().document()["dataset"]
    set_data_folders([tmp_path / "a"])
    bound = prepare(tmp_path / "a", "bound", AUDIO, Selection(("1",), (0,)), tmp_path / "c").study
    assert bound.study().dataset.folders == (str((tmp_path / "a").resolve()),)
    set_data_folders([tmp_path / "other"])
    with fails(OutsideError, where=str(tmp_path / "a")):
        prepare(tmp_path / "a", "more", AUDIO, Selection(("1",), (0,)), tmp_path / "c")
    weights = with_settings(AUDIO, [f"audio.weights={tmp_path}/secret.bin"])
    set_data_folders([tmp_path / "a"])
    with fails(OutsideError, where="secret.bin"):
        prepare(tmp_path / "a", "more", weights, Selection(("1",), (0,)), tmp_path / "c")
