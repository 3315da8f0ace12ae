"""EAV's published pickles: rows, the published split, what cannot be verified, and what is refused."""

from __future__ import annotations

import os
import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import array_files
import eav_files
import numpy as np
import pytest
from array_files import classes, content, pickled
from failing import fails

from eavdash.config.presets import preset
from eavdash.config.schema import ProtocolConfig
from eavdash.data.formats import eav_pickle as eav_pickles
from eavdash.data.recording import release
from eavdash.data.splits import make_splits
from eavdash.data.table import file_of, open_table, select
from eavdash.errors import RecordingError, TableError


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return array_files.input_images(tmp_path_factory.mktemp("pickles"))


@pytest.fixture
def root(original: Path, tmp_path: Path) -> Path:
    """A copy of ``original`` to damage."""
    return Path(shutil.copytree(original, tmp_path / "EAV" / "Input_images"))


def test_rows_are_windows_in_the_files_order(root: Path) -> None:
    for folder in (root, root.parent, root.parents[1]):
        table = open_table(folder)
        assert (table.kind, table.root, table.problems) == ("eav-pickles", root, {})
    frame = table.frame
    assert frame["trial"].tolist() == [str(n) for n in range(1, 61)]
    assert frame["label"].tolist() == [eav_pickles.EMOTIONS[k] for k in (*classes(8), *classes(4))]
    assert frame["split_published"].tolist() == ["train"] * 40 + ["test"] * 20
    for n, row in enumerate(frame.to_dict("records"), start=1):
        assert row["eeg"] == f"{root}/EEG/subject_01_eeg.pkl#{n}"
        assert row["audio"] == f"{root}/Audio/subject_01_aud.pkl#{n}"
        assert row["video"] == f"{root}/Vision/subject_01_vis.pkl#{n}"
        assert file_of(row["video"]) == f"{root}/Vision/subject_01_vis.pkl"
    groups = frame.groupby("group", sort=False)
    assert groups.size().tolist() == [4] * 15
    assert (groups["label"].nunique() == 1).all()
    assert (groups["split_published"].nunique() == 1).all()
    notes = [note for note in table.notes if "pairing cannot be verified" in note]
    assert len(notes) == 2
    assert "subject 1" in notes[1]


def test_reading_gives_the_window_of_the_row(root: Path) -> None:
    for n in (1, 40, 41, 60):
        eeg = eav_pickles.trial(f"{root}/EEG/subject_01_eeg.pkl", n)
        assert eeg.shape == (30, 500)
        assert eeg.dtype == np.float64
        assert (eeg == n * 1e-6).all()
        sound = eav_pickles.sound(f"{root}/Audio/subject_01_aud.pkl", n)
        assert (sound.shape, sound.dtype) == ((80000,), np.float32)
        assert (sound == n).all()
        frames = eav_pickles.frames(f"{root}/Vision/subject_01_vis.pkl", n)
        assert (frames.shape, frames.dtype) == ((25, 56, 56, 3), np.uint8)
        assert (frames == n).all()
    for n in (0, 61):
        with fails(RecordingError, where=f"eeg.pkl#{n}", expected="1 to 60", found=str(n)):
            eav_pickles.trial(f"{root}/EEG/subject_01_eeg.pkl", n)
    info = eav_pickles.info(f"{root}/EEG/subject_01_eeg.pkl")
    assert (info.samples, info.rate, info.trials, len(info.channels)) == (500, 100.0, 60, 30)
    with fails(RecordingError, where="eeg.pkl", expected=("tr_x", "80000"), found="(40, 30, 500)"):
        eav_pickles.sound(f"{root}/EEG/subject_01_eeg.pkl", 1)


def test_one_file_is_kept_and_a_changed_one_is_read_again(root: Path) -> None:
    file = root / "EEG" / "subject_01_eeg.pkl"
    release()
    assert eav_pickles.trial(str(file), 1)[0, 0] == 1e-6
    eav_pickles.trial(str(file), 2)
    eav_pickles.sound(str(root / "Audio" / "subject_01_aud.pkl"), 1)
    assert eav_pickles._content.cache_info().currsize == 1
    assert eav_pickles._content.cache_info().hits == 1
    value = content("eeg", classes(8), classes(4))
    value[0] = value[0] + 5
    pickled(file, value)
    os.utime(file, (1, 1))
    assert eav_pickles.trial(str(file), 1)[0, 0] == pytest.approx(6e-6)
    release()
    assert eav_pickles._content.cache_info().currsize == 0


