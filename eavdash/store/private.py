"""Folders and files that only their owner may read: copies of recordings, and what is computed from them.

A recording that only one user may read must not become readable by all through a cache. Folders get the mode 0700 and
files 0600, whatever the umask is; the files of studies, which a group may share, keep the modes of the umask.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from eavdash.errors import DataError
from eavdash.store.own_files import open_own, refuse_link

FOLDER, FILE = 0o700, 0o600
_NAME = ".cache"
_OURS = (_NAME, ".datasets", ".tasks")


def cache_folder(root: Path) -> Path:
    """Return the cache of a folder: ``.cache``, or ``.cache-<user id>`` if that is a link or another user's.

    Modes are changed and entries deleted in a cache, which must not happen to what a link leads to.
    """
    usual = root / _NAME
    return usual if not usual.is_symlink() and _is_mine(usual) else root / f"{_NAME}-{os.geteuid()}"


def private_folder(top: Path, *parts: str) -> Path:
    """Return the folder ``top/parts``, made if needed, that only its owner may read.

    A ``top`` of ours that others could read, as earlier versions made it, is closed with all that is in it.

    Raises:
        DataError: it belongs to another user, or is a link to another folder. OSError: it cannot be made.
    """
    top.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        top.mkdir(mode=FOLDER)
    _refuse_link(top)
    if not _is_mine(top):
        raise DataError.at(
            top,
            expected="a folder of your own",
            found=f"one of the user with the id {top.stat().st_uid}",
            remedy="choose another folder with --checkpoints, or ask its owner to remove it",
        )
    # A folder with another name was given by a caller, who may keep other things in it.
    if top.name.startswith(_OURS) and stat.S_IMODE(top.stat().st_mode) & 0o077:
        close_to_others(top)
    folder = top
    for part in parts:
        folder = folder / part
        folder.mkdir(mode=FOLDER, exist_ok=True)
        _refuse_link(folder)
    return folder


def _refuse_link(folder: Path) -> None:
    with DataError.from_os(folder, expected="a folder of your own", remedy="remove the link"):
        refuse_link(folder)


def private_file(path: Path) -> Path:
    """Make ``path`` an empty file that only its owner may read, unless it exists; for libraries that write by name.

    Raises:
        OSError: it cannot be made, or is a link or another kind of file.
    """
    os.close(open_own(path, os.O_RDONLY | os.O_CREAT, FILE))
    return path


def close_to_others(top: Path) -> None:
    """Give a folder and all that is in it private modes; what vanishes meanwhile or cannot have modes is skipped."""
    _close(top, FOLDER)  # first: then nothing below it can be reached
    for folder, folders, files in os.walk(top):
        for names, mode in ((folders, FOLDER), (files, FILE)):
            for name in names:
                _close(Path(folder, name), mode)


def _close(path: Path, mode: int) -> None:
    with contextlib.suppress(OSError):
        found = path.lstat().st_mode
        if not stat.S_ISLNK(found) and stat.S_IMODE(found) & 0o077:
            path.chmod(mode)


def _is_mine(folder: Path) -> bool:
    """Return True if a folder is this user's or does not exist.

    Some network file systems show other user ids than the system has: there it is the owner of a new file that counts.
    """
    try:
        owner = folder.stat().st_uid
    except OSError:
        return True  # missing, or reported by the one that uses it
    if owner == os.geteuid():
        return True
    try:
        with tempfile.TemporaryFile(dir=folder.parent) as probe:
            return os.fstat(probe.fileno()).st_uid == owner
    except OSError:
        return False
