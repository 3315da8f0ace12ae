"""Further columns of the trial table by which scores can be split, such as condition or session.

In: ``trials.csv`` of a study, written when it was planned, so the dataset itself is not needed. Out: the available
columns, and one of them by subject and trial.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from eavdash.errors import IntegrityError, UsageError
from eavdash.store import StudyDir
from eavdash.store.regular import open_regular

_KEYS = ("subject", "trial")
#: A column with more values is an identifier rather than a kind of trial.
MAX_VALUES = 20


def columns(study: StudyDir) -> list[str]:
    """Return the columns that results can be split by: those with 2 to :data:`MAX_VALUES` values."""
    if not study.trials_file.exists():
        return []
    table = study_table(study.trials_file, _KEYS)
    return [c for c in table.columns if c not in _KEYS and 2 <= table[c].nunique() <= MAX_VALUES]


def column(study: StudyDir, name: str) -> pd.DataFrame:
    """Return subject, trial and the column ``name``, all as text.

    Raises:
        UsageError: the study was planned without it.
    """
    table = study_table(study.trials_file, _KEYS) if study.trials_file.exists() else pd.DataFrame(columns=_KEYS)
    known = [c for c in table.columns if c not in _KEYS]
    if name not in known:
        raise UsageError.at(
            f"--split {name}",
            expected=f"a column of the study's trials ({', '.join(known) or 'none are stored'})",
            found="no such column",
            remedy="name one of them" if known else "plan the study again with eavdash train, which stores its columns",
        )
    return table[[*_KEYS, name]]


def study_table(file: Path, needed: Sequence[str]) -> pd.DataFrame:
    """Return trials.csv or splits.csv of a study as texts; ``fold`` is a number if it is needed.

    Raises:
        IntegrityError: it cannot be read, or lacks one of the ``needed`` columns.
    """
    try:
        with open_regular(file) as source:
            table = pd.read_csv(source, dtype=str, keep_default_na=False)
        if lost := [name for name in needed if name not in table.columns]:
            raise ValueError(f"no column {lost[0]}")
        return table.astype({"fold": int}) if "fold" in needed else table
    except (OSError, ValueError, OverflowError) as error:
        remedy = f"restore it, or remove it and make it again with eavdash extend {file.parent.name}"
        raise IntegrityError.at(file, expected="a table of trials", found=str(error), remedy=remedy) from error
