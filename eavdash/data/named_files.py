"""The files that a trial table names: their paths, and those that are not there.

In: entries of the path columns. Out: absolute paths as this machine writes them, and sentences about missing files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG

import pandas as pd

from eavdash.data.recording import is_there, split_item
from eavdash.errors import OutsideError, sentence
from eavdash.store.readable import check_readable, data_folders, is_readable
from eavdash.text import natural_order, printable

#: Expectation in the sentence of :func:`missing_file`.
NAMED_RECORDING = "the recording named in the trial table"
#: Remedy in that sentence, where the table can still be corrected.
COPY_OR_CORRECT = "copy the file there or correct the table"
#: Folders that :func:`folders_with` names at most.
NAMED = 3
_WINDOWS = re.compile(r"\\|(^|/)[A-Za-z]:/")


def file_of(entry: str) -> str:
    """Return the file that an entry of a path column names: ``x.mat`` for ``x.mat#41``."""
    return split_item(entry)[0]


def absolute(root: Path, entry: str) -> str:
    """Return a path of a table in ``root`` as an absolute one."""
    # Fast path: a table of all of EAV has 20,000 paths.
    plain = entry.startswith("/") and "//" not in entry and "/./" not in entry
    return entry if plain or not entry else str(root / entry)


def with_slashes(entry: str) -> str:
    """Return a path that Windows wrote, if there is a file by that name with slashes and none as it is written."""
    if "\\" not in entry:
        return entry
    changed = str(Path(entry.replace("\\", "/")))
    here, there = (is_readable(file) and os.path.exists(file) for file in map(file_of, (entry, changed)))  # noqa: PTH110
    return changed if there and not here else entry


def missing_files(frame: pd.DataFrame, columns: Sequence[str], remedy: str = COPY_OR_CORRECT) -> dict[str, str]:
    """Return, per subject, a sentence about the first missing file and the number of further ones.

    A file that may not be read counts as missing.
    """
    there: dict[str, bool] = {}
    restricted, folders = data_folders() is not None, dict[str, bool]()
    missing: dict[str, list[str]] = {}
    for column in columns:
        cells = (frame[c].to_numpy(dtype=object) for c in ("subject", column))
        for subject, entry in zip(*cells, strict=True):
            file = file_of(entry)
            if file and file not in there:
                may = not restricted or is_readable(file, folders)
                there[file] = may and is_there(file)
            if file and not there[file]:
                files = missing.setdefault(subject, [])
                if file not in files:
                    files.append(file)
    return {
        subject: missing_file(files[0], remedy) + (f" ({len(files) - 1} more are missing.)" if len(files) > 1 else "")
        for subject, files in missing.items()
    }


def missing_file(path: str, remedy: str = COPY_OR_CORRECT) -> str:
    """Return the sentence about a recording of the table that is missing, not accessible, or that may not be read."""
    found = "no file"
    try:
        check_readable(path)
    except OutsideError as error:
        return str(error)
    try:
        found = found if S_ISREG(Path(path).stat().st_mode) else "a folder, a pipe or a device"
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or str(error)
    if _WINDOWS.search(path):
        found, remedy = f"{found}; the path is one of Windows", "write it as on this machine, with slashes"
    return sentence(path, NAMED_RECORDING, found, remedy)


def folders_with(path: Path, names: Sequence[str]) -> str:
    """Return as a remedy the folders directly in a folder that have a trial table; empty if there is none."""
    found = natural_order({printable(str(file.parent)) for name in names for file in path.glob(f"*/{name}")})
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f"give a folder with a trial table, such as {', '.join(found[:NAMED])}{more}" if found else ""
