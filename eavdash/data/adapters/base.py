"""The adapter interface: from a dataset's own layout to rows of the trial table.

In: a folder chosen by the user. Out: :class:`Adapted`, one row per trial, and for each unusable subject a sentence with
the reason: one bad subject never affects the others. docs/adapters.md shows how to write one.

The search through folders that every adapter needs is here as well. It is bounded in depth and number, visits each
folder once (so cyclic links end), and does not depend on the order in which a disk lists its entries.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from eavdash.errors import EavdashError, TableError, UsageError
from eavdash.store.readable import check_readable
from eavdash.text import is_utf8

#: Depth below the given folder to which a dataset is searched for, and the maximum number of folders visited.
DEPTH = 8
FOLDERS = 10_000


@dataclass(frozen=True, eq=False)
class Adapted:
    """A dataset as read by an adapter.

    ``frame``: one row per trial with columns subject, trial, label and at least one of eeg, audio, video (absolute path
    or relative to the root; "" = not recorded); group, start, stop (seconds, NaN = the file's own) where needed;
    further columns as filters. ``problems``: subject → a sentence with the reason why it cannot be used. ``notes``:
    further remarks. ``faults``: subject → modality → such a sentence, for the subjects of ``problems`` of which only
    these modalities cannot be used.
    """

    frame: pd.DataFrame
    problems: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    faults: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass
class ScannedSubject:
    """One subject's rows, the ``errors`` that make them unusable, and ``notes``.

    ``concerns``: for each error the modality whose recordings it is about; "" for one about the whole subject.
    """

    subject: str
    folder: Path
    rows: list[dict[str, object]] = field(default_factory=list)
    errors: list[EavdashError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    concerns: list[str] = field(default_factory=list)

    def add(self, error: EavdashError, modality: str = "") -> None:
        """Record an error, which makes the whole subject unusable or only its recordings of one modality."""
        self.errors.append(error)
        self.concerns.append(modality)


def adapted(subjects: Sequence[ScannedSubject], columns: Sequence[str], further: str) -> Adapted:
    """Return the dataset of scanned subjects; ``further``: what is said of a subject's errors after the first."""
    problems, faults = dict[str, str](), dict[str, dict[str, str]]()
    for s in subjects:
        if s.errors:
            problems[s.subject] = _first(s.errors, further)
        if s.errors and s.rows and all(s.concerns):
            of = {m: [e for e, about in zip(s.errors, s.concerns, strict=True) if about == m] for m in s.concerns}
            faults[s.subject] = {modality: _first(errors, further) for modality, errors in of.items()}
    frame = pd.DataFrame([row for s in subjects for row in s.rows], columns=list(columns))
    return Adapted(frame, problems, tuple(note for s in subjects for note in s.notes), faults)


def _first(errors: Sequence[EavdashError], further: str) -> str:
    more = f" ({len(errors) - 1} more{further}.)" if len(errors) > 1 else ""
    return f"{errors[0]}{more}"


@dataclass(frozen=True)
class Adapter:
    """One layout: ``find(path)`` gives the dataset's root at or below a folder or None, ``read(root)`` its trials.

    ``find`` is called for every folder that a user opens, so it checks names and opens no recordings.
    """

    kind: str
    find: Callable[[Path], Path | None]
    read: Callable[[Path], Adapted]


def search(path: Path, holds: Callable[[Path], bool], what: str) -> Path | None:
    """Return the nearest folder at or below ``path`` for which ``holds`` is true, or None.

    Raises:
        TableError: several folders at the same level match.
    """
    level, seen = [path], {_identity(path)}
    for _ in range(DEPTH + 1):
        found = [folder for folder in level if holds(folder)]
        if len(found) > 1:
            raise TableError.at(
                shown(path),
                expected=f"one folder with {what}",
                found=f"{len(found)} ({', '.join(map(shown, found))})",
                remedy="point at one of them",
            )
        if found:
            return found[0]
        below = []
        for folder in level:
            for child in sorted(glance(folder)[0], key=lambda f: (f.is_symlink(), f.name)):  # links last
                identity = _identity(child)
                if identity not in seen and len(seen) < FOLDERS:
                    seen.add(identity)
                    below.append(child)
        level = below
    return None


def listed(folder: Path) -> tuple[list[Path], list[Path]]:
    """List a folder's subfolders and files by name, without hidden ones. A broken link counts as a file.

    Raises:
        TableError: it cannot be listed, or may not be read.
    """
    check_readable(folder)
    folders: list[Path] = []
    files: list[Path] = []
    with listing(folder), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if not entry.name.startswith((".", "__MACOSX")):
                (folders if _is_folder(entry) else files).append(folder / entry.name)
    return folders, files


def glance(folder: Path) -> tuple[list[Path], list[Path]]:
    """List a folder as :func:`listed`; nothing if it cannot be listed."""
    try:
        return listed(folder)
    except TableError:
        return [], []


def listing(folder: Path) -> AbstractContextManager[None]:
    """Context manager that raises TableError for a folder that cannot be listed."""
    return TableError.from_os(shown(folder), expected="a readable folder", remedy="fix its permissions or the path")


def check_name(path: Path) -> None:
    """Make sure that a path, and the one that its links lead to, can be stored and shown.

    Raises:
        UsageError: one holds bytes that are not UTF-8.
    """
    for name in (str(path), resolved(path)):
        if not is_utf8(name):
            raise UsageError.at(
                shown(name), expected="a path in UTF-8", found="other bytes", remedy="rename the folder"
            )


def resolved(path: Path) -> str:
    """Return a path without links; itself if it is impossible."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return str(path)


def shown(path: str | Path) -> str:
    """Return a path as it can be printed and stored, with bytes that are not UTF-8 as \\xNN."""
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # not a valid file name
        return str(path).encode("utf-8", "backslashreplace").decode()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # cyclic links
        return False


def _identity(folder: Path) -> tuple[int, int] | str:
    try:
        found = folder.stat()
    except OSError:
        return str(folder)
    return (found.st_dev, found.st_ino) if found.st_ino else str(folder)
