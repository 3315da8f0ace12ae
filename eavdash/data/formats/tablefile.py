"""Reading a trial table's file: text in, a checked frame out.

In: ``.csv`` (UTF-8, comma) or ``.parquet``, or the frame that an adapter made. Out: a frame with all of the trial
table's columns, texts as written, start and stop in seconds; every error names the file, the line and the column.
Parquet is delegated to pandas and pyarrow.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from eavdash.errors import OutsideError, TableError
from eavdash.limits import LINE, SECONDS, TABLE_BYTES, TABLE_CELLS, TABLE_COLUMNS, TABLE_ROWS
from eavdash.store.quoting import reason_of
from eavdash.store.readable import open_readable

REQUIRED = ("subject", "trial", "label")
RECORDINGS = ("eeg", "audio", "video")
OPTIONAL = ("group", "start", "stop")
_PATH_LIMIT, _NAME_LIMIT = 4095, 255  # bytes, of a path and of each of its parts
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NAMES = frozenset((*REQUIRED, "group"))
_ORDER = (*REQUIRED, *OPTIONAL, *RECORDINGS)


def read_table(path: Path) -> pd.DataFrame:
    """Read the rows of a trial table's file; a missing optional column is empty, further columns come last.

    Raises:
        TableError: unreadable, empty, a column missing, a name missing, a (subject, trial) twice, or impossible times.
    """
    header, rows = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    return _check_rows(path, header, rows, "line", SECONDS)


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
    return [v if exact and isinstance(v, str) else _text(v) for v in column.to_numpy(dtype=object)]


def _check_rows(
    where: str | Path, header: list[str], rows: list[tuple[int, list[str]]], unit: str, longest: float
) -> pd.DataFrame:
    """Check header and rows; ``longest``: the maximum time, infinite for adapters, whose times fail trial by trial."""
    missing = [c for c in REQUIRED if c not in header]
    if not any(c in header for c in RECORDINGS):
        missing.append("one of " + ", ".join(RECORDINGS))
    if missing:
        _check_separator(where, header)
        raise TableError.at(
            where,
            expected=f"columns {', '.join((*REQUIRED, *OPTIONAL, *RECORDINGS))}",
            found=f"no column {' or '.join(missing)}{_among(header)}",
            remedy="add it to the first line",
        )
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise TableError.at(
            where, expected="each column once", found=f"{_shorten(twice[0])} twice", remedy="rename one"
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
            found = f"subject {_shorten(key[0])}, trial {_shorten(key[1])} a second time (first in {unit} {lines[key]})"
            raise TableError.at(
                where_row, expected="each trial of a subject once", found=found, remedy="rename or remove one"
            )
        lines[key] = line
        record["start"], record["stop"] = _times(where_row, record["start"], record["stop"], longest)
        records.append(record)
    return pd.DataFrame(records, columns=[*_ORDER, *(c for c in header if c not in _ORDER)])


def _csv(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and (line number, cells) of a CSV file; without pandas, which shifts or fills lines of a wrong length."""
    rows: list[tuple[int, list[str]]] = []
    try:
        for number, row in csv_rows(path, strict=True):
            if any(map(str.strip, row)):
                rows.append((number, [cell.strip() for cell in row]))
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x} that is not"
        raise TableError.at(path, expected="UTF-8 text", found=found, remedy="save the table as UTF-8 CSV") from error
    except OSError as error:
        found = error.strerror or str(error)
        raise TableError.at(path, expected="a CSV file", found=found, remedy="fix its permissions") from error
    if not rows:
        raise TableError.at(path, expected="a header and trials", found="an empty file", remedy="save the table again")
    header = rows[0][1]
    for line, cells in rows[1:]:
        if len(cells) != len(header):
            expected = f"{len(header)} fields as in the header"
            raise TableError.at(
                f"{path}, line {line}", expected=expected, found=str(len(cells)), remedy="correct the line"
            )
    return header, rows[1:]


