"""What an adapter is: a dataset's own layout in, rows of the trial table out.

In: a folder that somebody points at. Out: :class:`Adapted`, one row per trial, and for each subject that cannot be used
the sentence that says why: one bad subject never stops the others. docs/adapters.md shows how to write one.

The walk over folders that every adapter needs is here as well. It is bounded in depth and in number, sees each folder
once (so links in a circle end), and never depends on the order in which a disk lists its entries.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from eavdash.errors import EavdashError, TableError

#: How far below the given folder a dataset is looked for, and in how many folders at most.
DEPTH = 8
FOLDERS = 10_000


@dataclass(frozen=True, eq=False)
class Adapted:
    """What an adapter makes of a dataset.

    ``frame``: one row per trial with columns subject, trial, label and at least one of eeg, audio, video (absolute path
    or relative to the root; "" = not recorded); group, start, stop (seconds, NaN = the file's own) where needed;
    further columns as filters. ``problems``: subject → the sentence that says why it cannot be used. ``notes``: what is
    worth knowing.
    """

    frame: pd.DataFrame
    problems: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Adapter:
    """One layout: ``find(path)`` gives the dataset's root at or below a folder or None, ``read(root)`` its trials.

    ``find`` is asked about every folder that anybody opens: it looks at names, not into recordings.
    """

    kind: str
    find: Callable[[Path], Path | None]
    read: Callable[[Path], Adapted]


def search(path: Path, holds: Callable[[Path], bool], what: str) -> Path | None:
    """The folder nearest to ``path``, at or below it, of which ``holds`` is true; None when there is none.

    Raises:
        TableError: two folders of the same level, so that it is not clear which is meant.
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
            for child in _folders(folder):
                identity = _identity(child)
                if identity not in seen and len(seen) < FOLDERS:
                    seen.add(identity)
                    below.append(child)
        level = below
    return None


def listed(folder: Path) -> tuple[list[Path], list[Path]]:
    """The folders and the files of a folder by name, without hidden ones. A link that leads nowhere is a file.

    Raises:
        TableError: it cannot be listed.
    """
    folders: list[Path] = []
    files: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                if not entry.name.startswith((".", "__MACOSX")):
                    (folders if _is_folder(entry) else files).append(folder / entry.name)
    except OSError as error:
        raise unlistable(folder, error) from error
    return folders, files


def unlistable(folder: Path, error: OSError) -> EavdashError:
    """The error for a folder that cannot be looked into."""
    found = error.strerror or str(error)
    return TableError.at(
        shown(folder), expected="a folder that can be read", found=found, remedy="mend its permissions or the path"
    )


def check_name(path: Path) -> None:
    """Make sure that a path can be stored and shown.

    Raises:
        TableError: it holds bytes that are not UTF-8.
    """
    if shown(path) != str(path):
        raise TableError.at(shown(path), expected="a path in UTF-8", found="other bytes", remedy="rename the folder")


def shown(path: str | Path) -> str:
    """A path as it can be printed and stored: bytes that are not UTF-8 stand as \\xNN."""
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # not even a name that a disk can have
        return str(path).encode("utf-8", "backslashreplace").decode()


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, real ones before links; none where it cannot be listed."""
    try:
        return sorted(listed(folder)[0], key=lambda f: (f.is_symlink(), f.name))
    except (TableError, OSError):
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def _identity(folder: Path) -> tuple[int, int] | str:
    try:
        found = folder.stat()
    except OSError:
        return str(folder)
    return (found.st_dev, found.st_ino) if found.st_ino else str(folder)
