"""Broken and odd datasets in layouts of their own: EAV's published pickles, DEAP, BIDS."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from broken import Dataset
from broken_eeg import edf
from broken_trees import foreign, linked, moved, once

TURNED = np.repeat(np.arange(5)[::-1], 4)


class Hostile:
    """Unpickling it would run a command."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch hacked",)


def pickled(**parts: object) -> Callable[[Path], Path]:
    """EAV's published pickles of subjects 1 and 2; ``parts`` replace subject 1's files (None: left out)."""

    def make(folder: Path) -> Path:
        shutil.copytree(once(folder.parent / "whole-pickles", make_pickles), folder, dirs_exist_ok=True)
        for end, content in parts.items():
            (path,) = folder.rglob(f"subject_01_{end}.pkl")
            path.unlink()
            if content is not None:
                path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
        return folder

    return make


def make_pickles(folder: Path) -> None:
    rng = np.random.default_rng(0)
    train, test = np.repeat(np.arange(5), 4), np.repeat(np.arange(5), 4)
    for number in (1, 2):
        for end, name, shape in (
            ("eeg", "EEG", (30, 500)),
            ("aud", "Audio", (80000,)),
            ("vis", "Vision", (25, 56, 56, 3)),
        ):
            values = rng.integers(1, 255, (40, *shape), np.uint8)
            values = values if end == "vis" else ((values.astype("float32") - 128) / (10 if end == "eeg" else 300))
            path = folder / "Input_images" / name / f"subject_{number:02d}_{end}.pkl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pickle.dumps([values[:20], train, values[20:], test]))


def deap(content: object) -> Callable[[Path], Path]:
    """Two subjects of DEAP with two trials of 4 s; the first one's file is ``content``."""

    def make(folder: Path) -> Path:
        data = np.random.default_rng(0).normal(0, 10, (2, 40, 512))
        good = {"data": data, "labels": np.full((2, 4), 6.0) + np.arange(2)[:, None]}
        (folder / "s02.dat").write_bytes(pickle.dumps(good, protocol=2))
        made = content(good) if callable(content) else content
        (folder / "s01.dat").write_bytes(made if isinstance(made, bytes) else pickle.dumps(made, protocol=2))
        return folder

    return make


def bids(*changes: Callable[[Path], object]) -> Callable[[Path], Path]:
    """Two subjects of BIDS with two events each; ``changes`` are made to the eeg folder of subject 1."""

    def make(folder: Path) -> Path:
        (folder / "dataset_description.json").write_text('{"Name": "made", "BIDSVersion": "1.9.0"}')
        for n in ("01", "02"):
            position = folder / f"sub-{n}" / "eeg"
            position.mkdir(parents=True)
            edf(position / f"sub-{n}_task-rest_eeg.edf")
            (position / f"sub-{n}_task-rest_eeg.json").write_text('{"TaskName": "rest"}')
            events = "onset\tduration\ttrial_type\n0\t1\tcalm\n1\t1\ttense\n"
            (position / f"sub-{n}_task-rest_events.tsv").write_text(events)
        for change in changes:
            change(folder / "sub-01" / "eeg")
        return folder

    return make


def events(content: str | bytes) -> Callable[[Path], object]:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda s: (s / "sub-01_task-rest_events.tsv").write_bytes(data)


