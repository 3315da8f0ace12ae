"""The subjects that runs across subjects are tested on: their names say only the fold.

In: a study's splits.csv and the snapshot of its runs. Out: the snapshot with one more column.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import pandas as pd

from eavdash.errors import EavdashError
from eavdash.store import StudyDir
from eavdash.text import natural_order

NAMED = 4  # subjects of a fold that are named; the others are counted


def with_tested(table: pd.DataFrame, study: StudyDir) -> pd.DataFrame:
    """Return a snapshot with the column tested: ``test subject 7 (fold 6)`` for a run across subjects, else ""."""
    across = table["subject"] == ""
    texts = table["fold"].map(tested(study) if across.any() else {}).astype("str")
    return table.assign(tested=texts.where(across, "").fillna(""))


def tested(study: StudyDir) -> dict[int, str]:
    """Return whom each fold is tested on; no fold that is tested on all subjects, nor any without a usable file."""
    try:
        found = study.splits_file.stat()
        return _tested(study.splits_file, found.st_mtime_ns, found.st_size)
    except (EavdashError, OSError, ValueError, KeyError):  # a damaged file is reported where its numbers are shown
        return {}


@lru_cache(maxsize=16)
def _tested(file: Path, _changed: int, _size: int) -> dict[int, str]:
    splits = pd.read_csv(file, usecols=["subject", "fold", "split"], dtype=str, keep_default_na=False)
    everyone = splits["subject"].nunique()
    of = splits[splits["split"] == "test"].groupby("fold")["subject"].unique()
    folds = {int(str(fold)): subjects for fold, subjects in of.items() if len(subjects) < everyone}
    return {fold: in_words(subjects, fold) for fold, subjects in folds.items()}


def in_words(subjects: Iterable[str], fold: int) -> str:
    """Return ``test subject 7 (fold 6)``."""
    names = natural_order(subjects)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"test subject{'s' if len(names) > 1 else ''} {', '.join(names[:NAMED])}{more} (fold {fold})"
