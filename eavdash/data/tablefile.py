"""Reading a trial table's file: text in, a checked frame out.

In: ``.csv`` (UTF-8, comma) or ``.parquet``. Out: a frame with all of the trial table's columns, texts as written, start
and stop as seconds; every refusal names the file, the line and the column. Parquet is delegated to pandas and pyarrow.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from eavdash.errors import EavdashError, TableError

REQUIRED = ("subject", "trial", "label")
RECORDINGS = ("eeg", "audio", "video")
OPTIONAL = ("group", "start", "stop")


def read_table(path: Path) -> pd.DataFrame:
    """The rows of a trial table's file; a column that it does not have is empty, further columns come last.

    Raises:
        TableError: unreadable, empty, a column missing, a name missing, a (subject, trial) twice, or impossible times.
    """
    header, rows = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    missing = [c for c in REQUIRED if c not in header]
    if not any(c in header for c in RECORDINGS):
        missing.append("one of " + ", ".join(RECORDINGS))
    if missing:
        raise TableError.at(
            path,
            expected=f"columns {', '.join((*REQUIRED, *OPTIONAL, *RECORDINGS))}",
            found=f"no column {' or '.join(missing)} among {', '.join(header)}",
            remedy="add it to the first line",
        )
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise TableError.at(path, expected="each column once", found=f"{twice[0]!r} twice", remedy="rename one")
    if not rows:
        raise TableError.at(path, expected="at least one trial", found="none", remedy="add a line for each trial")
    lines: dict[tuple[str, str], int] = {}
    records: list[dict[str, Any]] = []
    for line, cells in rows:
        record: dict[str, Any] = dict.fromkeys((*OPTIONAL, *RECORDINGS), "") | dict(zip(header, cells, strict=True))
        for column in REQUIRED:
            if not record[column]:
                raise _line_error(path, line, f"a {column}", "none", "fill it in")
        key = (record["subject"], record["trial"])
        if key in lines:
            found = f"subject {key[0]}, trial {key[1]} a second time (first in line {lines[key]})"
            raise _line_error(path, line, "each trial of a subject once", found, "rename or remove one")
        lines[key] = line
        record["start"], record["stop"] = _times(path, line, record["start"], record["stop"])
        records.append(record)
    order = (*REQUIRED, *OPTIONAL, *RECORDINGS)
    return pd.DataFrame(records, columns=[*order, *(c for c in header if c not in order)])


def _csv(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and (line number, cells) of a CSV file; by hand, as pandas shifts or fills lines of a wrong length."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x} that is not"
        raise TableError.at(path, expected="UTF-8 text", found=found, remedy="save the table as UTF-8 CSV") from error
    except (csv.Error, OSError) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise TableError.at(path, expected="a CSV file", found=found, remedy="save the table as CSV again") from error
    if not rows:
        raise TableError.at(path, expected="a header and trials", found="an empty file", remedy="save the table again")
    header = rows[0][1]
    for line, cells in rows[1:]:
        if len(cells) != len(header):
            raise _line_error(path, line, f"{len(header)} fields as in the header", str(len(cells)), "mend the line")
    return header, rows[1:]


def _parquet(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # pyarrow's errors share no base
        found = " ".join(str(error).split()).rstrip(".")
        raise TableError.at(path, expected="a parquet file", found=found, remedy="write the table again") from error
    cells = frame.astype(object).itertuples(index=False, name=None)
    return [str(c) for c in frame.columns], [(n, [_text(v) for v in row]) for n, row in enumerate(cells, start=1)]


def _text(value: Any) -> str:
    """A parquet cell as it would stand in a CSV file: 2.0 of a column with gaps is "2"."""
    if pd.isna(value):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _times(path: Path, line: int, start: str, stop: str) -> tuple[float, float]:
    seconds = []
    for column, text in (("start", start), ("stop", stop)):
        try:
            value = float(text) if text else math.nan
        except ValueError:
            value = math.inf
        if math.isinf(value) or value < 0 or (text and math.isnan(value)):
            raise _line_error(path, line, f"{column} in seconds, 0 or more, or nothing", repr(text), "mend it")
        seconds.append(value)
    if seconds[1] <= (0.0 if math.isnan(seconds[0]) else seconds[0]):
        raise _line_error(path, line, f"stop after start ({start or '0'} s)", f"{stop} s", "mend the times")
    return seconds[0], seconds[1]


def _line_error(path: Path, line: int, expected: str, found: str, remedy: str) -> EavdashError:
    return TableError.at(f"{path}, line {line}", expected=expected, found=found, remedy=remedy)
