"""Scores by a further column of the trial table: speaking against listening, one session against another.

In: ``trials.csv`` beside a study, written when it was planned, so that neither the dataset's place nor its size
matters. Out: the columns there are, and one of them by subject and trial.
"""

from __future__ import annotations

import pandas as pd

from eavdash.errors import IntegrityError, UsageError
from eavdash.store import StudyDir

_KEYS = ("subject", "trial")
#: More values than this is a name of something, not a kind of trial.
MAX_VALUES = 20


def columns(study: StudyDir) -> list[str]:
    """The columns that results can be split by: those with at least 2 and at most :data:`MAX_VALUES` values."""
    if not study.trials_file.exists():
        return []
    table = _read(study)
    return [c for c in table.columns if c not in _KEYS and 2 <= table[c].nunique() <= MAX_VALUES]


def column(study: StudyDir, name: str) -> pd.DataFrame:
    """subject, trial and the column ``name``, all text.

    Raises:
        UsageError: the study was planned without it.
    """
    known = [c for c in _read(study).columns if c not in _KEYS] if study.trials_file.exists() else []
    if name not in known:
        raise UsageError.at(
            f"--split {name}",
            expected=f"a column of the study's trials ({', '.join(known) or 'none is known'})",
            found="none of that name",
            remedy="name one of them" if known else "plan the study again with eavdash train, which notes its columns",
        )
    return _read(study)[[*_KEYS, name]]


def _read(study: StudyDir) -> pd.DataFrame:
    try:
        return pd.read_csv(study.trials_file, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise IntegrityError.at(
            study.trials_file, expected="a table of trials", found=str(error), remedy="plan the study again"
        ) from error