def test_the_protocol_paper_gives_the_published_split(tmp_path: Path) -> None:
    """At the real counts: 280 windows for training, 120 for testing."""
    root = array_files.input_images(tmp_path, 1, 56, 24, kinds="eeg")
    table = open_table(root)
    chosen = select(table, preset("quick"))
    frame = make_splits(chosen.frame, ProtocolConfig(name="paper")).frame
    split = dict(zip(frame["trial"], frame["split"], strict=True))
    published = dict(zip(chosen.frame["trial"], chosen.frame["split_published"], strict=True))
    assert split == published
    assert list(published.values()).count("test") == 120
    assert chosen.frame["group"].nunique() == 100
    assert (frame.groupby("group")["split"].nunique() == 1).all()
    assert len([note for note in table.notes if "pairing cannot be verified" in note]) == 1  # nothing is paired


def test_windows_that_are_not_in_runs_of_four_are_one_group(tmp_path: Path) -> None:
    root = array_files.input_images(tmp_path, kinds="eeg")
    rng = np.random.default_rng(0)
    pickled(root / "EEG" / "subject_01_eeg.pkl", content("eeg", rng.permutation(classes(8)), classes(4)))
    pickled(root / "EEG" / "subject_02_eeg.pkl", content("eeg", classes(7), classes(4)))
    table = open_table(root)
    assert set(table.frame["group"]) == {"all"}
    assert len([note for note in table.notes if "one group" in note]) == 2
    splits = make_splits(table.frame, ProtocolConfig())
    assert set(splits.problems) == {"1", "2"}


def test_raw_recordings_win_over_pickles(root: Path) -> None:
    eav_files.make_subject(root.parent, trials=10)
    assert open_table(root.parent).kind == "eav"
    assert open_table(root).kind == "eav-pickles"
    (root / "trials.csv").write_text("subject,trial,label,eeg\n1,1,a,EEG/subject_01_eeg.pkl#3\n")
    table = open_table(root)
    assert (table.kind, table.problems) == ("table", {})
    assert table.frame["eeg"][0].endswith("subject_01_eeg.pkl#3")


def test_pickles_have_no_sound_tracks(root: Path) -> None:
    import dataclasses

    shutil.rmtree(root / "Audio")
    config = preset("quick")
    config = dataclasses.replace(config, audio=dataclasses.replace(config.audio, from_video=True))
    assert (select(open_table(root), config).frame["audio"] == "").all()


def value(**changes: Any) -> list[Any]:
    """An EEG file's content with one of its four parts replaced."""
    parts = dict(zip(("tr_x", "tr_y", "te_x", "te_y"), content("eeg", classes(8), classes(4)), strict=True))
    return list((parts | changes).values())


EEG = "EEG/subject_01_eeg.pkl"
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda f: (f / EEG).write_bytes(b""), "a file of 0 bytes"),
    "cut": (lambda f: (f / EEG).write_bytes((f / EEG).read_bytes()[:-20]), "a complete pickle"),
    "not a pickle": (lambda f: (f / EEG).write_bytes(b"RIFFxxxxWAVE"), "a complete pickle"),
    "runs something": (lambda f: pickled(f / EEG, value(te_y=os.getpid)), "found the Python object posix.getpid"),
    "three parts": (lambda f: pickled(f / EEG, value()[:3]), "a list of four: .*found a list of 3"),
    "dictionary": (lambda f: pickled(f / EEG, {"tr_x": 1}), "found a dictionary of 1"),
    "array": (lambda f: pickled(f / EEG, np.zeros(4)), "found an array"),
    "axes": (
        lambda f: pickled(f / EEG, value(tr_x=np.zeros((40, 500, 30)))),
        r"found shape \(40, 500, 30\) of float64",
    ),
    "two axes": (lambda f: pickled(f / EEG, value(te_x=np.zeros((20, 30)))), r"te_x of shape \(windows, 30, 500\)"),
    "texts": (lambda f: pickled(f / EEG, value(tr_x=np.full((40, 30, 500), "a"))), "of numbers, found shape"),
    "ragged": (lambda f: pickled(f / EEG, value(tr_x=[np.zeros((30, 500)), np.zeros(3)])), "found something else"),
    "none": (lambda f: pickled(f / EEG, value(tr_x=None)), "found something else"),
    "short labels": (lambda f: pickled(f / EEG, value(tr_y=classes(7))), "a class for each of the 40 windows in tr_x"),
    "sixth class": (lambda f: pickled(f / EEG, value(tr_y=classes(8) + 1)), "a class from 0 to 4 .* found 5"),
    "half": (lambda f: pickled(f / EEG, value(tr_y=classes(8) / 2)), "found 0.5"),
    "names": (lambda f: pickled(f / EEG, value(tr_y=["Anger"] * 40)), "tr_y with a class"),
    "two ones": (lambda f: pickled(f / EEG, value(tr_y=np.ones((40, 5)))), "not one-hot"),
    "four columns": (lambda f: pickled(f / EEG, value(tr_y=np.eye(4)[[0] * 40])), r"found shape \(40, 4\)"),
    "nothing": (
        lambda f: pickled(f / EEG, [np.zeros((0, 30, 500)), np.zeros(0), np.zeros((0, 30, 500)), np.zeros(0)]),
        "expected windows, found none",
    ),
    "fewer": (
        lambda f: pickled(f / "Vision/subject_01_vis.pkl", content("vis", classes(4), classes(4))),
        "expected 40 windows for training and 20 for testing, as in subject_01_eeg.pkl, found 20 and 20",
    ),
    "other classes": (
        lambda f: pickled(f / "Audio/subject_01_aud.pkl", content("aud", classes(8)[::-1], classes(4))),
        "expected Neutral as class of window 1, as in subject_01_eeg.pkl, found Calmness .32 such windows",
    ),
    "not uint8": (
        lambda f: pickled(f / "Vision/subject_01_vis.pkl", value(tr_x=np.zeros((40, 25, 56, 56, 3), "f4"))),
        "of uint8, found shape",
    ),
    "twice": (lambda f: shutil.copy(f / EEG, f / "EEG/subject_1_eeg.pkl"), "one such file of subject 1"),
    "link": (lambda f: [(f / EEG).unlink(), (f / EEG).symlink_to("/nowhere")], "found No such file"),
}