RECORDING = "sub-01_task-rest_eeg.edf"
HEAD = "onset\tduration\ttrial_type\n"
CASES = [
    Dataset("pickles, hostile", pickled(eeg=Hostile()), finding="system|arrays, numbers"),
    Dataset(
        "pickles, cut", pickled(eeg=pickle.dumps([np.ones((20, 30, 500)), [0]])[:5000]), finding="subject_01_eeg.pkl"
    ),
    Dataset("pickles, of no bytes", pickled(aud=b""), finding="0 bytes"),
    Dataset("pickles, text", pickled(aud=b"nothing\n" * 99), finding="subject_01_aud.pkl"),
    Dataset(
        "pickles, wrong shape",
        pickled(eeg=[np.ones((20, 29, 500)), np.zeros(20), np.ones((4, 29, 500)), np.zeros(4)]),
        finding="subject_01_eeg.pkl",
    ),
    Dataset(
        "pickles, wrong classes",
        pickled(eeg=[np.ones((20, 30, 500)), np.full(20, 9), np.ones((4, 30, 500)), np.zeros(4)]),
        finding="subject_01_eeg.pkl",
    ),
    Dataset(
        "pickles, three parts",
        pickled(eeg=[np.ones((20, 30, 500)), np.zeros(20), np.ones((4, 30, 500))]),
        finding="a list of four",
    ),
    Dataset(
        "pickles, labels disagree",
        pickled(eeg=[np.ones((20, 30, 500)), TURNED, np.ones((20, 30, 500)), TURNED]),
        finding="class of window|as in",
    ),
    Dataset(
        "pickles, other counts",
        pickled(eeg=[np.ones((8, 30, 500)), np.zeros(8), np.ones((4, 30, 500)), np.zeros(4)]),
        finding="as in",
    ),
    Dataset("pickles, a modality missing", pickled(aud=None), finding="no audio", severity="warning"),
    Dataset("DEAP, hostile", deap(Hostile()), finding="system|arrays, numbers"),
    Dataset("DEAP, cut", deap(lambda good: pickle.dumps(good, protocol=2)[:9000]), finding=r"s01\.dat"),
    Dataset("DEAP, 39 channels", deap(lambda good: {**good, "data": good["data"][:, :39]}), finding="40 channels"),
    Dataset("DEAP, ratings missing", deap(lambda good: {"data": good["data"]}), finding="data and labels"),
    Dataset(
        "DEAP, ratings with NaN",
        deap(lambda good: {**good, "labels": good["labels"] * np.nan}),
        finding="ratings that are numbers",
    ),
    Dataset("DEAP, texts", deap(lambda good: {**good, "data": np.full((2, 40, 512), "a")}), finding=r"s01\.dat"),
    Dataset("DEAP, NaN", deap(lambda good: {**good, "data": good["data"] * np.nan}), finding="finite"),
    Dataset("BIDS, recording cut", bids(lambda s: os.truncate(s / RECORDING, 3000)), finding="bytes too early"),
    Dataset("BIDS, recording empty", bids(lambda s: os.truncate(s / RECORDING, 0)), finding="0 bytes"),
    Dataset("BIDS, another subject's recording", bids(moved(RECORDING, "sub-07_task-rest_eeg.edf")), finding="sub-07"),
    Dataset(
        "BIDS, a name that is not allowed",
        bids(moved(RECORDING, "sub-01_mood-calm_eeg.edf")),
        finding="a name that BIDS allows",
    ),
    Dataset("BIDS, a name that is not UTF-8", bids(foreign(b"sub-01_task-\xe9_eeg.edf")), finding="a name in UTF-8"),
    Dataset(
        "BIDS, a link to nothing",
        bids(lambda s: (s / RECORDING).unlink(), linked("/gone.edf", RECORDING)),
        finding=RECORDING,
    ),
    Dataset(
        "BIDS, a pipe", bids(lambda s: (s / RECORDING).unlink(), lambda s: os.mkfifo(s / RECORDING)), finding=RECORDING
    ),
    Dataset(
        "BIDS, events in latin-1",
        bids(events(HEAD.encode() + b"0\t1\tgl\xfccklich\n")),
        finding="_events.tsv",
    ),
    Dataset("BIDS, events beyond the end", bids(events(HEAD + "0\t1\ta\n90\t1\tb\n")), finding="90"),
    Dataset(
        "BIDS, events without times",
        bids(events(HEAD + "n/a\tn/a\ta\n-3\t1\tb\n")),
        finding="without an onset",
        severity="info",
    ),
    Dataset("BIDS, an event of a year", bids(events(HEAD + "0\t31536000\ta\n")), finding="31536000|3.1536e|1000000"),
    Dataset(
        "BIDS, no subject's recording",
        lambda f: bids()(f) and [p.unlink() for p in f.rglob("*.edf")] and f,
        "EEG recordings",
    ),
]
