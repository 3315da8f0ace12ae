"""Windows of tables of features, at a fixed rate.

In: a table whose rows have any times (:mod:`eavdash.data.formats.feature_table`). Out: windows (step, column) float32
in the columns' own units, and their mask. A step is the mean of the recorded rows in it. A step between two rows has
the values of the nearer one, if that is no farther than rows usually are; it is masked where that row is not recorded,
or where none is near.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from eavdash.config.choices import COLUMN
from eavdash.config.schema import StudyConfig
from eavdash.data.formats.feature_table import FeatureTable, feature_table_info, read_feature_table
from eavdash.data.readers.base import Reader, Reading, Span, TrialRow
from eavdash.data.recording import stamp
from eavdash.errors import RecordingError
from eavdash.text import shortened

#: A step takes the values of a row that is at most so many usual intervals of the rows away.
NEAR = 0.75
_MOMENT = 1e-6  # of a step: times are rounded
_PER_BYTE = 20  # bytes in memory per byte of a file (measured with OpenFace's 709 columns: 16)


class TableReader(Reader):
    """The rows of a table of features, resampled; columns in natural order.

    Facts of a trial: ``rejected``, the numbers of the windows without a recorded row, if any. They are no training
    windows; in a fusion the modality is absent from them.
    """

    dtype = np.float32
    gaps = True

    def __init__(self, config: StudyConfig, modality: str) -> None:
        super().__init__(config)
        self.modality = modality
        part: Any = config.modality(modality)
        self.table = part.table
        self.held = 0  # bytes of the largest file
        self.counting = f" table {self.table.time} {self.table.columns}"

    @property
    def settings(self) -> dict[str, Any]:
        table = self.table
        return {"kind": "table", "rate": table.rate, "time": table.time, "columns": list(table.columns)}

    @property
    def meta(self) -> dict[str, Any]:
        return {"kind": "table", "columns": list(self.channels), "rate": self.table.rate}

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.steps, len(self.channels))

    @property
    def steps(self) -> int:
        return max(1, round(self.window * float(self.table.rate)))

    def prepare(self, rows: list[TrialRow]) -> None:
        """Take the columns of the first table; reading compares those of the others.

        Raises:
            RecordingError: it cannot be read, or a file is missing.
        """
        self.channels = feature_table_info(rows[0].path, self.table).columns
        self.held = max(stamp(row.path)[0] for row in rows)

    def bytes_of(self, seconds: float) -> int:
        """The windows, and the cells of the largest file as texts and numbers."""
        return super().bytes_of(seconds) + _PER_BYTE * self.held

    def read(self, row: TrialRow, spans: list[Span]) -> Reading:
        table = read_feature_table(row.path, self.table)
        if table.columns != self.channels:
            raise other_columns(row.path, table.columns, self.channels, self.modality)
        values = np.zeros((len(spans), *self.shape), dtype=self.dtype)
        mask = np.zeros((len(spans), self.steps), dtype=bool)
        for k, (begin, end) in enumerate(spans):
            count = min(self.steps, max(1, round((end - begin) * self.table.rate)))
            found, there = resampled(table, (row.start or 0.0) + begin, count, self.table.rate)
            values[k, :count], mask[k, :count] = found, there
        rejected = np.flatnonzero(~mask.any(axis=1)).tolist()
        return Reading(values, mask, {"rejected": rejected} if rejected else {})


def resampled(table: FeatureTable, start: float, count: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Return ``count`` steps of 1 / ``rate`` seconds from second ``start`` on: (step, column) float32, (step,) bool."""
    step = np.floor((table.times - start) * rate + _MOMENT).astype(np.int64)
    inside = (step >= 0) & (step < count)
    rows = np.bincount(step[inside], minlength=count)
    used = inside & table.recorded
    recorded = np.bincount(step[used], minlength=count)
    total = np.zeros((count, table.values.shape[1]))
    np.add.at(total, step[used], table.values[used])
    values = total / np.maximum(recorded, 1)[:, None]
    mask = recorded > 0
    # Steps between the rows of a slower table.
    empty = np.flatnonzero(rows == 0)
    middles = start + (empty + 0.5) / rate
    after = np.searchsorted(table.times, middles).clip(1, len(table.times) - 1)
    nearest = np.where(middles - table.times[after - 1] <= table.times[after] - middles, after - 1, after)
    near = np.abs(table.times[nearest] - middles) <= max(0.5 / rate, NEAR * table.spacing) + _MOMENT
    filled = near & table.recorded[nearest]
    values[empty[filled]], mask[empty[filled]] = table.values[nearest[filled]], True
    return values.astype(np.float32), mask


def other_columns(
    path: str, columns: tuple[str, ...], usual: tuple[str, ...], modality: str, of: str = "the first table"
) -> RecordingError:
    """Return the error about a table whose columns are not the ``usual`` ones."""
    lacking = [name for name in usual if name not in set(columns)]
    more = [name for name in columns if name not in set(usual)]
    parts = [f"none of {shortened(', '.join(lacking), 100)}"] if lacking else []
    parts += [f"also {shortened(', '.join(more), 100)}"] if more else []
    remedy = f"extract all tables alike, or name the columns that all have with {modality}.table.columns"
    return RecordingError.at(
        path,
        expected=f"the {len(usual)} columns of {of} in column {COLUMN[modality]}",
        found=f"{len(columns)} columns, {' and '.join(parts)}",
        remedy=remedy,
    )
