"""The segment of each recording that a trial uses, in seconds of the recording's own file.

In: rows of a trial table. Out: start and stop in the file of one of its columns. The table's start and stop hold for
all recordings; ``eeg_start``, ``eeg_stop`` and so on replace them for one, and ``eeg_offset`` is added to get from the
table's clock to that of the file. With an offset an empty start is second 0 of the table's clock; without one, the
beginning of the file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eavdash.data.formats.columns import CLOCK_COLUMNS
from eavdash.data.recording import seconds

if TYPE_CHECKING:
    import pandas as pd


def segment(row: Mapping[Any, Any] | pd.Series[Any], column: str) -> tuple[float | None, float | None]:
    """Start and stop of a trial in the file of ``column``; None for the file's own."""
    start, stop = (_own(row, f"{column}_{end}", seconds(row[end])) for end in ("start", "stop"))
    offset = _own(row, f"{column}_offset", None)
    if offset:
        start = (start or 0.0) + offset
        stop = None if stop is None else stop + offset
    return start, stop


def in_file(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """The rows with start and stop in the file of ``column``; unchanged where the table has only one clock."""
    names = own_times(frame)
    if not any(name.startswith(f"{column}_") for name in names):
        return frame
    rows = frame[["start", "stop", *names]].to_dict("records")
    found = [segment(row, column) for row in rows]
    return frame.assign(
        start=[math.nan if start is None else start for start, _ in found],
        stop=[math.nan if stop is None else stop for _, stop in found],
    )


def own_times(frame: pd.DataFrame) -> list[str]:
    """The columns of the recordings' own times in a table; in one of an earlier version they are further text."""
    return [c for c in frame.columns if c in CLOCK_COLUMNS and frame[c].dtype.kind == "f"]


def _own(row: Mapping[Any, Any] | pd.Series[Any], name: str, other: float | None) -> float | None:
    """A recording's own time, or the ``other`` where the row has none."""
    value = row.get(name)
    own = None if isinstance(value, str) else seconds(value)
    return other if own is None else own
