"""BIDS EEG datasets as MNE-BIDS writes them: trials, groups, sidecars, and what is wrong with one subject."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import bids_files
import numpy as np
import pandas as pd
import pytest
from bids_files import write
from failing import fails

from eavdash.config.presets import preset
from eavdash.data.inputs import load_windows
from eavdash.data.table import TrialTable, open_table, select
from eavdash.errors import TableError

EVENTS = [(1.0, 4.0, "happy"), (6.0, 0.0, "sad"), (10.0, 0.0, "happy/strong"), (15.0, 0.0, "sad")]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Subject 01 with one run; 02 with two sessions of two runs; 03 without events."""
    root = tmp_path_factory.mktemp("bids") / "ds"
    write(root, "01", EVENTS, bad=["C3"])
    for session in ("a", "b"):
        for run in ("1", "2"):
            write(root, "02", EVENTS[:2], session=session, run=run)
    write(root, "03", task="rest")
    return root


@pytest.fixture
def root(original: Path, tmp_path: Path) -> Path:
    """A copy of ``original`` to damage."""
    return Path(shutil.copytree(original, tmp_path / "data" / "ds"))


def rows(table: TrialTable, subject: str) -> pd.DataFrame:
    return table.frame[table.frame["subject"] == subject].reset_index(drop=True)


def test_events_are_trials(root: Path) -> None:
    for folder in (root, root.parent):
        table = open_table(folder)
        assert (table.kind, table.root, table.problems) == ("bids", root, {})
    assert table.subjects == ("01", "02", "03")
    first = rows(table, "01")
    assert first["trial"].tolist() == [f"task-talk_{n}" for n in range(1, 5)]
    assert first["label"].tolist() == ["happy", "sad", "happy/strong", "sad"]
    assert first["start"].tolist() == [1.0, 6.0, 10.0, 15.0]
    assert first["stop"].tolist()[:3] == [5.0, 10.0, 15.0]
    assert np.isnan(first["stop"][3])
    assert first["group"].tolist() == first["trial"].tolist()
    assert set(first["eeg"]) == {str(root / "sub-01/eeg/sub-01_task-talk_eeg.edf")}
    assert set(first["task"]) == {"talk"}


def test_runs_are_groups_where_there_are_several(root: Path) -> None:
    second = rows(open_table(root), "02")
    assert second["trial"].tolist() == [
        f"ses-{s}_task-talk_run-{r}_{n}" for s in ("a", "b") for r in ("1", "2") for n in (1, 2)
    ]
    assert second["group"].tolist() == [trial.rpartition("_")[0] for trial in second["trial"]]
    assert second["session"].tolist() == ["a"] * 4 + ["b"] * 4
    assert second["run"].tolist() == ["1", "1", "2", "2"] * 2
    assert second["acquisition"].tolist() == [""] * 8


def test_a_run_without_events_is_one_trial(root: Path) -> None:
    table = open_table(root)
    third = rows(table, "03")
    assert third[["trial", "label", "group"]].to_numpy().tolist() == [["task-rest", "rest", "task-rest"]]
    assert third[["start", "stop"]].isna().all(axis=None)
    assert [note for note in table.notes if "whole recording is one trial of rest" in note]


def test_bad_channels_are_noted(root: Path) -> None:
    assert [note for note in open_table(root).notes if "sub-01_task-talk_channels.tsv: marked as bad: C3" in note]


