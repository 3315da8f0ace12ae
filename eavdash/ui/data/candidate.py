"""The checks of a dataset before it is added to the list.

In: the entries of the form (:class:`DatasetForm`). Out: a :class:`Candidate` with counts and a preview of the first
trial, or an error. Only an uploaded table is written, to a temporary folder that is removed afterwards.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from eavdash.config.choices import COLUMN
from eavdash.config.presets import preset
from eavdash.errors import EavdashError, TableError, UsageError
from eavdash.report import theme
from eavdash.report.figures.data import most_complete
from eavdash.store import datasets
from eavdash.store.names import expanded
from eavdash.store.readable import lent
from eavdash.text import size
from eavdash.ui import allowing

if TYPE_CHECKING:
    from eavdash.data.preview import TrialPreview
    from eavdash.data.table import TrialTable

UPLOAD_LIMIT = 5  # MB; the trial table of all of EAV has less than 2
TYPES = ("csv", "tsv", "txt", "parquet", "xlsx")
NO_FILE = "(none)"
PICTURE = 160  # pixels, the side of the first trial's picture


@dataclass(frozen=True)
class DatasetForm:
    """The form's entries: a name, and either a path or an uploaded file with the base folder of its paths.

    ``columns``: pairs of a trial table's column and the file's name for it, where they differ.
    """

    name: str
    path: str = ""
    file: str = ""
    content: bytes = b""
    size: int = 0
    base: str = ""
    columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class Candidate:
    """A dataset that can be added.

    ``text``: the table to keep, with absolute paths and a trial table's columns; empty for a path that is read as it
    is. ``folders``: its own and those of its recordings. ``notes``: what was unusual in the table, and names that may
    be the same.
    """

    form: DatasetForm
    text: str
    kind: str
    counts: pd.DataFrame
    classes: tuple[str, ...]
    problems: tuple[str, ...]
    preview: TrialPreview
    picture: np.ndarray | None  # (height, width, 3) uint8
    folders: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def check(root: Path, form: DatasetForm) -> Candidate:
    """Check a dataset before it is added; nothing is written under ``root``.

    Raises:
        EavdashError: the name, the path, the table or the first trial cannot be used.
    """
    from eavdash.data.preview import trial_preview
    from eavdash.data.spelling import doubts

    datasets.check_name(root, form.name)
    text, table, notes = _from_path(root, form) if not form.file else _from_upload(form)
    allowing.check_recordings(table)
    usable = table.frame[~table.frame["subject"].isin(list(table.problems))]
    if usable.empty:
        raise TableError(next(iter(table.problems.values()), f"{table.root}: this dataset has no trials."))
    row = usable.to_dict("records")[most_complete(usable)]
    config = preset("quick")
    preview = trial_preview({str(k): v for k, v in row.items()}, config)
    if not (preview.vision or preview.audio or preview.eeg or preview.tables):
        raise TableError(next(iter(preview.errors.values()), f"{form.path or form.file}: no trial has a recording."))
    picture = _picture(preview)
    return Candidate(
        form,
        text,
        table.kind,
        _counts(table),
        table.classes,
        tuple(table.problems.values()),
        preview,
        picture,
        tuple(allowing.folders_of(table, os.devnull if text else form.path)),
        (*notes, *doubts(table.frame, config.names)),
    )


def header(form: DatasetForm) -> tuple[str, ...]:
    """Return the names of the columns of the form's table, to choose from; empty where there is none to read.

    The first line of a file on the server is shown only if it has a trial table's columns: it may be any file.
    """
    from eavdash.data.formats.columns import known_in
    from eavdash.data.formats.tablefile import header_of

    try:
        if not form.file:
            path = expanded(form.path)
            small = path.is_file() and path.stat().st_size <= UPLOAD_LIMIT * 2**20
            names = header_of(path) if form.path and small else ()
            return names if known_in(names, {}) >= 2 else ()
        with _sent(form) as uploaded:
            return header_of(uploaded)
    except (EavdashError, OSError):  # reported by the check
        return ()


def _from_path(root: Path, form: DatasetForm) -> tuple[str, TrialTable, tuple[str, ...]]:
    from eavdash.data.table import open_table

    if not form.path:
        raise UsageError.at(
            "dataset", expected="a folder or a trial table", found="none", remedy="enter its path on the server"
        )
    datasets.check_path(root, form.path)
    if form.columns:
        path = expanded(form.path).absolute()
        return _copied(path, form, str(path.parent))
    table = open_table(form.path)
    return "", table, table.notes


def _from_upload(form: DatasetForm) -> tuple[str, TrialTable, tuple[str, ...]]:
    if form.size > UPLOAD_LIMIT * 2**20:
        raise UsageError.at(
            form.file,
            expected=f"a table of at most {UPLOAD_LIMIT} MB",
            found=size(form.size),
            remedy="copy it to the server and enter its path",
        )
    if Path(form.file).suffix.lower().removeprefix(".") not in TYPES:
        found = "no file" if form.file == NO_FILE else form.file
        raise UsageError.at(
            "trial table",
            expected=f"a file with the suffix .{', .'.join(TYPES)}",
            found=found,
            remedy=f"choose a file of at most {UPLOAD_LIMIT} MB",
        )
    with _sent(form) as uploaded:
        return _copied(uploaded, form, form.base)


@contextmanager
def _sent(form: DatasetForm) -> Iterator[Path]:
    """The uploaded file, in a folder that the block may read."""
    with tempfile.TemporaryDirectory() as folder, lent(folder):
        uploaded = Path(folder, f"sent{Path(form.file).suffix.lower()}")
        uploaded.write_bytes(form.content)
        yield uploaded


def _copied(source: Path, form: DatasetForm, base: str) -> tuple[str, TrialTable, tuple[str, ...]]:
    """Return a table with absolute paths and the usual columns as CSV, opened, and notes on how it was read."""
    from eavdash.data.formats.tablefile import read_table
    from eavdash.data.table import open_table

    def named(text: str) -> str:
        # The user knows the file by its own name, not by the temporary one.
        return text.replace(str(source), form.file or form.path)

    try:
        frame, notes = read_table(source, dict(form.columns))
        text = datasets.absolute_paths(frame.to_csv(index=False, lineterminator="\n"), base)
        with tempfile.TemporaryDirectory() as folder, lent(folder):
            table = Path(folder, "trials.csv")
            table.write_text(text, encoding="utf-8", newline="")
            try:
                opened = open_table(table)
            except TableError as error:
                raise TableError(str(error).replace(str(table), str(source))) from error
        return text, opened, tuple(map(named, notes))
    except TableError as error:
        raise TableError(named(str(error))) from error


def _counts(table: TrialTable) -> pd.DataFrame:
    """Count the trials per subject and those with each modality, and mark subjects that can be used."""
    recorded = table.frame[list(COLUMN.values())] != ""
    by = recorded.groupby(table.frame["subject"]).sum().reindex(list(table.subjects))
    counts = pd.DataFrame({"Subject": by.index, "Trials": table.frame["subject"].value_counts()[by.index].to_numpy()})
    for modality, column in COLUMN.items():
        counts[theme.label(modality)] = by[column].to_numpy()
    counts["Usable"] = [subject not in table.problems for subject in by.index]
    return counts


def _picture(preview: TrialPreview) -> np.ndarray | None:
    """Return the middle frame of the first trial's video, or None."""
    from eavdash.data.video.reading import read_frames

    if preview.vision is None:
        return None
    video = preview.vision
    middle = video.start + (0.0 if video.info.still else video.duration / 2)
    try:
        return np.asarray(read_frames(video.path, [middle], PICTURE)[0])
    except EavdashError as error:
        preview.errors["vision"] = str(error)
        return None
