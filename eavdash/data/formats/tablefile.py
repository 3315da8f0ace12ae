"""Reading a trial table's file: text in, a checked frame out.

In: text with separators, ``.parquet`` or ``.xlsx``, or the frame that an adapter made. Out: a frame with all of the
trial table's columns, texts as written, times in seconds; every error names the file, the line and the column.
Delegated to delimited.py and workbook.py: the cells; to columns.py: their names; to times.py: seconds.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from eavdash.config.limits import SECONDS
from eavdash.data.formats.columns import OPTIONAL, RECORDINGS, REQUIRED, among, known_in, named
from eavdash.data.formats.delimited import Cells, read_delimited
from eavdash.data.formats.times import read_times, with_points
from eavdash.data.formats.workbook import kind_of, read_parquet, read_xlsx, text_of
from eavdash.errors import TableError
from eavdash.text import shortened

_PATH_LIMIT, _NAME_LIMIT = 4095, 255  # bytes, of a path and of each of its parts
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NAMES = frozenset((*REQUIRED, "group"))
_ORDER = (*REQUIRED, *OPTIONAL, *RECORDINGS)


def read_table(path: Path, columns: Mapping[str, str] | None = None) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the rows of a trial table's file, and notes on how they were read.

    A missing optional column is empty, further columns come last. ``columns``: for columns of a trial table, the names
    that the file has for them.

    Raises:
        TableError: unreadable, empty, a column missing, a name missing, a (subject, trial) twice, or impossible times.
    """
    takes = columns or {}
    cells = with_points(path, named(path, _cells(path, takes), takes))
    return _check_rows(path, cells.header, cells.rows, "line", SECONDS), cells.notes


def header_of(path: Path) -> tuple[str, ...]:
    """Return the names that a file has for its columns.

    Raises:
        TableError: as :func:`read_table`, about the file itself.
    """
    return tuple(name for name in _cells(path, {}, by_width=True).header if name)


def _cells(path: Path, columns: Mapping[str, str], by_width: bool = False) -> Cells:
    kind = kind_of(path)
    if kind != "text":
        return read_parquet(path) if kind == "parquet" else read_xlsx(path)
    known = partial(known_in, columns=columns)
    return read_delimited(path, lambda names: known(names) * 10_000 + len(names) if by_width else known(names))


def check_frame(where: str | Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Check the rows made by an adapter like those of a file; paths are kept exactly.

    Raises:
        TableError: as :func:`read_table`, if there are any rows.
    """
    header = [str(c) for c in frame.columns]
    if not len(frame):
        return pd.DataFrame(columns=[*_ORDER, *(c for c in header if c not in _ORDER)], dtype="str")
    cells = zip(*(_texts(frame.iloc[:, n], header[n] in RECORDINGS) for n in range(len(header))), strict=True)
    return _check_rows(where, header, [(n, list(row)) for n, row in enumerate(cells, start=1)], "row", math.inf)


def _texts(column: pd.Series, exact: bool) -> list[str]:
    """The cells of a column as in a CSV file; ``exact``: with surrounding spaces."""
    return [v if exact and isinstance(v, str) else text_of(v) for v in column.to_numpy(dtype=object)]


def _check_rows(
    where: str | Path, header: list[str], rows: list[tuple[int, list[str]]], unit: str, longest: float
) -> pd.DataFrame:
    """Check header and rows; ``longest``: the maximum time, infinite for adapters, whose times fail trial by trial."""
    missing = [c for c in REQUIRED if c not in header]
    if not any(c in header for c in RECORDINGS):
        missing.append("one of " + ", ".join(RECORDINGS))
    if missing:
        raise TableError.at(
            where,
            expected=f"columns {', '.join((*REQUIRED, *OPTIONAL, *RECORDINGS))}",
            found=f"no column {' or '.join(missing)}{among(header)}",
            remedy="add it to the first line",
        )
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise TableError.at(
            where,
            expected="each column once",
            found=f"{shortened(twice[0]) or 'one without a name'} twice",
            remedy="rename one",
        )
    if not rows:
        raise TableError.at(where, expected="at least one trial", found="none", remedy="add a line for each trial")
    lines: dict[tuple[str, str], int] = {}
    records: list[dict[str, Any]] = []
    for line, cells in rows:
        record: dict[str, Any] = dict.fromkeys((*OPTIONAL, *RECORDINGS), "") | dict(zip(header, cells, strict=True))
        where_row = f"{where}, {unit} {line}"
        for column in REQUIRED:
            if not record[column]:
                raise TableError.at(where_row, expected=f"a {column}", found="none", remedy="fill it in")
        _check_texts(where_row, record)
        key = (record["subject"], record["trial"])
        if key in lines:
            found = (
                f"subject {shortened(key[0])}, trial {shortened(key[1])} a second time (first in {unit} {lines[key]})"
            )
            raise TableError.at(
                where_row, expected="each trial of a subject once", found=found, remedy="rename or remove one"
            )
        lines[key] = line
        read_times(where_row, record, longest)
        records.append(record)
    return pd.DataFrame(records, columns=[*_ORDER, *(c for c in header if c not in _ORDER)])


def _check_texts(where_row: str, record: dict[str, Any]) -> None:
    """Reject names that cannot be displayed and impossible paths."""
    for column, text in record.items():
        # A path may contain any character except NUL.
        if "\0" in text or (column in _NAMES and _CONTROL.search(text)):
            unseen = _CONTROL.search(text)
            found = f"the character {unseen[0] if unseen else ''!r} in column {shortened(column)}"
            raise TableError.at(where_row, expected="text without control characters", found=found, remedy="remove it")
    for column in RECORDINGS:
        path = os.fsencode(record[column])
        if len(path) > _PATH_LIMIT or max(map(len, path.split(b"/"))) > _NAME_LIMIT:
            found = f"{shortened(record[column])!r} of {len(record[column])} characters"
            raise TableError.at(
                where_row, expected=f"the path of a file in column {column}", found=found, remedy="correct it"
            )
