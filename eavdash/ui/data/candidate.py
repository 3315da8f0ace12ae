"""The checks of a dataset before it is added to the list.

In: the entries of the form (:class:`DatasetForm`). Out: a :class:`Candidate` with counts and a preview of the first
trial, or an error. Only an uploaded table is written, to a temporary folder that is removed afterwards.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from eavdash.config.choices import COLUMN
from eavdash.config.presets import preset
from eavdash.errors import EavdashError, TableError, UsageError
from eavdash.store import datasets
from eavdash.store.readable import lent
from eavdash.text import size
from eavdash.ui import allowing, theme
from eavdash.ui.figures.data import most_complete

if TYPE_CHECKING:
    from eavdash.data.preview import TrialPreview
    from eavdash.data.table import TrialTable

UPLOAD_LIMIT = 5  # MB; the trial table of all of EAV has less than 2
NO_FILE = "(none)"
PICTURE = 160  # pixels, the side of the first trial's picture


@dataclass(frozen=True)
class DatasetForm:
    """The form's entries: a name, and either a path or an uploaded file with the base folder of its paths."""

    name: str
    path: str = ""
    file: str = ""
    content: bytes = b""
    size: int = 0
    base: str = ""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A dataset that can be added.

    ``text``: an uploaded table with absolute paths; empty for a path. ``folders``: its own and those of its recordings.
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


def check(root: Path, form: DatasetForm) -> Candidate:
    """Check a dataset before it is added; nothing is written under ``root``.

    Raises:
        EavdashError: the name, the path, the table or the first trial cannot be used.
    """
    from eavdash.data.preview import trial_preview

    datasets.check_name(root, form.name)
    text, table = _from_path(root, form) if not form.file else _from_upload(form)
    allowing.check_recordings(table)
    usable = table.frame[~table.frame["subject"].isin(list(table.problems))]
    if usable.empty:
        raise TableError(next(iter(table.problems.values()), f"{table.root}: this dataset has no trials."))
    row = usable.to_dict("records")[most_complete(usable)]
    preview = trial_preview({str(k): v for k, v in row.items()}, preset("quick"))
    if not (preview.vision or preview.audio or preview.eeg):
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
        tuple(allowing.folders_of(table, form.path)),
    )


def _from_path(root: Path, form: DatasetForm) -> tuple[str, TrialTable]:
    from eavdash.data.table import open_table

    if not form.path:
        raise UsageError.at(
            "dataset", expected="a folder or a trial table", found="none", remedy="enter its path on the server"
        )
    datasets.check_path(root, form.path)
    return "", open_table(form.path)


def _from_upload(form: DatasetForm) -> tuple[str, TrialTable]:
    """Return the uploaded table with absolute paths as CSV, and opened as a trial table."""
    from eavdash.data.formats.tablefile import read_table
    from eavdash.data.table import open_table

    if form.size > UPLOAD_LIMIT * 2**20:
        raise UsageError.at(
            form.file,
            expected=f"a table of at most {UPLOAD_LIMIT} MB",
            found=size(form.size),
            remedy="copy it to the server and enter its path",
        )
    suffix = Path(form.file).suffix.lower()
    if suffix not in (".csv", ".parquet"):
        found = "no file" if form.file == NO_FILE else form.file
        raise UsageError.at(
            "trial table",
            expected="a .csv or .parquet file",
            found=found,
            remedy=f"choose a file of at most {UPLOAD_LIMIT} MB",
        )
    with tempfile.TemporaryDirectory() as folder, lent(folder):
        uploaded, table = Path(folder, f"sent{suffix}"), Path(folder, "trials.csv")
        try:
            uploaded.write_bytes(form.content)
            frame = read_table(uploaded)
            text = datasets.absolute_paths(frame.to_csv(index=False, lineterminator="\n"), form.base)
            table.write_text(text, encoding="utf-8", newline="")
            return text, open_table(table)
        except TableError as error:
            # The user knows the file by its own name, not by the temporary one.
            raise TableError(str(error).replace(str(uploaded), form.file).replace(str(table), form.file)) from error


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
