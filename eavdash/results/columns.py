"""Further columns of the trial table by which scores can be split, such as condition or session.

In: ``trials.csv`` of a study, written when it was planned, so the dataset itself is not needed. Out: the available
columns, and one of them by subject and trial.
"""

from __future__ import annotations

import pandas as pd

from eavdash.errors import IntegrityError, UsageError
from eavdash.store import StudyDir

_KEYS = ("subject", "trial")
#: A column with more values is an identifier rather than a kind of trial.
MAX_VALUES = 20


def columns(study: StudyDir) -> list[str]:
    """Return the columns that results can be split by: those with 2 to :data:`MAX_VALUES` values."""
    if not study.trials_file.exists():
        return []
    table = _read(study)
    return [c for c in table.columns if c not in _KEYS and 2 <= table[c].nunique() <= MAX_VALUES]


def column(study: StudyDir, name: str) -> pd.DataFrame:
    """Return subject, trial and the column ``name``, all as text.

    Raises:
        UsageError: the study was planned without it.
    """
    known = [c for c in _read(study).columns if c not in _KEYS] if study.trials_file.exists() else []
    if name not in known:
        raise UsageError.at(
            f"--split {name}",
            expected=f"a column of the study's trials ({', '.join(known) or 'none are stored'})",
            found="no such column",
            remedy="name one of them" if known else "plan the study again with eavdash train, which stores its columns",
        )
    return _read(study)[[*_KEYS, name]]


def _read(study: StudyDir) -> pd.DataFrame:
    try:
        return pd.read_csv(study.trials_file, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise IntegrityError.at(
            study.trials_file, expected="a table of trials", found=str(error), remedy="plan the study again"
        ) from error
