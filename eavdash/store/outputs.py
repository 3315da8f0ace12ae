"""Files and folders that a user has named for what a command writes.

They are checked before any work, by writing: permissions alone do not tell what a disk or another system allows. What
fails later (a disk that fills up) says what helps there: nothing of a study is lost.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from eavdash.errors import UsageError
from eavdash.store.atomic import write_atomic
from eavdash.store.names import expanded

REMEDY = "choose another place, fix the permissions, or free some disk space"


def output_folder(folder: str | Path) -> Path:
    """Return a folder that can be written to; it is made if it is missing.

    Raises:
        UsageError: it cannot be made, or not be written to.
    """
    folder = expanded(folder)
    with UsageError.from_os(folder, expected="a folder that can be written to", remedy=REMEDY):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    return folder


def output_file(file: str | Path) -> Path:
    """Return a file that can be written; its folder is made if it is missing.

    Raises:
        UsageError: it is a folder, a link, a device or a pipe, or :func:`output_folder` of its folder.
    """
    file = expanded(file)
    _check_kind(file)
    output_folder(file.parent)
    return file


def write_output(file: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file as :func:`eavdash.store.atomic.write_atomic`.

    Raises:
        UsageError: something that is no file has its name. TrainingError: it cannot be written; an existing file is
            unchanged.
    """
    _check_kind(file)
    write_atomic(file, write, remedy=REMEDY)


def _check_kind(file: Path) -> None:
    """Check that a name is free or an ordinary file's: writing replaces what has it, be it ``/dev/null``."""
    with UsageError.from_os(file, expected="a file that can be written", remedy=REMEDY):
        try:
            mode = os.lstat(file).st_mode
        except FileNotFoundError:
            return
        except NotADirectoryError:
            return  # said of its folder
    if stat.S_ISDIR(mode):
        raise UsageError.at(file, expected="a file", found="a folder", remedy="name a file in it")
    if stat.S_ISLNK(mode):
        raise UsageError.at(file, expected="a file", found="a link", remedy="name the file that it leads to")
    if not stat.S_ISREG(mode):
        raise UsageError.at(file, expected="a file", found="a device or a pipe", remedy="name an ordinary file")
