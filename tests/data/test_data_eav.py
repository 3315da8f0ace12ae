"""EAV's folders: their trial table, in any order of listing, and what is rejected."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import eav_files
import numpy as np
import pandas as pd
import pytest
import scipy.io
from failing import fails

from eavdash.config.presets import preset
from eavdash.data.adapters import eav
from eavdash.data.table import open_table, select
from eavdash.errors import TableError


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with subjects 1, 2 and 10 under the names that occur."""
    root = tmp_path_factory.mktemp("eav")
    eav_files.make_subject(root, "subject1")
    eav_files.make_subject(root, "subject10__", key="seg")
    eav_files.make_subject(root, "Subject_02")
    first = root / "subject1" / "Audio"
    (first / eav_files.audio_name(2)).rename(first / eav_files.audio_name(2, "Aud"))
    return root


@pytest.fixture
def root(original: Path, tmp_path: Path) -> Path:
    """A copy of ``original`` to damage."""
    return Path(shutil.copytree(original, tmp_path / "Downloads" / "EAV" / "EAV"))


def test_rows_pair_by_number_alone(root: Path) -> None:
    found = eav.read(root)
    frame = found.frame
    assert not found.problems
    assert frame["subject"].unique().tolist() == ["1", "2", "10"]
    assert len(frame) == 600
    for row in frame.to_dict("records"):
        n = int(row["trial"])
        condition, emotion = eav_files.trial(n)
        assert (row["condition"], row["label"]) == (condition, emotion)
        assert row["group"] == row["conversation"] == str((n - 1) // 10)
        assert row["eeg"].endswith(f"_eeg.mat#{n}")
        assert Path(row["video"]).name == eav_files.video_name(n)
        assert Path(row["audio"]).name.lower() == (eav_files.audio_name(n).lower() if n % 2 == 0 else "")


def test_order_on_disk_changes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b", "a", "c"):
        (root / "subject1" / "Video" / name).touch()
        eav_files.make_subject(root / name, trials=10)
    (root / "subject1" / "EEG" / "subject_1_eeg.mat").touch()
    expected = open_table(root.parents[2])
    listing = os.scandir

    @contextlib.contextmanager
    def shuffled(path: Path) -> Iterator[list[os.DirEntry[str]]]:
        with listing(path) as entries:
            found = list(entries)
        random.Random(len(found)).shuffle(found)
        yield found

    monkeypatch.setattr("eavdash.data.adapters.base.os.scandir", shuffled)
    table = open_table(root.parents[2])
    pd.testing.assert_frame_equal(table.frame, expected.frame)
    assert (table.problems, table.notes) == (expected.problems, expected.notes)


def test_root_is_found_at_any_level_above(root: Path) -> None:
    for folder in (root, root.parent, root.parents[1], root.parents[2]):
        assert eav.eav_root(folder) == root
    assert eav.eav_root(root / "subject1") is None
    shutil.copytree(root / "subject1", root.parent / "copy" / "subject1")
    with fails(TableError, expected="EAV", found="2"):
        eav.eav_root(root.parent)


def test_root_holds_other_things(root: Path) -> None:
    (root / "Input_images" / "EEG" / "subject_01").mkdir(parents=True)
    (root / "subjects.tsv").touch()
    (root / "subject1" / "Video" / ".DS_Store").touch()
    (root / "subject1" / "Video" / "notes.txt").touch()
    table = open_table(root)
    assert table.subjects == ("1", "2", "10")
    assert [note for note in table.notes if "notes.txt" in note and "ignored" in note]
    assert len(table.notes) == 1


def rename(folder: Path, old: str, new: str) -> None:
    (folder / old).rename(folder / new)


def cut(path: Path, share: float = 0.5) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def labels(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path = folder / "EEG" / "subject1_eeg_label.mat"
    scipy.io.savemat(path, {"label": change(eav_files.label_matrix())})


def two_ones(matrix: np.ndarray) -> np.ndarray:
    matrix[:, 6] = 1
    return matrix


VIDEO = eav_files.video_name(7)  # a listening trial
DAMAGE: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: cut(f / "EEG/subject1_eeg.mat"), "subject1_eeg.mat: expected a complete file, found one that ends"),
    (lambda f: cut(f / "EEG/subject1_eeg.mat", 0), "subject1_eeg.mat: expected a readable MATLAB"),
    (lambda f: (f / "EEG/subject1_eeg.mat").write_bytes(b"\x89HDF" * 200), "expected a readable MATLAB v5 file"),
    (lambda f: cut(f / "EEG/subject1_eeg_label.mat"), "label.mat: expected a complete file"),
    (lambda f: labels(f, lambda m: m.T), r"shape \(10, trials\), found shape \(200, 10\)"),
    (lambda f: labels(f, lambda m: m[:, :0]), r"found shape \(10, 0\)"),
    (lambda f: labels(f, two_ones), "one-hot labels.*found 10 entries set for trial 7 .1 such"),
    (lambda f: labels(f, lambda m: m * 0.5), "one-hot labels"),
    (lambda f: labels(f, lambda m: m[:, :198]), "a label for each of its 200 trials, found 198 labels"),
    (lambda f: labels(f, lambda m: m[:, ::-1]), r"001_.*expected Speaking Sadness .trial 1 of.*more such files\)"),
    (lambda f: scipy.io.savemat(f / "EEG/subject1_eeg.mat", {"seg": np.zeros((30, 4, 200))}), "one array of shape"),
    (lambda f: scipy.io.savemat(f / "EEG/subject1_eeg.mat", {"seg": np.zeros((3, 3))}), "no three-dimensional array"),
    (lambda f: rename(f / "Video", VIDEO, VIDEO.replace("Anger", "Sadness")), "expected Listening Anger .trial 7"),
    (lambda f: rename(f / "Video", VIDEO, VIDEO.replace("Listening", "Speaking")), "found Speaking Anger"),
    (lambda f: rename(f / "Video", VIDEO, VIDEO.replace("Anger", "Fear")), "expected one of Neutral.*found Fear"),
    (lambda f: rename(f / "Video", VIDEO, VIDEO.replace("007", "201")), r"a number from 1 to 200.*found 201"),
    (lambda f: rename(f / "Video", VIDEO, VIDEO.replace("007", "000")), "found 0"),
    (lambda f: (f / "Video" / VIDEO.replace("Trial_07", "Trial_09")).touch(), "expected one video file of trial 7"),
    (lambda f: (f / "EEG/subject_01_eeg.mat").write_bytes(b""), "expected one such file, found subject1_eeg.mat, s"),
    (lambda f: rename(f / "EEG", "subject1_eeg.mat", "subject3_eeg.mat"), "a file of subject 1, found subject 3's"),
    (lambda f: shutil.copytree(f, f.with_name("subject01")), "one folder of subject 1, found subject01, subject1"),
    (lambda f: [shutil.rmtree(f / p) for p in ("EEG", "Audio", "Video")], "recordings in EEG, Audio and Video"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGE)
def test_damage_stops_its_subject_alone(root: Path, damage: Callable[[Path], object], words: str) -> None:
    whole = open_table(root).frame
    damage(root / "subject1")
    problems = eav.read(root).problems
    assert list(problems) == ["1"]
    table = open_table(root)
    assert list(table.problems) == ["1"]
    assert re.search(words, problems["1"])
    assert str(root) in table.problems["1"]
    chosen = select(table, preset("quick"))
    assert chosen.subjects == ("2", "10")
    others = whole[(whole["subject"] != "1") & (whole["condition"] == "Speaking")].reset_index(drop=True)
    pd.testing.assert_frame_equal(chosen.frame, others)


ONE_MODALITY: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: cut(f / "EEG/subject1_eeg.mat"), "eeg"),
    (lambda f: cut(f / "EEG/subject1_eeg.mat", 0), "eeg"),
    (lambda f: cut(f / "EEG/subject1_eeg_label.mat"), "eeg"),
    (lambda f: scipy.io.savemat(f / "EEG/subject1_eeg.mat", {"seg": np.zeros((3, 3))}), "eeg"),
    (lambda f: rename(f / "EEG", "subject1_eeg.mat", "subject3_eeg.mat"), "eeg"),
    (lambda f: rename(f / "Video", VIDEO, VIDEO.replace("Anger", "Fear")), "vision"),
    (lambda f: (f / "Video" / VIDEO.replace("Trial_07", "Trial_09")).touch(), "vision"),
]


