"""The trial to show first, and a trial's columns as text.

In: rows of the trial table. Out: a position, and a line of text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from eavdash.config.choices import COLUMN
from eavdash.data.formats.columns import CLOCK_COLUMNS


def most_complete(rows: pd.DataFrame) -> int:
    """Return the position of the first trial with the most recordings: on EAV a speaking trial, which has audio."""
    return int((rows[list(COLUMN.values())] != "").sum(axis=1).to_numpy().argmax()) if len(rows) else 0


def trial_facts(row: Mapping[Any, Any]) -> str:
    """Return a trial's columns in one line, such as label and group, without files and times."""
    left_out = {"subject", "trial", "eeg", "audio", "video", "start", "stop", *CLOCK_COLUMNS}
    return " · ".join(f"{key} {value}" for key, value in row.items() if key not in left_out and str(value))
