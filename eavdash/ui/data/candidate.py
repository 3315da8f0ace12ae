"""A dataset that somebody wants to add: everything that is looked at before it is accepted.

In: what the form says (:class:`Wish`). Out: a :class:`Candidate` with its counts and its first trial read, or one
sentence that says what is wrong. Nothing is written but an uploaded table into a temporary folder that is gone
afterwards.
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
from eavdash.studies.overview import size
from eavdash.ui import theme
from eavdash.ui.figures.data import most_complete

if TYPE_CHECKING:
    from eavdash.data.preview import TrialPreview
    from eavdash.data.table import TrialTable

UPLOAD_LIMIT = 5  # MB; the trial table of all of EAV has less than 2
NO_FILE = "(none)"
PICTURE = 160  # pixels, the side of the first trial's picture


@dataclass(frozen=True)
class Wish:
    """What the form says: a name, and either a path, or an uploaded file with the folder that its paths start from."""

    name: str
    path: str = ""
    file: str = ""
    content: bytes = b""
    size: int = 0
    base: str = ""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A dataset that may be added. ``text``: an uploaded table with absolute paths; empty where there is a path."""

    wish: Wish
    text: str
    kind: str
    counts: pd.DataFrame
    classes: tuple[str, ...]
    problems: tuple[str, ...]
    preview: TrialPreview
    picture: np.ndarray | None  # (height, width, 3) uint8


def check(root: Path, wish: Wish) -> Candidate:
    """Everything that is looked at before a dataset is accepted; nothing is written under ``root``.

    Raises:
        EavdashError: the name, the path, the table or the first trial cannot be used; one sentence says why.
    """
    from eavdash.data.preview import trial_preview

    datasets.check_name(root, wish.name)
    text, table = _from_path(root, wish) if not wish.file else _from_upload(wish)
    usable = table.frame[~table.frame["subject"].isin(list(table.problems))]
    if usable.empty:
        raise TableError(next(iter(table.problems.values()), f"{table.root}: there is no trial in it."))
    row = usable.to_dict("records")[most_complete(usable)]
    preview = trial_preview({str(k): v for k, v in row.items()}, preset("quick"))
    if not (preview.vision or preview.audio or preview.eeg):
        raise TableError(
            next(iter(preview.errors.values()), f"{wish.path or wish.file}: no trial of it has a recording.")
        )
    picture = _picture(preview)
    return Candidate(
        wish, text, table.kind, _counts(table), table.classes, tuple(table.problems.values()), preview, picture
    )


def _from_path(root: Path, wish: Wish) -> tuple[str, TrialTable]:
    from eavdash.data.table import open_table

    if not wish.path:
        raise UsageError.at(
            "dataset", expected="a folder or a trial table", found="none", remedy="type its path on the server"
        )
    datasets.check_path(root, wish.path)
    return "", open_table(wish.path)


def _from_upload(wish: Wish) -> tuple[str, TrialTable]:
    """The uploaded table with absolute paths as CSV, and opened; read in a temporary folder that is gone afterwards."""
    from eavdash.data.formats.tablefile import read_table
    from eavdash.data.table import open_table

    if wish.size > UPLOAD_LIMIT * 2**20:
        raise UsageError.at(
            wish.file,
            expected=f"a table of at most {UPLOAD_LIMIT} MB",
            found=size(wish.size),
            remedy="copy it to the server and name its path",
        )
    suffix = Path(wish.file).suffix.lower()
    if suffix not in (".csv", ".parquet"):
        found = "no file" if wish.file == NO_FILE else wish.file
        raise UsageError.at(
            "trial table",
            expected="a .csv or .parquet file",
            found=found,
            remedy=f"choose one of at most {UPLOAD_LIMIT} MB",
        )
    with tempfile.TemporaryDirectory() as folder:
        sent, made = Path(folder, f"sent{suffix}"), Path(folder, "trials.csv")
        try:
            sent.write_bytes(wish.content)
            frame = read_table(sent)
            text = datasets.absolute_paths(frame.to_csv(index=False, lineterminator="\n"), wish.base)
            made.write_text(text, encoding="utf-8", newline="")
            return text, open_table(made)
        except TableError as error:
            # The user knows the file by the name it was sent under.
            raise TableError(str(error).replace(str(sent), wish.file).replace(str(made), wish.file)) from error


def _counts(table: TrialTable) -> pd.DataFrame:
    """Per subject, its trials and how many of them have each modality, and whether it can be used."""
    there = table.frame[list(COLUMN.values())] != ""
    by = there.groupby(table.frame["subject"]).sum().reindex(list(table.subjects))
    counts = pd.DataFrame({"Subject": by.index, "Trials": table.frame["subject"].value_counts()[by.index].to_numpy()})
    for modality, column in COLUMN.items():
        counts[theme.label(modality)] = by[column].to_numpy()
    counts["Usable"] = [subject not in table.problems for subject in by.index]
    return counts


def _picture(preview: TrialPreview) -> np.ndarray | None:
    """A picture from the middle of the first trial's video."""
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