@pytest.mark.parametrize(("damage", "modality"), ONE_MODALITY)
def test_damage_of_one_modality_refuses_only_studies_that_train_it(
    root: Path, damage: Callable[[Path], object], modality: str
) -> None:
    whole = open_table(root).frame
    damage(root / "subject1")
    table = open_table(root)
    assert table.faults == {"1": {modality: table.problems["1"]}}
    for stage in ("vision", "audio", "eeg"):
        chosen = select(table, replace(preset("quick"), stages=(stage,)))
        assert chosen.problems == ({"1": table.problems["1"]} if stage == modality else {})
        assert chosen.subjects == (("2", "10") if stage == modality else ("1", "2", "10"))
    sounds = select(table, replace(preset("quick"), stages=("audio",))).frame
    speaking = whole[whole["condition"] == "Speaking"].reset_index(drop=True)
    columns = ["subject", "trial", "label", "audio"]
    pd.testing.assert_frame_equal(sounds[columns], speaking[columns])


def test_names_against_the_labels_refuse_every_modality(root: Path) -> None:
    rename(root / "subject1" / "Video", VIDEO, VIDEO.replace("Anger", "Sadness"))
    table = open_table(root)
    assert table.faults == {}
    assert list(select(table, replace(preset("quick"), stages=("eeg",))).problems) == ["1"]


