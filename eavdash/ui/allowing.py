"""The folders that the app may read: those it was started with, those of known datasets, and those allowed on a page.

In: the checkpoints folder, studies, refused paths. Out: the data folders of this process
(:mod:`eavdash.store.readable`), and what the button that adds one does. It works only if the app is served on this
computer alone; elsewhere a person who reaches the app need not be its owner.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from eavdash.errors import EavdashError, OutsideError, UsageError
from eavdash.store import StudyDir, datasets
from eavdash.store.readable import (
    VARIABLE,
    add_data_folders,
    check_readable,
    data_folders,
    lent,
    outermost,
    set_data_folders,
)
from eavdash.ui import actions

if TYPE_CHECKING:
    from eavdash.data.table import TrialTable


def start(root: Path, study: StudyDir | None) -> None:
    """Let the app read the folders of known datasets and of a study; by default also the current folder."""
    if VARIABLE not in os.environ:
        set_data_folders([Path.cwd()])
    known = [str(root / ".datasets"), str(root / ".cache" / "videos")]
    with contextlib.suppress(EavdashError):  # reported by the dataset field
        known += [folder for d in datasets.list_datasets(root) for folder in (d.path, *(d.folders or ()))]
    add_data_folders(known)
    if study is not None:
        trust_study(study)


def trust_study(study: StudyDir) -> None:
    """Let the app read the recordings that a study was planned with, and the weights in its settings."""
    files = (study.study_file, study.table_file)
    _trust_study(study, tuple(f.stat().st_mtime_ns if f.exists() else 0 for f in files))


@lru_cache(maxsize=256)
def _trust_study(study: StudyDir, _changed: tuple[int, ...]) -> None:
    from eavdash.data.frozen import planned_table

    try:
        document = study.study()
        weights = [part.get("weights") for part in document.config.values() if isinstance(part, dict)]
        path = document.dataset.path
        add_data_folders([path, *(str(Path(w).parent) for w in weights if w)])
        with lent(None):
            table = planned_table(study.table_file, path, document.selection.subjects)
        add_data_folders(folders_of(table, path, follow=False))
    except (EavdashError, OSError):  # reported where the study is shown
        return


def trust_dataset(root: Path, path: str) -> None:
    """Let the app read the recordings of a dataset that an earlier version added to the list, and remember where."""
    from eavdash.data.table import open_table

    try:
        known = next((d for d in datasets.list_datasets(root) if d.path == path and d.folders is None), None)
        if known is None:
            return
        with lent(None):
            folders = folders_of(open_table(path), path, follow=False)
        datasets.keep_folders(root, known.name, folders)
        add_data_folders(folders)
    except EavdashError:  # reported when the dataset is opened
        return


def folders_of(table: TrialTable, path: str, follow: bool = True) -> list[str]:
    """Return the folders of a table's recordings that are not in the dataset's own.

    ``follow``: of the files behind links. A link that was made after its file was checked must not be followed.
    """
    from eavdash.data.named_files import file_of
    from eavdash.data.table import FILE_COLUMNS

    files = {file_of(entry) for column in FILE_COLUMNS for entry in table.frame[column] if entry}
    if follow:
        files = {os.path.realpath(file) for file in files}
    folders = {os.path.realpath(folder) for folder in {os.path.dirname(file) for file in files}}  # noqa: PTH120
    own = os.path.realpath(path)
    return outermost(f for f in folders if f != own and not f.startswith(f"{own}/"))


def check_recordings(table: TrialTable) -> None:
    """Check that the app may read the recordings of the subjects that have problems.

    Raises:
        OutsideError: it may not; ``folder`` is the one that holds all that are refused.
    """
    from eavdash.data.named_files import file_of
    from eavdash.data.table import FILE_COLUMNS

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


def is_local() -> bool:
    """Return True if the app is served on a loopback address."""
    address = str(st.get_option("server.address") or "")
    try:
        return address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def allow(folder: str, forget: str) -> None:
    """Add a folder to those that the app may read until it ends; ``forget``: a key of the session to drop."""
    try:
        if not is_local() or os.path.realpath(folder) == "/":
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
