"""What pages say of trials.

In: rows of the trial table. Out: which one to show first, and its columns in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from eavdash.config.choices import COLUMN


def most_complete(rows: pd.DataFrame) -> int:
    """The place of the first trial with the most recordings: on EAV a speaking one, which has sound."""
    return int((rows[list(COLUMN.values())] != "").sum(axis=1).to_numpy().argmax()) if len(rows) else 0


def trial_facts(row: Mapping[Any, Any]) -> str:
    """A trial's columns in a line: label, group and whatever else its table holds; files and times left out."""
    left_out = {"subject", "trial", "eeg", "audio", "video", "start", "stop"}
    return " · ".join(f"{key} {value}" for key, value in row.items() if key not in left_out and str(value))
