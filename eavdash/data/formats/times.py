"""The times of a trial table: start and stop of a trial, and those of its recordings where they differ.

In: cells as text. Out: seconds. A recording's own start and stop are on the table's clock; its offset is added to get
the time in its file (:mod:`eavdash.data.segments`).
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from eavdash.config.limits import SECONDS
from eavdash.data.formats.columns import CLOCK_COLUMNS, RECORDINGS
from eavdash.data.formats.delimited import Cells
from eavdash.data.segments import segment
from eavdash.errors import TableError
from eavdash.text import shortened

_COMMA = re.compile(r"[+-]?\d+,\d+")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


def with_points(where: str | Path, cells: Cells) -> Cells:
    """Return the cells with decimal points in the columns of times, where all fractions are written with commas.

    Raises:
        TableError: commas and points are both there, or a comma may separate thousands.
    """
    places = [n for n, name in enumerate(cells.header) if name in ("start", "stop", *CLOCK_COLUMNS)]
    commas = [(line, n) for line, row in cells.rows for n in places if _COMMA.fullmatch(row[n])]
    if not commas:
        return cells
    texts = dict(cells.rows)
    line, n = commas[0]
    where_row, remedy = f"{where}, line {line}", "write times with a decimal point"
    column, text = cells.header[n], texts[line][n]
    expected = f"{column} in seconds with a decimal point, as in 0.5"
    if pointed := next((row[p] for _, row in cells.rows for p in places if "." in row[p]), ""):
        found = f"{text!r}, but a point in {shortened(pointed)!r}"
        raise TableError.at(where_row, expected=expected, found=found, remedy=remedy)
    # Where commas separate the columns too, they may be English thousands.
    if cells.separator in ("", ",", "sheet") and all(_THOUSANDS.fullmatch(texts[at][p]) for at, p in commas):
        found = f"{text!r}, a fraction or thousands"
        raise TableError.at(where_row, expected=expected, found=found, remedy=remedy)
    rows = []
    for line, row in cells.rows:
        changed = {n: row[n].replace(",", ".") for n in places if _COMMA.fullmatch(row[n])}
        rows.append((line, [changed.get(n, cell) for n, cell in enumerate(row)]))
    note = f"{where}: times with decimal commas, such as {text!r} in line {commas[0][0]}"
    return replace(cells, rows=rows, notes=(*cells.notes, note))


def read_times(where_row: str, record: dict[str, Any], longest: float) -> None:
    """Replace the texts of a row's times by seconds, NaN where there are none.

    Raises:
        TableError: one is no time, or a stop is not after its start.
    """
    given = {name: record[name] for name in ("start", "stop", *CLOCK_COLUMNS) if name in record}
    for name, text in given.items():
        record[name] = _seconds(where_row, name, text, longest)
    start, stop = record["start"], record["stop"]
    if stop <= (0.0 if math.isnan(start) else start):
        expected = f"stop after start ({given['start'] or '0'} s)"
        raise TableError.at(where_row, expected=expected, found=f"{given['stop']} s", remedy="correct the times")
    for column in RECORDINGS if len(given) > 2 else ():
        begin, end = segment(record, column)
        if not record[column] or (begin, end) == segment({"start": start, "stop": stop}, column):
            continue
        names = ", ".join(name for name in given if name.startswith(column) and given[name]) or column
        if begin is not None and begin < 0:
            expected = f"a start in the file of {column}, at 0 s or later"
            remedy = f"correct start, {column}_start or {column}_offset"
            raise TableError.at(where_row, expected=expected, found=f"{begin:g} s ({names})", remedy=remedy)
        if end is not None and end <= (begin or 0.0):
            expected = f"{column}_stop after {column}_start ({begin or 0.0:g} s in the file)"
            remedy = f"correct {names}; an empty {column}_start or {column}_stop stands for start or stop"
            raise TableError.at(where_row, expected=expected, found=f"{end:g} s", remedy=remedy)


def _seconds(where_row: str, name: str, text: str, longest: float) -> float:
    try:
        value = float(text) if text else math.nan
    except ValueError:
        value = math.inf
    least = -longest if name.endswith("_offset") else 0
    if text and (not least <= value <= longest or math.isinf(value)):
        limits = f"{-SECONDS if least else 0} to {SECONDS}"
        expected = f"{name} in seconds, {limits}, or nothing"
        raise TableError.at(where_row, expected=expected, found=repr(shortened(text)), remedy="correct it")
    return value