def test_windows_are_read_from_a_bids_table(root: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(preset("quick"), stages=("eeg",), window=2.0)
    chosen = select(open_table(root), config, ["01"])
    windows = load_windows(chosen.frame, "eeg", config, tmp_path / "cache")
    assert windows.meta["channels"] == list(bids_files.CHANNELS)
    counts = windows.index.groupby("trial").size().to_dict()
    assert counts == {"task-talk_1": 2, "task-talk_2": 2, "task-talk_3": 3, "task-talk_4": 3}
    assert np.median(windows.values.std(axis=-1)) == pytest.approx(50e-6 / np.sqrt(2), rel=0.1)


def events(root: Path, text: str) -> None:
    (root / "sub-01/eeg/sub-01_task-talk_events.tsv").write_text(text)


def test_events_that_are_not_trials(root: Path) -> None:
    events(
        root,
        "onset\tduration\ttrial_type\n"
        "0\t0\tboundary\n1\tn/a\thappy\n2\t0\tBAD_ACQ_SKIP\n3\t-1\tn/a\n3\t0\tsad\n3\t0\tbad\n"
        "4\t0\t\n-2\t1\thappy\nn/a\t1\thappy\n9\t2\thappy\n5\t1\tlate line\n",
    )
    table = open_table(root)
    first = rows(table, "01").drop(columns="eeg")
    assert first[["trial", "label", "start", "stop"]].to_numpy().tolist() == [
        ["task-talk_2", "happy", 1.0, 3.0],
        ["task-talk_5", "sad", 3.0, 5.0],
        ["task-talk_6", "bad", 3.0, 5.0],
        ["task-talk_10", "happy", 9.0, 11.0],
        ["task-talk_11", "late line", 5.0, 6.0],
    ]
    assert [note for note in table.notes if "2 events that mark the recording" in note]
    assert [note for note in table.notes if "2 events without an onset in the recording, ignored" in note]


@pytest.mark.parametrize("text", ["", "onset\tduration\ttrial_type\n", "onset\tduration\tvalue\n1\t1\t3\n", "\ufeff"])
def test_events_without_a_type_make_one_trial_of_the_run(root: Path, text: str) -> None:
    events(root, text)
    table = open_table(root)
    assert rows(table, "01")["label"].tolist() == ["talk"]
    assert [note for note in table.notes if "no event with a trial_type in sub-01_task-talk_events.tsv" in note]


def test_a_run_does_not_take_the_events_of_another(root: Path) -> None:
    (root / "sub-02/ses-a/eeg/sub-02_ses-a_task-talk_run-2_events.tsv").unlink()
    second = rows(open_table(root), "02")
    assert second["trial"].tolist()[:3] == [f"ses-a_task-talk_run-{n}" for n in ("1_1", "1_2", "2")]


def test_sidecars_are_inherited(root: Path) -> None:
    for folder in root.glob("sub-02/ses-*"):
        for file in folder.glob("eeg/*_events.tsv"):
            file.unlink()
    (root / "task-talk_events.tsv").write_text("onset\tduration\ttrial_type\n2\t3\tshared\n")
    assert set(rows(open_table(root), "02")["label"]) == {"shared"}


EDF = "sub-01/eeg/sub-01_task-talk_eeg.edf"
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty recording": (lambda r: (r / EDF).write_bytes(b""), "a file of 0 bytes"),
    "broken link": (lambda r: [(r / EDF).unlink(), (r / EDF).symlink_to("../../.git/annex/x")], "No such file"),
    "odd name": (lambda r: (r / EDF).rename(r / EDF.replace("task-talk", "foo-talk")), "a name that BIDS allows"),
    "other subject": (
        lambda r: (r / EDF).rename(r / EDF.replace("sub-01_", "sub-07_")),
        "of the subject of its folder",
    ),
    "two formats": (lambda r: shutil.copy(r / EDF, r / EDF.replace(".edf", ".bdf")), "one recording of task-talk"),
    "binary events": (
        lambda r: (r / EDF.replace("_eeg.edf", "_events.tsv")).write_bytes(b"onset\tduration\n\xff\xfe\x00"),
        "_events.tsv: expected a table",
    ),
    "binary channels": (
        lambda r: (r / EDF.replace("_eeg.edf", "_channels.tsv")).write_bytes(b"\xff\xfe"),
        "_channels.tsv: expected a table",
    ),
    "companion": (
        lambda r: (r / EDF.replace(".edf", ".vhdr")).write_text("[Common Infos]\nDataFile=gone.eeg\n"),
        "one recording of task-talk",
    ),
    "not UTF-8": (
        lambda r: (r / EDF).rename(r / "sub-01/eeg" / os.fsdecode(b"sub-01_task-\xff_eeg.edf")),
        r"sub-01_task-\\xff_eeg.edf: .*UTF-8",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_stops_its_subject_alone(root: Path, name: str) -> None:
    damage, words = DAMAGE[name]
    damage(root)
    table = open_table(root)
    assert list(table.problems) == ["01"]
    assert re.search(words, table.problems["01"])
    assert "\n" not in table.problems["01"]
    assert len(rows(table, "02")) == 8
    config = dataclasses.replace(preset("quick"), stages=("eeg",))
    assert select(table, config).subjects == ("02", "03")


def test_brainvision_needs_its_companions(root: Path) -> None:
    folder = root / "sub-04" / "eeg"
    folder.mkdir(parents=True)
    (folder / "sub-04_task-x_eeg.vhdr").write_text("[Common Infos]\nDataFile=$b.eeg\nMarkerFile=$b.vmrk\n")
    assert "sub-04_task-x_eeg.eeg: expected a recording, found No such file" in open_table(root).problems["04"]
    (folder / "sub-04_task-x_eeg.eeg").write_bytes(b"x")
    (folder / "sub-04_task-x_eeg.vmrk").write_bytes(b"x")
    table = open_table(root)
    assert not table.problems
    notes = "\n".join(table.notes)
    assert "sub-04: no channels.tsv" in notes
    assert "no _eeg.json" in notes


def test_folders_that_cannot_be_listed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def guarded(path: Path) -> object:
        if Path(path) == root / "sub-01" / "eeg":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", guarded)
    table = open_table(root)
    assert "sub-01/eeg: " in table.problems["01"]
    assert "found Permission denied" in table.problems["01"]


def test_files_that_cannot_be_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = os.open

    def guarded(path: str, *args: int) -> int:
        if str(path).endswith(("sub-01_task-talk_eeg.edf", "sub-03_task-rest_channels.tsv")):
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path, *args)

    monkeypatch.setattr(os, "open", guarded)
    table = open_table(root)
    assert list(table.problems) == ["01", "03"]
    assert "sub-01_task-talk_eeg.edf: " in table.problems["01"]
    assert "found Permission denied" in table.problems["01"]


def test_subjects_without_eeg_are_noted_and_none_at_all_is_an_error(root: Path) -> None:
    (root / "sub-09" / "anat").mkdir(parents=True)
    assert [note for note in open_table(root).notes if "sub-09: no EEG recording, subject left out" in note]
    for file in root.rglob("*.edf"):
        file.unlink()
    with fails(TableError, where=str(root), expected=".edf", found="4 subjects"):
        open_table(root)


def test_derivatives_and_sources_do_not_get_in(root: Path) -> None:
    shutil.copytree(root / "sub-01", root / "derivatives" / "clean" / "sub-01")
    shutil.copy(root / "dataset_description.json", root / "derivatives" / "clean")
    table = open_table(root)
    assert table.root == root
    assert len(table.frame) == 13
    shutil.copytree(root, root.parent / "copy")
    with fails(TableError, where=str(root.parent), expected="BIDS", found=("2", str(root))):
        open_table(root.parent)


def test_the_time_for_many_runs_is_short(root: Path) -> None:
    """The time is printed, not asserted."""
    for n in range(10, 50):
        shutil.copytree(root / "sub-01", root / f"sub-{n}")
        for file in (root / f"sub-{n}" / "eeg").iterdir():
            file.rename(file.with_name(file.name.replace("sub-01", f"sub-{n}")))
    begin = time.perf_counter()
    assert len(open_table(root).subjects) == 43
    print(f"43 subjects: {time.perf_counter() - begin:.2f} s")
