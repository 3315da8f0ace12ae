"""BIDS EEG datasets (Pernet et al. 2019, Sci. Data 6:103) as rows of the trial table.

In: a folder with ``dataset_description.json`` and ``sub-*``, at any level. Out: one row per event of ``*_events.tsv``
that has a trial_type, which is its label. The trial lasts from the event's onset for its duration or, without one,
until the next such event (the last one: until the end of the recording). A run without such events is one trial,
labelled by its task. A trial is named by its run and the event's line; its group is the run if a subject has several,
else the trial itself.

Delegated to MNE-BIDS: parsing names into entities and finding sidecars. Folders are listed here, so that a recording
whose name MNE-BIDS rejects, or a broken link, is reported rather than ignored. The recordings themselves are opened
only when they are read, and by `eavdash check`.
"""

from __future__ import annotations

import csv
import math
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eavdash.data.adapters.base import Adapted, Adapter, ScannedSubject, adapted, glance, listed, search, shown
from eavdash.data.formats.companions import referenced_files
from eavdash.data.formats.delimited import csv_rows
from eavdash.data.recording import stamp
from eavdash.errors import DataError, EavdashError, RecordingError, TableError
from eavdash.store.quoting import reason_of
from eavdash.store.readable import open_readable

COLUMNS = (
    *("subject", "trial", "label", "group", "start", "stop", "eeg"),
    *("session", "task", "run", "acquisition"),
)
EXTENSIONS = (".edf", ".bdf", ".vhdr", ".set")
#: Events written by recorders and MNE that are not trials.
_NO_TRIAL = re.compile(r"BAD[_ ].*|bad_.*|EDGE .*|(?i:boundary|new segment.*)")
_NOTHING = ("", "n/a", "nan")


@dataclass
class BidsSubject(ScannedSubject):
    """One subject, with the run of each row."""

    runs: list[str] = field(default_factory=list)


def find(path: Path) -> Path | None:
    """Return the BIDS root at or below ``path``, or None.

    Raises:
        TableError: two folders of the same level are BIDS roots.
    """
    return search(path, _is_root, "a BIDS dataset")


def read(root: Path) -> Adapted:
    """Read the trials of every subject; faulty files make only their own subject unusable.

    Raises:
        TableError: no subject has an EEG recording, or MNE-BIDS is not installed.
    """
    subjects = [_scan_subject(root, folder) for folder in listed(root)[0] if folder.name.startswith("sub-")]
    if not any(s.rows or s.errors for s in subjects):
        raise TableError.at(
            root,
            expected=f"EEG recordings (sub-*/eeg/*_eeg with {', '.join(EXTENSIONS)}) of at least one subject",
            found=f"none of {len(subjects)} subjects",
            remedy="point at a BIDS dataset of EEG",
        )
    return adapted(subjects, COLUMNS, " in this subject")


ADAPTER = Adapter("bids", find, read)


def _is_root(folder: Path) -> bool:
    folders, files = glance(folder)
    described = any(file.name == "dataset_description.json" for file in files)
    return described and any(child.name.startswith("sub-") for child in folders)


def _scan_subject(root: Path, folder: Path) -> BidsSubject:
    subject = BidsSubject(shown(folder.name.removeprefix("sub-")), folder)
    seen: dict[str, Path] = {}
    for file in _recordings(subject):
        try:
            entities, sidecars = _parse_name(root, file)
            stem = file.stem.removesuffix("_eeg").removeprefix(f"{folder.name}_") or "eeg"
            if stem in seen:
                found = f"{seen[stem].name} too"
                raise DataError.at(file, expected=f"one recording of {stem}", found=found, remedy="remove one of them")
            seen[stem] = file
            _check_file(file)
            further = {c: entities[c] or "" for c in ("session", "task", "run", "acquisition")}
            for row in _trials(subject, file, stem, further["task"] or "eeg", sidecars["events"]):
                subject.rows.append({"subject": subject.subject, "eeg": str(file), **row, **further})
                subject.runs.append(stem)
            _note_channels(subject, sidecars["channels"])
            if sidecars["eeg"] is None:
                subject.notes.append(f"{file}: no _eeg.json in its folder or above")
        except EavdashError as error:
            subject.add(error, "eeg")
    if not subject.rows and not subject.errors:
        subject.notes.append(f"{shown(folder)}: no EEG recording, subject left out")
    several = len(set(subject.runs)) > 1
    for row, run in zip(subject.rows, subject.runs, strict=True):
        row["group"] = run if several else ""
    return subject


def _recordings(subject: BidsSubject) -> list[Path]:
    """The recordings in the subject's eeg folders, of all sessions."""
    files: list[Path] = []
    try:
        for folder in (subject.folder, *(f for f in listed(subject.folder)[0] if f.name.startswith("ses-"))):
            for part in listed(folder)[0]:
                if part.name == "eeg":
                    files += [f for f in listed(part)[1] if f.stem.endswith("_eeg") and f.suffix.lower() in EXTENSIONS]
    except TableError as error:
        subject.add(error, "eeg")
    return files


