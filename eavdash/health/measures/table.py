"""Measures of a table of features: its columns, rows, and the share of its time that is recorded.

In: any file that is read as a table of features (:mod:`eavdash.data.formats.feature_table`), and segments of it. Out:
numbers; of the whole file also the names of its columns, and those that never change, with their value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from eavdash.config.feature_table import FeatureTableConfig
from eavdash.errors import RecordingError
from eavdash.health.measures.base import Facts, Part


def measure(file: str, parts: Sequence[Part], time: str, columns: str) -> tuple[Facts, Callable[[Part], Facts]]:
    """Return facts of the whole file, and a function that measures a part of it.

    ``time``, ``columns``: the settings of those names; columns are joined by line ends.
    """
    from eavdash.data.formats.feature_table import read_feature_table

    table = read_feature_table(file, FeatureTableConfig(time, tuple(filter(None, columns.split("\n")))))
    rows = table.values[table.recorded]
    still = np.flatnonzero((rows == rows[0]).all(axis=0)).tolist()
    facts: Facts = {"length": table.duration, "names": list(table.columns), "note": table.note}
    facts["constant"] = {table.columns[n]: float(rows[0, n]) for n in still}

    def part_of(part: Part) -> Facts:
        start, stop = part.start or 0.0, min(part.stop or table.duration, table.duration)
        inside = (table.times >= start) & (table.times < stop)
        recorded = int((inside & table.recorded).sum())
        if not recorded and start < stop:
            raise RecordingError.at(
                part.entry(file),
                expected=f"at least one recorded row from {start:g} s to {stop:g} s",
                found=f"none of {int(inside.sum()):,}",
                remedy="leave the trial out, or correct its start and stop",
            )
        # Rows that are missing altogether count as not recorded.
        expected = max(int(inside.sum()), round((stop - start) / table.spacing), 1)
        numbers = {"rows": int(inside.sum()), "row_rate": 1 / table.spacing, "columns": len(table.columns)}
        return {"duration": max(0.0, stop - start), **numbers, "recorded": recorded / expected}

    return facts, part_of
