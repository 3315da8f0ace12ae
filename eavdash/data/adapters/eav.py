"""EAV's folders (Lee et al. 2024, Sci. Data 11:1026) as rows of the trial table.

In: a folder that holds ``subject1`` … at any level. Out: one row per trial of every subject, listening and speaking,
and errors for each subject whose files contradict each other; other subjects are not affected.

The files of a trial are paired by their number NNN alone, which is also the 1-based index of the trial in the EEG
array and in the label matrix; the other number in the names ("Trial_TT") differs between the sound and the video of
one trial. Labels come from the label matrix and are checked against every file name; without a matrix they come from
the names. Only headers and the small label matrix are read here; SciPy reads MATLAB's format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from eavdash.data.adapters.base import Adapted, Adapter, ScannedSubject, adapted, glance, listed, search, shown
from eavdash.data.formats.eav_mat import EMOTIONS, eeg_shape, read_labels
from eavdash.errors import DataError, TableError

#: Folder of a kind of files → modality.
_OF = {"eeg": "eeg", "audio": "audio", "video": "vision"}
TRIALS = 200
TRIALS_PER_CONVERSATION = 10
COLUMNS = (
    *("subject", "trial", "label", "group", "start", "stop", "eeg", "audio", "video"),
    *("condition", "conversation"),
)

_SUBJECT = re.compile(r"(?i)^subject_?0*([0-9]+)_*$")
_MEDIA = re.compile(r"(?i)^([0-9]+)_trial_[0-9]+_(listening|speaking)_([a-z]+?)(?:_aud)?\.(mp4|wav)$")
_EEG = re.compile(r"(?i)^(?:subject_?0*([0-9]+)_*)?_?eeg(_label)?\.mat$")


@dataclass(frozen=True)
class Media:
    """A sound or video with the trial number, condition and emotion from its name."""

    path: Path
    number: int  # NNN, from 1
    condition: str
    emotion: str


class EavSubject(ScannedSubject):
    """One subject, with short ways to record what is wrong."""

    def fail(self, where: Path, expected: str, found: str, remedy: str, modality: str = "") -> None:
        """Record a contradiction in this subject's files, or in those of one modality."""
        self.add(DataError.at(where, expected=expected, found=found, remedy=remedy), modality)

    def ignore(self, path: Path) -> None:
        """Record a file or folder that is not read."""
        self.notes.append(f"{shown(path)}: not part of EAV, ignored")


def eav_root(path: str | Path) -> Path | None:
    """Return the folder at or below ``path`` that holds EAV's subject folders, or None.

    Raises:
        TableError: several folders at the same level hold subjects.
    """
    return search(Path(path), _holds_subjects, "EAV subjects")


def scan(root: str | Path) -> list[EavSubject]:
    """Scan every subject below an EAV root, by number, including those with faulty files."""
    folders: dict[int, list[Path]] = {}
    for folder in listed(Path(root))[0]:
        if match := _SUBJECT.match(folder.name):
            folders.setdefault(int(match[1]), []).append(folder)
    return [_scan_subject(number, folders[number]) for number in sorted(folders)]


def read(root: Path) -> Adapted:
    """Read the trials of an EAV root; a subject with an error keeps the rows derived from its file names."""
    found = adapted(scan(root), COLUMNS, ", which `eavdash check` lists")
    further = tuple(
        f"{shown(folder)}: further EAV subjects, not read; move them to the folder of the others to read them"
        for folder in glance(root)[0]
        if not _SUBJECT.match(folder.name) and _holds_subjects(folder)
    )
    return replace(found, notes=found.notes + further)


ADAPTER = Adapter("eav", eav_root, read)


def _holds_subjects(folder: Path) -> bool:
    return any(_SUBJECT.match(f.name) and any(True for _ in _parts(_inner(f))) for f in glance(folder)[0])


def _inner(folder: Path) -> Path:
    """The folder of a subject's parts: its own or, if it was unzipped into a folder of the same name, the inner one."""
    if not any(True for _ in _parts(folder)):
        same = _SUBJECT.match(folder.name)
        for child in glance(folder)[0]:
            match = _SUBJECT.match(child.name)
            if match and same and match[1] == same[1]:
                return child
    return folder


def _parts(folder: Path) -> Iterator[tuple[str, Path]]:
    """The subject's EEG, audio and video folders, in any capitalisation."""
    for child in glance(folder)[0]:
        if child.name.lower() in ("eeg", "audio", "video"):
            yield child.name.lower(), child


def _files(subject: EavSubject, folder: Path | None, modality: str = "") -> list[Path]:
    """The files of one of the subject's folders; a folder that cannot be listed is an error of its modality."""
    try:
        folders, files = listed(folder) if folder else ([], [])
    except TableError as error:
        subject.add(error, modality)
        return []
    for inside in folders:
        subject.ignore(inside)
    return files