def _parse_name(root: Path, file: Path) -> tuple[dict[str, str | None], dict[str, Path | None]]:
    """The entities of a recording's name, and its sidecars events, channels and eeg, None if missing.

    Raises:
        TableError: MNE-BIDS rejects the name, or is not installed.
    """
    if shown(file) != str(file):
        raise TableError.at(shown(file), expected="a name in UTF-8", found="other bytes", remedy="rename the file")
    try:
        import mne_bids
    except ImportError as error:
        raise TableError.at(
            root, expected="MNE-BIDS, which reads BIDS", found=str(error), remedy="run: pip install mne-bids"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            path = mne_bids.get_bids_path_from_fname(file, verbose="ERROR")
            path.root = root
            sidecars = {
                suffix: path.find_matching_sidecar(suffix=suffix, extension=extension, on_error="ignore")
                for suffix, extension in (("events", ".tsv"), ("channels", ".tsv"), ("eeg", ".json"))
            }
        except Exception as error:  # MNE-BIDS raises various errors
            found = " ".join(str(error).split())
            raise TableError.at(
                file, expected="a name that BIDS allows", found=found, remedy="rename it (see the BIDS validator)"
            ) from error
    if path.subject != file.relative_to(root).parts[0].removeprefix("sub-"):
        raise TableError.at(
            file, expected="a file of the subject of its folder", found=f"sub-{path.subject}'s", remedy="move it"
        )
    return path.entities, {k: Path(v) if v else None for k, v in sidecars.items()}


def _check_file(file: Path) -> None:
    """Check that a recording exists, is readable, and has its companion files; its content is not checked.

    Raises:
        RecordingError: a check fails.
    """
    stamp(str(file))
    with (
        RecordingError.from_os(file, expected="a file that can be read", remedy="fix its permissions"),
        open_readable(file) as stream,
    ):
        stream.read(1)
    if file.suffix.lower() == ".vhdr":
        for other in referenced_files(file):
            stamp(str(other))


def _trials(subject: BidsSubject, file: Path, stem: str, task: str, events: Path | None) -> list[dict[str, object]]:
    """The trials of one recording: trial, label, start and stop of each."""
    rows = _events(subject, events) if events else []
    onsets = sorted({onset for _, onset, _, _ in rows})
    trials: list[dict[str, object]] = []
    for line, onset, duration, label in rows:
        later = next((other for other in onsets if other > onset), math.nan)
        stop = onset + duration if duration > 0 else later
        trials.append({"trial": f"{stem}_{line}", "label": label, "start": onset, "stop": stop})
    if not trials:
        why = "no events file" if events is None else f"no event with a trial_type in {events.name}"
        subject.notes.append(f"{file}: {why}, so the whole recording is one trial of {task}")
        trials.append({"trial": stem, "label": task, "start": math.nan, "stop": math.nan})
    return trials


def _events(subject: BidsSubject, path: Path) -> list[tuple[int, float, float, str]]:
    """Line (from 1 below the header), onset, duration (0 if missing) and trial_type of the usable events."""
    usable, skipped, marks = [], 0, 0
    for line, row in enumerate(_tsv(path), start=1):
        label = str(row.get("trial_type") or "").strip()
        if label.lower() in _NOTHING:
            continue
        if _NO_TRIAL.fullmatch(label):
            marks += 1
            continue
        onset, duration = _number(row.get("onset")), _number(row.get("duration"))
        if math.isfinite(onset) and onset >= 0:
            usable.append((line, onset, duration if math.isfinite(duration) and duration > 0 else 0.0, label))
        else:
            skipped += 1
    if marks:
        subject.notes.append(f"{path}: {marks} events that mark the recording (boundaries, bad segments), ignored")
    if skipped:
        subject.notes.append(f"{path}: {skipped} events without an onset in the recording, ignored")
    return usable


def _note_channels(subject: BidsSubject, path: Path | None) -> None:
    """Note which channels the dataset marks as bad; they are read unchanged."""
    if path is None:
        subject.notes.append(f"{subject.folder}: no channels.tsv, so bad channels are unknown")
        return
    bad = [str(row.get("name")) for row in _tsv(path) if str(row.get("status") or "").strip().lower() == "bad"]
    if bad:
        subject.notes.append(f"{path}: marked as bad: {', '.join(bad)}; set eeg.bad_channels to replace bad ones")


def _tsv(path: Path) -> list[dict[str, Any]]:
    """The rows of a BIDS table.

    Raises:
        TableError: it cannot be read.
    """
    try:
        header, *rows = [row for _, row in csv_rows(path, delimiter="\t", quoting=csv.QUOTE_NONE) if row] or [[]]
        return [dict(zip(header, row, strict=False)) for row in rows]
    except (UnicodeDecodeError, OSError) as error:
        found = getattr(error, "strerror", None) or reason_of(error, path)
        raise TableError.at(
            path, expected="a table that can be read", found=found, remedy="copy the file again"
        ) from error


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan
