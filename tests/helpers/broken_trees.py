"""Broken and odd copies of EAV."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import eav_files
import numpy as np
import scipy.io
from broken import Dataset
from made_media import movie, sine, wav

from eavdash.data.table import open_table

TRIALS = 10  # one conversation: 2 Neutral, 8 Anger


def eav(*changes: Callable[[Path], object]) -> Callable[[Path], Path]:
    """Two subjects of EAV with ten short trials each; ``changes`` are made to the folder of subject 1."""

    def make(folder: Path) -> Path:
        shutil.copytree(once(folder.parent / "whole-eav", make_eav), folder, dirs_exist_ok=True)
        for change in changes:
            change(folder / "subject1")
        return folder

    return make


def once(folder: Path, make: Callable[[Path], None]) -> Path:
    """A sound dataset beside the broken ones, made for the first that is a changed copy of it."""
    if not folder.exists():
        folder.mkdir(parents=True)
        make(folder)
    return folder


def make_eav(folder: Path) -> None:
    for number in (1, 2):
        subject = eav_files.make_subject(folder, f"subject{number}", TRIALS, samples=500)
        cube = np.random.default_rng(number).normal(0, 20, (500, 30, TRIALS)).astype("float32")
        scipy.io.savemat(subject / "EEG" / f"subject{number}_eeg.mat", {"seg1": cube})
        for n in range(1, TRIALS + 1):
            whole(subject / "Video" / eav_files.video_name(n), n + 20 * number)
            if n % 2 == 0:
                tone = sine(200 + 10 * n + 5 * number, 1, 8000, 0.5)
                wav(subject / "Audio" / eav_files.audio_name(n), tone, 8000)


def whole(path: Path, seed: int) -> None:
    """A second of video that no other file has."""
    times = np.linspace(0, 0.95, 8) + seed * 1e-3
    movie(path, list(times), size=(32, 32))


def labels(matrix: object, name: str = "label") -> Callable[[Path], object]:
    return lambda s: scipy.io.savemat(s / "EEG" / "subject1_eeg_label.mat", {name: matrix})


def moved(source: str, target: str) -> Callable[[Path], object]:
    return lambda s: (s / source).rename(s / target)


def copied(source: str, target: str) -> Callable[[Path], object]:
    return lambda s: shutil.copytree(s / source, s / target)


def linked(target: str, name: str) -> Callable[[Path], object]:
    return lambda s: (s / name).symlink_to(target)


def written(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda s: (s / name).write_bytes(content)


def foreign(name: bytes, content: bytes = b"x") -> Callable[[Path], object]:
    """A file whose name is these bytes."""
    return lambda s: Path(os.fsdecode(os.fsencode(s) + b"/" + name)).write_bytes(content)


def below(folder: Path, name: bytes) -> Path:
    """The subjects moved one level down, into a folder whose name is these bytes."""
    position = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
    position.mkdir()
    for subject in ("subject1", "subject2"):
        (folder / subject).rename(position / subject)
    return folder


def usable(*subjects: str) -> Callable[[Path], None]:
    """These subjects, and no others, can be used, each with all its trials."""

    def check(path: Path) -> None:
        table = open_table(path)
        assert set(table.subjects) - set(table.problems) == set(subjects)
        assert all((table.frame["subject"] == s).sum() == TRIALS for s in subjects)

    return check


VIDEO, SOUND = f"Video/{eav_files.video_name(3)}", f"Audio/{eav_files.audio_name(4)}"
MATRIX = eav_files.label_matrix(TRIALS)
OTHERS = usable("2")  # what is wrong with subject 1 does not stop subject 2


CASES = [
    Dataset("EAV, labels not one-hot", eav(labels(MATRIX + np.eye(10, TRIALS))), finding="one-hot", content=OTHERS),
    Dataset("EAV, labels all zero", eav(labels(MATRIX * 0)), finding="one-hot", content=OTHERS),
    Dataset("EAV, eight rows of labels", eav(labels(MATRIX[:8])), finding="label matrix", content=OTHERS),
    Dataset("EAV, labels turned", eav(labels(eav_files.label_matrix(20).T)), finding="label matrix", content=OTHERS),
    Dataset("EAV, labels with NaN", eav(labels(np.where(MATRIX > 0, np.nan, 0))), finding="one-hot", content=OTHERS),
    Dataset(
        "EAV, texts as labels",
        eav(labels(np.array(["Neutral"] * TRIALS))),
        finding="label matrix|one-hot",
        content=OTHERS,
    ),
    Dataset(
        "EAV, ten texts as labels", eav(labels(np.array(["Neutral"] * 10))), finding="label|one-hot", content=OTHERS
    ),
    Dataset("EAV, fewer labels than trials", eav(labels(MATRIX[:, :8])), finding="a label for each", content=OTHERS),
    Dataset("EAV, no labels at all", eav(labels(np.zeros((0, 0)))), finding="label matrix", content=OTHERS),
    Dataset(
        "EAV, labels of version 7.3",
        eav(
            written(
                "EEG/subject1_eeg_label.mat",
                b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + bytes(384) + b"\x89HDF\r\n\x1a\n",
            )
        ),
        finding="v7.3",
        content=OTHERS,
    ),
    Dataset(
        "EAV, labels cut",
        eav(
            lambda s: (s / "EEG/subject1_eeg_label.mat").write_bytes(
                (s / "EEG/subject1_eeg_label.mat").read_bytes()[:400]
            )
        ),
        finding="bytes too early|MATLAB v5",
        content=OTHERS,
    ),
    Dataset(
        "EAV, EEG cut",
        eav(lambda s: os.truncate(s / "EEG/subject1_eeg.mat", 100_000)),
        finding="bytes too early",
        content=OTHERS,
    ),
    Dataset(
        "EAV, EEG with its axes in another order",
        eav(lambda s: scipy.io.savemat(s / "EEG/subject1_eeg.mat", {"seg": np.ones((30, 600, TRIALS))})),
        finding="30 channels",
        content=OTHERS,
    ),
    Dataset(
        "EAV, two files of one trial",
        eav(lambda s: shutil.copy(s / VIDEO, s / "Video/003_Trial_99_Listening_Anger.mp4")),
        finding="one video file of trial 3",
        content=OTHERS,
    ),
    Dataset(
        "EAV, a name against the labels",
        eav(moved(VIDEO, "Video/003_Trial_03_Listening_Sadness.mp4")),
        finding="Listening Anger",
        content=OTHERS,
    ),
    Dataset(
        "EAV, a condition against the labels",
        eav(moved(VIDEO, "Video/003_Trial_03_Speaking_Anger.mp4")),
        finding="Listening Anger",
        content=OTHERS,
    ),
    Dataset(
        "EAV, an unknown emotion",
        eav(moved(VIDEO, "Video/003_Trial_03_Listening_Boredom.mp4")),
        finding="Boredom",
        content=OTHERS,
    ),
    Dataset(
        "EAV, a number out of range",
        eav(moved(VIDEO, "Video/999_Trial_19_Listening_Anger.mp4")),
        finding="a number from 1 to 10",
        content=OTHERS,
    ),
    Dataset(
        "EAV, trial 0",
        eav(moved(VIDEO, "Video/000_Trial_03_Listening_Anger.mp4")),
        finding="a number from 1 to 10",
        content=OTHERS,
    ),
    Dataset(
        "EAV, a subject's folder twice",
        eav(lambda s: shutil.copytree(s, s.with_name("subject01"))),
        finding="one folder of subject 1",
        content=OTHERS,
    ),
    Dataset(
        "EAV, another subject's EEG",
        eav(moved("EEG/subject1_eeg.mat", "EEG/subject2_eeg.mat")),
        finding="a file of subject 1",
        content=OTHERS,
    ),
    Dataset(
        "EAV, two EEG files",
        eav(lambda s: shutil.copy(s / "EEG/subject1_eeg.mat", s / "EEG/eeg.mat")),
        finding="one such file",
        content=OTHERS,
    ),
    Dataset("EAV, an empty video", eav(written(VIDEO, b"")), finding="0 bytes"),
    Dataset("EAV, an empty sound", eav(written(SOUND, b"")), finding="0 bytes"),
    Dataset(
        "EAV, a video that is a link to nothing",
        eav(lambda s: (s / VIDEO).unlink(), lambda s: (s / VIDEO).symlink_to("/gone.mp4")),
        finding="003_Trial_03",
    ),
    Dataset(
        "EAV, a video that is a folder",
        eav(lambda s: (s / VIDEO).unlink(), lambda s: (s / VIDEO).mkdir()),
        finding="video|vision",
        severity="warning",
    ),
    Dataset(
        "EAV, a video that is a pipe",
        eav(lambda s: (s / VIDEO).unlink(), lambda s: os.mkfifo(s / VIDEO)),
        finding="003_Trial_03",
    ),
    Dataset(
        "EAV, a sound under two names",
        eav(lambda s: shutil.copy(s / f"Audio/{eav_files.audio_name(6)}", s / SOUND)),
        finding="same content|copy",
        severity="warning",
    ),
    Dataset(
        "EAV, an empty subject",
        eav(lambda s: [shutil.rmtree(s / p) or (s / p).mkdir() for p in ("EEG", "Audio", "Video")]),
        finding="recordings in EEG, Audio and Video",
        content=OTHERS,
    ),
    Dataset(
        "EAV in a circle",
        eav(linked("..", "Video/up"), linked("../..", "again"), linked("self", "self")),
        content=usable("1", "2"),
    ),
    Dataset(
        "EAV with names that are not UTF-8",
        eav(foreign(b"Video/\xff\xfe.mp4"), foreign(b"\xe9t\xe9")),
        content=usable("1", "2"),
    ),
    Dataset("EAV below a folder that is not UTF-8", lambda f: below(eav()(f), b"\xe9"), "in UTF-8"),
    Dataset("EAV without a subject", lambda f: (f / "EAV" / "subjectx" / "EEG").mkdir(parents=True) or f, "neither"),
    Dataset("EAV twice", lambda f: shutil.copytree(below(eav()(f), b"a") / "a", f / "b").parent, "one folder with EAV"),
]