def _scan_subject(number: int, folders: list[Path]) -> EavSubject:
    subject = EavSubject(str(number), _inner(folders[0]))
    if len(folders) > 1:
        names = ", ".join(f.name for f in folders)
        subject.fail(folders[0].parent, f"one folder of subject {number}", names, "remove or rename the others")
    parts: dict[str, Path] = {}
    for kind, folder in _parts(subject.folder):
        if kind in parts:
            names = f"{parts[kind].name}, {folder.name}"
            subject.fail(subject.folder, f"one {kind} folder", names, "put their files into one folder", _OF[kind])
        parts.setdefault(kind, folder)
    if not parts:
        _files(subject, subject.folder)  # records the reason if it cannot be listed
    eeg, trials, labels = _scan_eeg(subject, parts.get("eeg"))
    media = {kind: _scan_media(subject, parts.get(kind), kind) for kind in ("video", "audio")}
    _check_names(subject, media, labels, trials)
    known = dict(enumerate(labels, start=1)) if labels else {}
    for files in media.values():
        for n, file in files.items():
            if not labels or n > len(labels):
                known.setdefault(n, (file.condition, file.emotion))
    for n in sorted(known):
        condition, emotion = known[n]
        conversation = str((n - 1) // TRIALS_PER_CONVERSATION)
        paths = {kind: str(files[n].path) if n in files else "" for kind, files in media.items()}
        subject.rows.append(
            {
                **{"subject": subject.subject, "trial": str(n), "label": emotion, "group": conversation},
                **{"start": np.nan, "stop": np.nan, "eeg": f"{eeg}#{n}" if eeg and n <= trials else "", **paths},
                **{"condition": condition, "conversation": conversation},
            }
        )
    if not known and not subject.errors:
        subject.fail(subject.folder, "recordings in EEG, Audio and Video", "none", "copy the subject's files again")
    if known and len(known) < TRIALS:
        subject.notes.append(f"{subject.folder}: {len(known)} trials where EAV has {TRIALS}")
    return subject


def _scan_eeg(subject: EavSubject, folder: Path | None) -> tuple[Path | None, int, list[tuple[str, str]] | None]:
    """The EEG file (None if missing or unreadable), its number of trials, and the labels of the label matrix.

    Sounds and videos have their labels in their names too, so that what is wrong here concerns the EEG alone.
    """
    files: dict[bool, list[Path]] = {False: [], True: []}
    for path in _files(subject, folder, "eeg"):
        match = _EEG.match(path.name)
        if not match:
            subject.ignore(path)
            continue
        if match[1] and match[1] != subject.subject:
            expected = f"a file of subject {subject.subject}"
            subject.fail(path, expected, f"subject {match[1]}'s", "move it to its folder", "eeg")
        files[bool(match[2])].append(path)
    for paths in files.values():
        if len(paths) > 1:
            names = ", ".join(p.name for p in paths)
            subject.fail(paths[0].parent, "one such file", names, "remove the one that does not belong", "eeg")
    eeg: Path | None = files[False][0] if files[False] else None
    trials, labels = 0, None
    try:
        if files[True]:
            labels = read_labels(files[True][0])
        elif eeg:
            subject.notes.append(f"{eeg}: no label file in its folder, labels are taken from the file names")
    except DataError as error:
        subject.add(error, "eeg")
    try:
        trials = eeg_shape(eeg)[2] if eeg else 0
    except DataError as error:
        subject.add(error, "eeg")
        eeg = None
    if eeg and labels and len(labels) != trials:
        found = f"{len(labels)} labels in {files[True][0].name}"
        expected = f"a label for each of its {trials} trials"
        subject.fail(eeg, expected, found, "copy both files from the dataset again", "eeg")
    return eeg, trials, labels


def _scan_media(subject: EavSubject, folder: Path | None, kind: str) -> dict[int, Media]:
    """The sounds or videos of a subject by number NNN."""
    suffix = {"audio": "wav", "video": "mp4"}[kind]
    files: dict[int, Media] = {}
    for path in _files(subject, folder, _OF[kind]):
        match = _MEDIA.match(path.name)
        if not match or match[4].lower() != suffix:
            subject.ignore(path)
            continue
        file = Media(path, int(match[1]), match[2].capitalize(), match[3].capitalize())
        if file.emotion not in EMOTIONS:
            subject.fail(path, f"one of {', '.join(EMOTIONS)}", file.emotion, "correct the file's name", _OF[kind])
        elif file.number in files:
            found = f"{files[file.number].path.name} too"
            expected = f"one {kind} file of trial {file.number}"
            subject.fail(path, expected, found, "remove the one that does not belong", _OF[kind])
        else:
            files[file.number] = file
    return files


def _check_names(
    subject: EavSubject, media: dict[str, dict[int, Media]], labels: list[tuple[str, str]] | None, trials: int
) -> None:
    """Record file names that contradict the label matrix or each other; drop sounds of listening trials."""
    last = len(labels) if labels else trials
    outside: list[tuple[Path, str, str]] = []
    against: list[tuple[Path, str, str]] = []
    first: dict[int, Media] = {}
    for files in media.values():
        for file in files.values():
            says = f"{file.condition} {file.emotion}"
            if file.number < 1 or (last and file.number > last):
                source = "label file" if labels else "EEG file"
                outside.append((file.path, f"a number from 1 to {last} (the {source}'s trials)", str(file.number)))
            elif labels and (file.condition, file.emotion) != labels[file.number - 1]:
                row = " ".join(labels[file.number - 1])
                against.append((file.path, f"{row} (trial {file.number} of the label file)", says))
            elif (other := first.setdefault(file.number, file)) and (other.condition, other.emotion) != (
                file.condition,
                file.emotion,
            ):
                against.append((file.path, f"{other.condition} {other.emotion} as in the name {other.path.name}", says))
    for group, remedy in ((outside, "remove or rename it"), (against, "find out which is right and correct the other")):
        if group:
            path, expected, found = group[0]
            more = f" ({len(group) - 1} more such files)" if len(group) > 1 else ""
            subject.fail(path, expected, found + more, remedy)
    for number in [n for n, file in media["audio"].items() if file.condition == "Listening"]:
        subject.notes.append(f"{media['audio'].pop(number).path}: a sound of a listening trial, ignored")