def test_a_sound_track_needs_its_video(root: Path) -> None:
    rename(root / "subject1" / "Video", VIDEO, VIDEO.replace("Anger", "Fear"))
    config = replace(preset("quick"), stages=("audio",))
    assert select(open_table(root), config).problems == {}
    config = replace(config, audio=replace(config.audio, from_video=True))
    assert list(select(open_table(root), config).problems) == ["1"]


def test_fewer_trials_are_a_note(tmp_path: Path) -> None:
    eav_files.make_subject(tmp_path, trials=40)
    table = open_table(tmp_path)
    assert not table.problems
    assert len(table.frame) == 40
    assert "40 trials where EAV has 200" in table.notes[0]


@pytest.mark.parametrize("part", ["EEG", "Audio", "Video"])
def test_a_modality_may_be_absent(root: Path, part: str) -> None:
    shutil.rmtree(root / "subject1" / part)
    table = open_table(root)
    assert not table.problems
    rows = table.frame[table.frame["subject"] == "1"]
    assert len(rows) == 200
    assert (rows[part.lower()] == "").all()
    assert rows["label"].tolist() == [eav_files.trial(n)[1] for n in range(1, 201)]


def test_single_files_may_be_absent(root: Path) -> None:
    (root / "subject1" / "Video" / VIDEO).unlink()
    table = open_table(root)
    assert not table.problems
    assert table.frame["video"][6] == ""
    assert table.frame["eeg"][6].endswith("#7")


def test_without_label_file_names_are_trusted_but_compared(root: Path) -> None:
    (root / "subject1" / "EEG" / "subject1_eeg_label.mat").unlink()
    found = eav.read(root)
    frame = found.frame
    assert not found.problems
    assert frame["label"].tolist()[:200] == [eav_files.trial(n)[1] for n in range(1, 201)]
    video = eav_files.video_name(8)
    rename(root / "subject1" / "Video", video, video.replace("Anger", "Calmness"))
    assert "expected Speaking Calmness as" in eav.read(root).problems["1"]


def test_several_faults_are_counted(root: Path) -> None:
    cut(root / "subject1" / "EEG" / "subject1_eeg.mat")
    rename(root / "subject1" / "Video", VIDEO, VIDEO.replace("007", "201"))
    assert "(1 more" in eav.read(root).problems["1"]
