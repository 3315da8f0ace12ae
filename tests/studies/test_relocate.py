"""Studies whose dataset has moved: all recordings are found at the new place, or nothing is written."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import eav_files
import pandas as pd
import pytest
import torch
from failing import fails
from short_sounds import AUDIO, table

from eavdash.config.presets import preset
from eavdash.config.schema import Selection
from eavdash.data.frozen import read_frozen
from eavdash.data.table import open_table, select
from eavdash.errors import IntegrityError, TableError, UsageError
from eavdash.store import StudyDir, locks
from eavdash.store.record import write_record
from eavdash.studies import extend, relocate
from eavdash.studies.relocate import Relocation
from eavdash.studies.write import prepare, refresh
from eavdash.training.run_context import open_run_context, signature


def content(study: StudyDir) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in study.path.rglob("*") if path.is_file()}


def mark(study: StudyDir, run: str = "s01-audio") -> str:
    return signature(open_run_context(study.run(run), torch.device("cpu")))


@pytest.fixture
def moved(tmp_path: Path) -> StudyDir:
    """A study of subjects 1 and 2 of three, whose dataset has moved from ``old`` to ``new``."""
    (tmp_path / "old").mkdir()
    table(tmp_path / "old", video=True)
    study = prepare(tmp_path / "old", "pilot", AUDIO, Selection(("1", "2"), (0,)), tmp_path / "c").study
    (tmp_path / "old").rename(tmp_path / "new")
    return study


@pytest.mark.parametrize("given", ["new", "new/trials.csv"])
def test_a_moved_dataset_gets_its_new_paths_and_stays_the_same(
    tmp_path: Path, moved: StudyDir, submitted: list, given: str
) -> None:
    restricted = moved.study()
    dataset = restricted.dataset.replace(folders=(str(tmp_path / "old"),))
    write_record(moved.study_file, restricted.replace(dataset=dataset))
    before, results = moved.study(), content(moved)
    assert relocate.relocate(moved, tmp_path / given) == Relocation(
        str(tmp_path / "old"), str(tmp_path / given), files=30
    )
    after = moved.study()
    assert after == before.replace(dataset=before.dataset.replace(path=str(tmp_path / given), folders=None))
    changed = {path for path, bytes_ in content(moved).items() if results[path] != bytes_}
    assert changed == {moved.study_file, moved.table_file}
    frame = read_frozen(moved.table_file).frame
    pd.testing.assert_frame_equal(frame, select(open_table(tmp_path / "new"), AUDIO).frame)
    mark(moved)
    extend.extend(moved, folds=(1,))
    refresh(moved)
    extend.extend(moved, subjects=())
    assert moved.study().dataset.fingerprint.keys() == {"1", "2", "3"}
    # Relocating once more to the same place changes nothing.
    results = content(moved)
    relocate.relocate(moved, tmp_path / given)
    assert content(moved) == results


def test_runs_resume_after_a_relocation(tmp_path: Path, moved: StudyDir) -> None:
    (tmp_path / "new").rename(tmp_path / "old")
    before = mark(moved)
    (tmp_path / "old").rename(tmp_path / "new")
    with pytest.raises(TableError, match=re.escape("1-0-calm.wav") + ".*eavdash relocate pilot "):
        mark(moved)
    relocate.relocate(moved, tmp_path / "new")
    assert mark(moved) == before


@pytest.mark.parametrize("subject", ["1", "3"])
def test_a_missing_file_refuses_and_nothing_is_written(tmp_path: Path, moved: StudyDir, subject: str) -> None:
    (tmp_path / "new" / f"{subject}-3-calm.wav").unlink()
    before = content(moved)
    with fails(UsageError, where=str(tmp_path / "new" / f"{subject}-3-calm.wav"), found="no file") as caught:
        relocate.relocate(moved, tmp_path / "new")
    assert caught.value.exit_code == 2
    with fails(UsageError, where=str(tmp_path / "empty")):
        relocate.relocate(moved, tmp_path / "empty")
    assert content(moved) == before


def test_a_file_of_another_size_refuses_and_nothing_is_written(tmp_path: Path, moved: StudyDir) -> None:
    os.truncate(tmp_path / "new" / "2-3-calm.wav", 100)
    before = content(moved)
    with fails(UsageError, where=str(tmp_path / "new"), expected="subject 2", found="sizes"):
        relocate.relocate(moved, tmp_path / "new")
    assert content(moved) == before


def test_nothing_is_relocated_while_a_run_or_a_probe_is_running(tmp_path: Path, moved: StudyDir) -> None:
    before = content(moved)
    for file, name in ((moved.run("s02-audio").lock_file, "s02-audio"), (moved.probe_lock_file, "probes")):
        lock = locks.acquire(file)
        assert lock is not None
        try:
            with fails(UsageError, where=str(moved.path), found=name, remedy="eavdash cancel pilot"):
                relocate.relocate(moved, tmp_path / "new")
        finally:
            os.close(lock)
            file.unlink()
    assert content(moved) == before
    moved.run("s01-audio").update(submission="1")  # a queued run reads the table when it starts
    relocate.relocate(moved, tmp_path / "new")


def test_studies_without_a_usable_table_are_refused(tmp_path: Path, moved: StudyDir) -> None:
    moved.table_file.write_bytes(b"")
    with fails(IntegrityError, where="trials.parquet"):
        relocate.relocate(moved, tmp_path / "new")
    moved.table_file.unlink()
    with fails(UsageError, where="trials.parquet", remedy=(str(tmp_path / "new"), "--study pilot")):
        relocate.relocate(moved, tmp_path / "new")
    with fails(UsageError, found="pilot"):
        relocate.relocate(StudyDir(tmp_path / "c" / "other"), tmp_path / "new")


@pytest.mark.usefixtures("all_usable")
def test_a_dataset_below_the_given_folder_and_an_interrupted_relocation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for subject in ("subject1", "subject2"):
        made = eav_files.make_subject(tmp_path / "old" / "data" / "EAV", subject)
        for number, file in enumerate(sorted(made.rglob("*.*4"))):
            file.write_bytes(bytes([number % 256, number // 256]))
    config = replace(preset("quick"), stages=("vision",))
    study = prepare(tmp_path / "old", "eav", config, Selection(("1",), (0,)), tmp_path / "c").study
    before = mark(study, "s01-vision")
    shutil.move(tmp_path / "old", tmp_path / "new")

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(relocate, "write_record", fail)
        with pytest.raises(OSError, match="full"):
            relocate.relocate(study, tmp_path / "new")
    assert study.study().dataset.path == str(tmp_path / "old")
    relocate.relocate(study, tmp_path / "new")
    assert study.study().dataset.path == str(tmp_path / "new")
    assert read_frozen(study.table_file).root == tmp_path / "new" / "data" / "EAV"
    assert mark(study, "s01-vision") == before
    shutil.move(tmp_path / "new" / "data", tmp_path / "far")
    relocate.relocate(study, tmp_path / "far" / "EAV")
    assert read_frozen(study.table_file).root == tmp_path / "far" / "EAV"
