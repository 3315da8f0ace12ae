"""The folders that the app may read: those it was started with, those of known datasets, and those allowed on a page.

In: the checkpoints folder, refused paths. Out: the data folders of this process (:mod:`eavdash.store.readable`), and
what the button that adds one does. It works only for who has the token, and only if the app is served on this computer
alone; elsewhere a person who reaches the app need not be its owner.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from eavdash.errors import EavdashError, OutsideError, UsageError
from eavdash.store import datasets
from eavdash.store.private import cache_folder
from eavdash.store.readable import (
    VARIABLE,
    add_data_folders,
    check_readable,
    data_folders,
    is_readable,
    lent,
    outermost,
    set_data_folders,
)
from eavdash.ui import actions, edge

if TYPE_CHECKING:
    from eavdash.data.table import TrialTable


MOST_FOLDERS = 200  # of a dataset


def start(root: Path) -> None:
    """Let the app read the folders of known datasets, and what it writes itself; by default also the current folder.

    What a study or another document says adds nothing: anybody may have written it.
    """
    if VARIABLE not in os.environ:
        set_data_folders([Path.cwd()])
    own = [str(root / ".datasets"), str(cache_folder(root) / "videos")]
    known = [folder for folder in own if os.path.realpath(folder) == folder]  # no links that came with the folder
    with contextlib.suppress(EavdashError):  # reported by the dataset field
        known += [folder for dataset in datasets.list_datasets(root) for folder in dataset.trusted]
    add_data_folders(known)


def remember(root: Path, path: str, table: TrialTable) -> None:
    """Keep the folders of a dataset whose entry in the list has none that are trusted; all of them can be read now."""
    try:
        entry = next((d for d in datasets.list_datasets(root) if d.path == path and not d.trusted), None)
        if entry is not None:
            check_recordings(table)
            datasets.keep_folders(root, entry.name, folders_of(table, path))
    except EavdashError:  # reported where the dataset is shown
        return


def folders_of(table: TrialTable, path: str = "") -> list[str]:
    """Return the resolved folders of a table's recordings and, if it has one, the dataset's own path.

    Of more than :data:`MOST_FOLDERS`, those above them that the app may read too.
    """
    from eavdash.data.table import FILE_COLUMNS, file_of

    files = {file_of(entry) for column in FILE_COLUMNS for entry in table.frame[column] if entry}
    found = {os.path.dirname(os.path.realpath(file)) for file in files}  # noqa: PTH120
    folders = outermost({os.path.realpath(path), *found} if path else found)
    for depth in range(max((f.count("/") for f in folders), default=0), 1, -1):
        if len(folders) <= MOST_FOLDERS:
            break
        above = {f: os.path.dirname(f) for f in folders if f.count("/") == depth}  # noqa: PTH120
        may = {folder for folder in set(above.values()) if is_readable(folder)}
        folders = outermost(above[f] if above.get(f) in may else f for f in folders)
    return [folder for folder in folders if is_readable(folder)]


def check_recordings(table: TrialTable) -> None:
    """Check that the app may read the recordings of the subjects that have problems.

    Raises:
        OutsideError: it may not; ``folder`` is the one that holds all that are refused.
    """
    from eavdash.data.table import FILE_COLUMNS, file_of

    if not table.problems or data_folders() is None:
        return
    rows = table.frame[table.frame["subject"].isin(list(table.problems))]
    refused: list[OutsideError] = []
    for file in {file_of(entry) for column in FILE_COLUMNS for entry in rows[column] if entry}:
        try:
            check_readable(file)
        except OutsideError as error:
            refused.append(error)
    if refused:
        first = min(refused, key=str)
        above = os.path.commonpath([e.folder for e in refused if e.folder] or ["/"])
        if first.folder and above.count("/") > 1:
            first.folder = above
        raise first


def allow(folder: str, forget: str) -> None:
    """Add a folder to those that the app may read until it ends; ``forget``: a key of the session to drop."""
    try:
        if not edge.is_private() or os.path.realpath(folder) == "/":
            raise UsageError.at(folder, expected="a folder of data", found="another", remedy="use --data")
        with lent(None):
            add_data_folders([check_readable(folder)])
    except EavdashError as error:
        st.session_state[actions.MESSAGE] = ("error", str(error))
        return
    if forget:
        st.session_state.pop(forget, None)
    st.cache_data.clear()  # tables, previews and reports of what could not be read
    st.cache_resource.clear()
    st.session_state[actions.MESSAGE] = ("allowed", f"The app may read {folder} until it ends.")
