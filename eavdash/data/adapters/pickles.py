"""EAV's published pickles (``Input_images``) as rows of the trial table: one row per window of 5 s.

In: ``Input_images`` or a folder above it: ``{EEG,Audio,Vision}/subject_NN_{eeg,aud,vis}.pkl``. Out: rows numbered as in
the files, training before testing, so that the protocol ``paper`` gives the published split; the column
``split_published`` names it. Only the classes are read here.

The files name no trials. Windows of three modalities are paired by their position alone, so their pairing cannot be
verified, which a note states. Four consecutive windows of a class are taken for one trial of 20 s, their group; if the
order does not allow that, all windows of the subject form one group, which only ``paper`` and protocols over subjects
can use. Prefer the raw recordings.
"""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from eavdash.data.adapters.base import Adapted, Adapter, glance, listed, search, shown
from eavdash.data.formats.eav_pickle import EMOTIONS, SHAPES, PickledWindows, outline
from eavdash.errors import RecordingError, TableError

#: Folder of each modality's files, named like the modality → column of the trial table, end of the file names.
FOLDERS = {"eeg": ("eeg", "eeg"), "audio": ("audio", "aud"), "vision": ("video", "vis")}
COLUMNS = ("subject", "trial", "label", "group", "eeg", "audio", "video", "split_published")
WINDOWS_PER_TRIAL = 4
UNVERIFIED = "pairing cannot be verified"
_NAME = re.compile(r"(?i)^subject_?0*([0-9]+)_*_(eeg|aud|vis)\.pkl$")


def find(path: Path) -> Path | None:
    """Return the folder at or below ``path`` whose EEG, Audio or Vision folders hold the pickles, or None.

    Raises:
        TableError: several folders at the same level do.
    """
    return search(path, _holds_pickles, "EAV's published pickles")


def read(root: Path) -> Adapted:
    """Read one row per window of every subject; contradictory files are a problem of their subject, and an unreadable
    or second one of its modality.
    """
    notes: list[str] = []
    files, doubled = _files(root, notes)
    rows: list[dict[str, object]] = []
    problems: dict[str, str] = {}
    faults: dict[str, dict[str, str]] = {}
    for number in sorted(files):
        subject = str(number)
        contents, unreadable = _contents(files[number], doubled.get(number, {}), subject)
        try:
            _check_alike(files[number], contents)
        except RecordingError as error:
            problems[subject] = str(error)
            continue
        if unreadable:
            problems[subject] = next(iter(unreadable.values()))
        if not contents:
            continue
        if unreadable:
            faults[subject] = unreadable
        content = next(iter(contents.values()))
        groups = _groups(content)
        if groups is None:
            notes.append(
                f"{root}: the windows of subject {subject} are not in runs of {WINDOWS_PER_TRIAL} of a class, so they "
                "cannot be assigned to trials and form one group; use the protocol paper, or one over subjects"
            )
        for n, label in enumerate((EMOTIONS[k] for k in content.classes), start=1):
            rows.append(
                {
                    **{"subject": subject, "trial": str(n), "label": label},
                    "group": groups[n - 1] if groups else "all",
                    **{c: f"{files[number][c]}#{n}" if c in contents else "" for c, _ in FOLDERS.values()},
                    "split_published": "train" if n <= len(content.train) else "test",
                }
            )
        if len(contents) > 1:
            notes.append(f"{root}: subject {subject}: {len(contents)} modalities by position alone, {UNVERIFIED}")
    if not files:
        raise TableError.at(
            root, expected="subject_01_eeg.pkl ...", found="none that can be read", remedy="copy the dataset again"
        )
    first = f"{root}: published pickles without the names of trials: {UNVERIFIED}; prefer the raw recordings"
    return Adapted(pd.DataFrame(rows, columns=list(COLUMNS)), problems, (first, *notes), faults)


ADAPTER = Adapter("eav-pickles", find, read)


def _folders(folder: Path) -> list[Path]:
    return [f for f in glance(folder)[0] if f.name.lower() in FOLDERS]


def _holds_pickles(folder: Path) -> bool:
    return any(_NAME.match(file.name) for part in _folders(folder) for file in glance(part)[1])


def _contents(
    files: dict[str, Path], doubled: dict[str, Path], subject: str
) -> tuple[dict[str, PickledWindows], dict[str, str]]:
    """The outlines of one subject's files by column; for each modality without one, the reason."""
    contents: dict[str, PickledWindows] = {}
    unreadable: dict[str, str] = {}
    for modality, (column, end) in FOLDERS.items():
        try:
            if column in doubled:
                raise RecordingError.at(
                    doubled[column],
                    expected=f"one such file of subject {subject}",
                    found="a second one",
                    remedy="remove the one that does not belong",
                )
            if column in files:
                contents[column] = outline(str(files[column]), SHAPES[end])
        except RecordingError as error:
            unreadable[modality] = str(error)
    return contents, unreadable


def _files(root: Path, notes: list[str]) -> tuple[dict[int, dict[str, Path]], dict[int, dict[str, Path]]]:
    """The file of each subject by column, and a subject's second file of a column. Other files are noted."""
    files: dict[int, dict[str, Path]] = {}
    doubled: dict[int, dict[str, Path]] = {}
    for part in _folders(root):
        column, end = FOLDERS[part.name.lower()]
        try:
            found = listed(part)[1]
        except TableError as error:
            notes.append(str(error))
            continue
        for path in found:
            match = _NAME.match(path.name)
            if not match or match[2].lower() != end:
                notes.append(f"{shown(path)}: not one of the published pickles, ignored")
            elif column in files.setdefault(int(match[1]), {}):
                doubled.setdefault(int(match[1]), {}).setdefault(column, path)
            else:
                files[int(match[1])][column] = path
    return files, doubled


def _check_alike(files: dict[str, Path], contents: dict[str, PickledWindows]) -> None:
    """Check that the modalities have the same classes in the same order.

    Raises:
        RecordingError: they do not.
    """
    columns = list(contents)
    first = contents[columns[0]]
    for column in columns[1:]:
        other = contents[column]
        if len(other.train) != len(first.train) or len(other.test) != len(first.test):
            found = f"{len(other.train)} and {len(other.test)}"
            expected = f"{len(first.train)} windows for training and {len(first.test)} for testing"
        elif (other.classes != first.classes).any():
            differing = np.flatnonzero(other.classes != first.classes)
            n = int(differing[0])
            found = f"{EMOTIONS[other.classes[n]]} ({len(differing)} such windows)"
            expected = f"{EMOTIONS[first.classes[n]]} as class of window {n + 1}"
        else:
            continue
        raise RecordingError.at(
            files[column],
            expected=f"{expected}, as in {files[columns[0]].name}",
            found=found,
            remedy="copy both files from the dataset again, or use the raw recordings",
        )


def _groups(content: PickledWindows) -> list[str] | None:
    """The source trial of each window: four consecutive windows of a class in their part; None if it is ambiguous."""
    groups: list[str] = []
    trials: dict[int, int] = {}
    before = len(content.train)
    for part in (content.classes[:before], content.classes[before:]):
        runs = [(int(label), len(list(run))) for label, run in groupby(part)]
        if len({label for label, _ in runs}) != len(runs) or any(length % WINDOWS_PER_TRIAL for _, length in runs):
            return None
        for label, length in runs:
            for k in range(length):
                trial = trials.get(label, 0) + k // WINDOWS_PER_TRIAL + 1
                groups.append(f"{EMOTIONS[label]}-{trial}")
            trials[label] = trials.get(label, 0) + length // WINDOWS_PER_TRIAL
    return groups