def test_a_damaged_modality_refuses_only_studies_that_train_it(root: Path) -> None:
    array_files.input_images(root.parent, 2, kinds="eeg")
    pickled(root / EEG, [1, 2])
    table = open_table(root)
    assert table.faults == {"1": {"eeg": table.problems["1"]}}
    sounds = select(table, replace(preset("quick"), stages=("audio",)))
    assert (sounds.subjects, sounds.problems) == (("1", "2"), {})
    assert select(table, replace(preset("quick"), stages=("eeg",))).problems == table.problems


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_stops_its_subject_alone(root: Path, name: str) -> None:
    array_files.input_images(root.parent, 2, kinds="eeg")
    damage, words = DAMAGE[name]
    damage(root)
    table = open_table(root)
    assert list(table.problems) == ["1"]
    assert re.search(words, table.problems["1"])
    assert str(root) in table.problems["1"]
    assert "\n" not in table.problems["1"]
    assert select(table, preset("quick")).subjects == ("2",)


@pytest.mark.parametrize(
    "labels",
    [
        classes(8).tolist(),
        classes(8).astype("float32"),
        classes(8).astype("uint8")[:, None],
        np.eye(5, dtype=bool)[classes(8)],
        list(np.eye(5)[classes(8)]),
        [np.int64(k) for k in classes(8)],
    ],
    ids=["list", "float", "column", "one-hot bool", "list of rows", "numpy numbers"],
)
def test_labels_in_any_form(tmp_path: Path, labels: Any) -> None:
    file = pickled(tmp_path / "EEG" / "subject_42_eeg.pkl", value(tr_y=labels))
    frame = open_table(tmp_path).frame
    assert frame["label"].tolist()[:40] == [eav_pickles.EMOTIONS[k] for k in classes(8)]
    assert eav_pickles.trial(str(file), 40)[0, 0] == pytest.approx(40e-6)


def test_windows_as_lists_and_objects(tmp_path: Path) -> None:
    windows = content("eeg", classes(8), classes(4))[0]
    objects = np.empty(40, dtype=object)
    objects[:] = list(windows)
    for form in (list(windows), objects, windows.tolist()[:1] * 40):
        file = pickled(tmp_path / "EEG" / "subject_03_eeg.pkl", value(tr_x=form))
        release()
        assert eav_pickles.trial(str(file), 1)[3, 4] == pytest.approx(1e-6)
        assert len(open_table(tmp_path).frame) == 60


def test_other_files_are_noted_and_none_at_all_is_an_error(root: Path) -> None:
    (root / "EEG" / "readme.txt").touch()
    (root / "EEG" / "subject_07_vis.pkl").touch()
    notes = "\n".join(open_table(root).notes)
    assert "readme.txt: not one of the published pickles, ignored" in notes
    assert "subject_07_vis.pkl: not one of the published pickles, ignored" in notes
    for file in root.rglob("*.pkl"):
        file.unlink()
    with fails(TableError, where=str(root), found="neither"):
        open_table(root)
    (root / "EEG" / "subject_07_vis.pkl").touch()
    with fails(TableError, where=str(root), expected="subject_01_eeg.pkl"):
        open_table(root)


def test_one_array_many_times_is_not_stacked(tmp_path: Path) -> None:
    sound = np.zeros(80_000, "f4")
    path = tmp_path / "subject_01_aud.pkl"
    path.write_bytes(pickle.dumps([[sound] * 1_000_000, [0] * 1_000_000, [sound], [0]]))
    with fails(RecordingError, where=str(path), found="something else"):
        eav_pickles.outline(str(path), (80_000,))