def csv_rows(path: Path, **dialect: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its last line, cells) of each row of a text file.

    Raises:
        TableError: it is not such a file, or has more bytes, rows, columns or cells than a table may have.
        UnicodeDecodeError, OSError: it cannot be read.
    """
    cells, taken = 0, 0

    def lines(file: TextIO) -> Iterator[str]:
        nonlocal taken
        while line := file.readline(LINE + 1):
            taken += len(line)
            if taken > LINE:
                raise csv.Error(f"a row of more than {LINE:,} characters")
            yield line

    with open_readable(path) as source, io.TextIOWrapper(source, encoding="utf-8-sig", newline="") as file:
        check_size(path, size=os.fstat(source.fileno()).st_size)
        reader = csv.reader(lines(file), **dialect)
        try:
            for number, row in enumerate(reader):
                taken, cells = 0, cells + len(row)
                check_size(path, rows=number, columns=len(row), cells=cells)
                yield reader.line_num, row
        except csv.Error as error:
            where_row, remedy = (
                f"{path}, line {max(1, reader.line_num)}",
                "close the quotation mark, or save the table again",
            )
            raise TableError.at(where_row, expected="a CSV file", found=str(error), remedy=remedy) from error


def check_size(path: Path, rows: int = 0, columns: int = 0, cells: int = 0, size: int = 0) -> None:
    """Check the size of a table, before more of it is read.

    Raises:
        TableError: a number exceeds its limit (:mod:`eavdash.limits`).
    """
    for what, found, most in (
        ("rows", rows, TABLE_ROWS),
        ("columns", columns, TABLE_COLUMNS),
        ("cells", cells, TABLE_CELLS),
        ("bytes", size, TABLE_BYTES),
    ):
        if found > most:
            remedy = "keep only the trials and columns that are needed, or make several tables"
            raise TableError.at(path, expected=f"at most {most:,} {what}", found=f"{found:,}", remedy=remedy)


def _parquet(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    from pyarrow import parquet, types

    try:
        with open_readable(path) as source, parquet.ParquetFile(source) as file:
            about, columns = file.metadata, file.schema_arrow
            check_size(path, about.num_rows, about.num_columns, about.num_rows * about.num_columns)
            groups = [about.row_group(n) for n in range(about.num_row_groups)]
            parts = [group.column(n) for group in groups for n in range(group.num_columns)]
            # A list has any number of values in a row.
            cells, size = sum(part.num_values for part in parts), sum(part.total_uncompressed_size for part in parts)
            check_size(path, cells=cells, size=size)
        # Texts that occur many times are in the file once: they share memory too.
        texts = [c.name for c in columns if types.is_string(c.type) or types.is_large_string(c.type)]
        with open_readable(path) as source, parquet.ParquetFile(source, read_dictionary=texts) as file:
            frame = file.read().to_pandas()
    except (OutsideError, TableError):
        raise
    except Exception as error:  # pyarrow's errors share no base
        found = reason_of(error, path)
        raise TableError.at(path, expected="a parquet file", found=found, remedy="write the table again") from error
    for column in frame.columns:
        for number, value in enumerate(frame[column].astype(object), start=1):
            if isinstance(value, bytes) or not pd.api.types.is_scalar(value):
                found = f"{type(value).__name__} in column {_shorten(str(column))}"
                remedy = "write the table again, with one text in each cell"
                raise TableError.at(f"{path}, line {number}", expected="a text or a number", found=found, remedy=remedy)
    cells = frame.astype(object).itertuples(index=False, name=None)
    return [str(c) for c in frame.columns], [(n, [_text(v) for v in row]) for n, row in enumerate(cells, start=1)]


def _text(value: Any) -> str:
    """A cell as in a CSV file: 2.0 of a column with gaps is "2"."""
    if isinstance(value, str):
        return value.strip()
    if not pd.api.types.is_scalar(value):  # a list in a further column from an adapter
        return str(value)
    if pd.isna(value):
        return ""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**63
    return str(int(value)) if whole else str(value).strip()


def _times(where_row: str, start: str, stop: str, longest: float) -> tuple[float, float]:
    seconds = []
    for column, text in (("start", start), ("stop", stop)):
        try:
            value = float(text) if text else math.nan
        except ValueError:
            value = math.inf
        if text and (not 0 <= value <= longest or math.isinf(value)):
            expected = f"{column} in seconds, 0 to {SECONDS}, or nothing"
            raise TableError.at(where_row, expected=expected, found=repr(_shorten(text)), remedy="correct it")
        seconds.append(value)
    if seconds[1] <= (0.0 if math.isnan(seconds[0]) else seconds[0]):
        expected = f"stop after start ({start or '0'} s)"
        raise TableError.at(where_row, expected=expected, found=f"{stop} s", remedy="correct the times")
    return seconds[0], seconds[1]


def _among(header: list[str]) -> str:
    """Name the columns of what is a table; the first line of any other file is not quoted."""
    known = {*REQUIRED, *OPTIONAL, *RECORDINGS} & set(header)
    return f" among {_shorten(', '.join(header))}" if known else " and none of the others: this is no trial table"


def _check_separator(where: str | Path, header: list[str]) -> None:
    """Raise an error that names the separator if the columns exist but are not separated by commas."""
    for mark, name in _SEPARATORS.items():
        if len(header) == 1 and {c.strip() for c in header[0].split(mark)} >= set(REQUIRED):
            raise TableError.at(where, expected="columns separated by commas", found=name, remedy="save it with commas")


def _check_texts(where_row: str, record: dict[str, Any]) -> None:
    """Reject names that cannot be displayed and impossible paths."""
    for column, text in record.items():
        # A path may contain any character except NUL.
        if "\0" in text or (column in _NAMES and _CONTROL.search(text)):
            unseen = _CONTROL.search(text)
            found = f"the character {unseen[0] if unseen else ''!r} in column {_shorten(column)}"
            raise TableError.at(where_row, expected="text without control characters", found=found, remedy="remove it")
    for column in RECORDINGS:
        path = os.fsencode(record[column])
        if len(path) > _PATH_LIMIT or max(map(len, path.split(b"/"))) > _NAME_LIMIT:
            found = f"{_shorten(record[column])!r} of {len(record[column])} characters"
            raise TableError.at(
                where_row, expected=f"the path of a file in column {column}", found=found, remedy="correct it"
            )


def _shorten(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:197]}..."
