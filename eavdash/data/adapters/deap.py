"""DEAP's preprocessed Python files (Koelstra et al. 2012) as rows of the trial table.

In: a folder with ``s01.dat`` … at any level. Out: one row per trial, from the end of its baseline; label: valence above
5 is "high", else "low"; the four ratings are further columns, from which other labels can be derived
(docs/adapters.md).

Face videos are not paired: their names count the trials in the order of presentation, the arrays hold them in the order
of the music videos, and neither contains the mapping.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from eavdash.data.adapters.base import Adapted, Adapter, glance, listed, search, shown
from eavdash.data.formats.deap_pickle import BASELINE, RATINGS, ratings
from eavdash.errors import RecordingError
from eavdash.store.readable import open_readable

COLUMNS = ("subject", "trial", "label", "start", "eeg", *RATINGS)
#: A rating above this is "high": the middle of the scale from 1 to 9.
MIDDLE = 5.0
_NAME = re.compile(r"(?i)^s([0-9]{2})\.dat$")
_FACES = re.compile(r"(?i)^(face_video|s[0-9]{2}_trial[0-9]{2}\.avi)")


def find(path: Path) -> Path | None:
    """Return the folder at or below ``path`` that holds DEAP's files, or None.

    Raises:
        TableError: several folders at the same level do.
    """
    return search(path, _holds_files, "DEAP's files s01.dat ...")


def read(root: Path) -> Adapted:
    """Read one row per trial of every subject; an unreadable file is a problem of its subject."""
    rows: list[dict[str, object]] = []
    problems: dict[str, str] = {}
    notes: list[str] = []
    folders, files = listed(root)
    for path in files:
        match = _NAME.match(path.name)
        if not match:
            notes.append(f"{shown(path)}: not one of DEAP's preprocessed files, ignored")
            continue
        subject = str(int(match[1]))
        if subject in problems or any(row["subject"] == subject for row in rows):
            problems[subject] = str(
                RecordingError.at(
                    path, expected=f"one file of subject {subject}", found="a second one", remedy="remove one of them"
                )
            )
            continue
        try:
            values = ratings(str(path))
        except RecordingError as error:
            problems[subject] = str(error)
            continue
        for n, rated in enumerate(values, start=1):
            rows.append(
                {
                    **{"subject": subject, "trial": str(n), "label": "high" if rated[0] > MIDDLE else "low"},
                    **{"start": BASELINE, "eeg": f"{path}#{n}"},
                    **{name: f"{value:g}" for name, value in zip(RATINGS, rated, strict=True)},
                }
            )
    if any(_FACES.match(p.name) for p in (*folders, *files, *glance(root.parent)[0])):
        notes.append(
            f"{root}: face videos are not paired: they are numbered by order of presentation, the arrays by music video"
        )
    return Adapted(pd.DataFrame(rows, columns=list(COLUMNS)), problems, tuple(notes))


ADAPTER = Adapter("deap", find, read)


def _holds_files(folder: Path) -> bool:
    return any(_starts_like_a_pickle(file) for file in glance(folder)[1] if _NAME.match(file.name))


def _starts_like_a_pickle(file: Path) -> bool:
    """True if a file may be a pickle: other programs write .dat files too."""
    try:
        with open_readable(file) as stream:
            return stream.read(1) in (b"\x80", b"(", b"}")
    except OSError:
        return False
