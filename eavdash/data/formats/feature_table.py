"""Tables of features by time: action units of OpenFace or py-feat, descriptors of openSMILE, any with a time column.

In: a file with separators, parquet or .xlsx whose rows have a time, and the study's settings. Out: a
:class:`FeatureTable`, or a RecordingError in one sentence. Delegated to delimited.py and workbook.py: the cells, with
their limits; to feature_columns.py: which column is what.

A row is *recorded* if its ``success`` is 1 and its ``confidence`` at least :data:`SURE`, where the file has these, and
if it has a number at all: py-feat leaves the rows of frames without a face empty. Of several faces that one is read
that has the most recorded rows.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eavdash.config.feature_table import FeatureTableConfig
from eavdash.config.limits import SECONDS
from eavdash.data.formats.delimited import Cells, read_delimited
from eavdash.data.formats.feature_columns import (
    CONFIDENCE,
    FACES,
    SUCCESS,
    SUFFIXES,
    TIMES,
    feature_places,
    is_feature_table,
    place_of,
    time_place,
)
from eavdash.data.formats.workbook import kind_of, read_parquet, read_xlsx
from eavdash.data.recording import per_file
from eavdash.errors import OutsideError, RecordingError, TableError
from eavdash.text import natural_key, shortened

#: Least confidence of a row that counts as recorded.
SURE = 0.5
#: Larger numbers are no features: their squares are infinite in float32.
LARGEST = 1e18
_EMPTY = frozenset(("", "nan", "na", "n/a", "none", "null"))
_TRUTH = {"true": 1.0, "false": 0.0}
_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
#: ``0 days 00:00:01.5`` of pandas, ``00:00:01.5`` and ``00:01.5``.
_CLOCK = re.compile(r"(?:(\d{1,6}) days? )?(?:(\d{1,6}):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)")


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """The rows of one file (of one face), in the order of their times; columns in natural order, not the file's.

    ``times`` (row,) float64, seconds; ``values`` (row, column) float32, 0 where not recorded; ``recorded`` (row,) bool;
    ``note``: what was chosen among several faces, or "".
    """

    columns: tuple[str, ...]
    times: np.ndarray
    values: np.ndarray
    recorded: np.ndarray
    note: str = ""

    @property
    def spacing(self) -> float:
        """Median seconds between rows."""
        return float(np.median(np.diff(self.times)))

    @property
    def duration(self) -> float:
        """Seconds from 0 to the end of the last row."""
        return float(self.times[-1]) + self.spacing


@dataclass(frozen=True)
class FeatureTableInfo:
    """A table without its rows."""

    columns: tuple[str, ...]
    duration: float


@per_file(1024)
def feature_table_info(path: str, settings: FeatureTableConfig) -> FeatureTableInfo:
    """Return the columns and the duration (s) of a table; raises as :func:`read_feature_table`."""
    table = read_feature_table(path, settings)
    return FeatureTableInfo(table.columns, table.duration)


@per_file(1)
def read_feature_table(path: str, settings: FeatureTableConfig) -> FeatureTable:
    """Read a table of features.

    Raises:
        RecordingError: it is no table or too large, has no times or no features, its times do not increase, or a
            recorded row has a cell that is no finite number.
    """
    if not is_feature_table(path):
        raise RecordingError.at(
            path,
            expected=f"a table of features ({', '.join(SUFFIXES)})",
            found=f"a file {Path(path).suffix or 'without a suffix'}",
            remedy="name the table in the trial table, or choose an encoder of recordings",
        )
    cells = _cells(path)
    place, per_second = time_place(path, cells.header, settings)
    if not cells.rows:
        raise RecordingError.at(path, expected="rows of features", found="none", remedy="extract them again")
    reader = _Columns(path, cells)
    times = reader.times(place, per_second)
    sure = reader.sure()
    places = _numeric(reader, feature_places(path, cells.header, settings))
    # Files may differ in their order, and a model of one must read another.
    places = sorted(places, key=lambda n: natural_key(cells.header[n]))
    names = tuple(cells.header[n] for n in places)
    values = np.stack([reader.numbers(n) for n in places], axis=1)
    recorded = sure & ~np.isnan(values).all(axis=1)
    chosen, note = _one_face(reader, recorded)
    lines = np.array([line for line, _ in cells.rows])[chosen]
    times, values, recorded = times[chosen], values[chosen], recorded[chosen]
    _check_times(path, cells.header[place], times, lines, bool(note))
    with np.errstate(over="ignore"):
        values = np.where(recorded[:, None], values, 0.0).astype(np.float32)
    _check_values(path, names, values, recorded, lines)
    return FeatureTable(names, times, values, recorded, note)


def _cells(path: str) -> Cells:
    """The cells of a file; names of columns without blanks at their ends."""
    file = Path(path)
    try:
        kind = kind_of(file)
        if kind != "text":
            return read_parquet(file) if kind == "parquet" else read_xlsx(file)

        def known(names: list[str]) -> int:
            return (place_of(names, *TIMES) is not None) * 100_000 + len(names)

        return read_delimited(file, known)
    except OutsideError:
        raise
    except TableError as error:
        found, remedy = error.found, error.remedy
        raise RecordingError.at(error.where, expected=error.expected, found=found, remedy=remedy) from error


class _Columns:
    """The columns of a file as numbers."""

    def __init__(self, path: str, cells: Cells) -> None:
        self.path, self.cells = path, cells
        # Where commas separate the columns too, a comma inside a cell may be one of English thousands.
        self.commas = cells.separator not in ("", ",", "sheet")

    def numbers(self, place: int) -> np.ndarray:
        """Return a column (row,) float64; NaN for an empty cell."""
        try:
            return np.array([float(row[place]) for _, row in self.cells.rows])
        except ValueError:  # an empty cell, a decimal comma, or no number
            return np.array([self._number(line, row[place], place) for line, row in self.cells.rows])

    def times(self, place: int, per_second: float) -> np.ndarray:
        """Return a column (row,) of seconds float64."""
        if not any(":" in row[place] for _, row in self.cells.rows):
            return self.numbers(place) / per_second
        return np.array([self._clock(line, row[place], place) for line, row in self.cells.rows])

    def sure(self) -> np.ndarray:
        """Return which rows (row,) bool the program was sure of; all where it does not say."""
        places = [place_of(self.cells.header, name) for name in (SUCCESS, CONFIDENCE)]
        columns = [self.numbers(place) for place in places if place is not None]
        every = np.ones(len(self.cells.rows), dtype=bool)
        for column in columns:
            every &= np.nan_to_num(column) >= SURE
        return every

    def has_numbers(self, place: int) -> bool:
        """Return True if a cell of a column is a number, which names of files are not."""
        return any(row[place].casefold() not in _EMPTY and self._is_number(row[place]) for _, row in self.cells.rows)

    def _is_number(self, text: str) -> bool:
        try:
            self._number(0, text, 0)
        except RecordingError:
            return False
        return True

    def _number(self, line: int, text: str, place: int) -> float:
        lower = text.casefold()
        if lower in _EMPTY:
            return math.nan
        if self.commas and _COMMA.fullmatch(text):
            text = text.replace(",", ".")
        try:
            return _TRUTH[lower] if lower in _TRUTH else float(text)
        except ValueError:
            raise self._wrong(line, text, place, "a number", "or leave the column out (table.columns)") from None

    def _clock(self, line: int, text: str, place: int) -> float:
        match = _CLOCK.fullmatch(text)
        if match is None:
            raise self._wrong(line, text, place, "a time in seconds, or such as 00:00:01.5", "")
        days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return days * 86400 + hours * 3600 + minutes * 60 + seconds

    def _wrong(self, line: int, text: str, place: int, expected: str, remedy: str) -> RecordingError:
        return RecordingError.at(
            f"{self.path}, line {line}",
            expected=f"{expected} in column {shortened(self.cells.header[place], 60)!r}",
            found=repr(shortened(text, 60)),
            remedy=f"correct it {remedy}".strip(),
        )


def _numeric(reader: _Columns, places: list[int]) -> list[int]:
    """Leave out the columns without any number."""
    kept = [place for place in places if reader.has_numbers(place)]
    if not kept:
        raise RecordingError.at(
            reader.path, expected="columns of numbers beside the times", found="none", remedy="extract them again"
        )
    return kept


def _one_face(reader: _Columns, recorded: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the rows (bool) of the face with the most recorded rows, and a note if there are several."""
    every = np.ones(len(recorded), dtype=bool)
    place = place_of(reader.cells.header, *FACES)
    if place is None:
        return every, ""
    faces = reader.numbers(place)
    known = np.unique(faces[~np.isnan(faces)])
    if len(known) < 2:
        return every, ""
    counts = [int((recorded & (faces == face)).sum()) for face in known]
    best = known[int(np.argmax(counts))]
    name = reader.cells.header[place]
    note = f"rows of {len(known)} faces; that with {name} {best:g} is read, which has the most ({max(counts):,})"
    return faces == best, note


def _check_times(path: str, name: str, times: np.ndarray, lines: np.ndarray, faces: bool) -> None:
    """Check that times increase from 0 on, within the length of a recording."""
    where, column = f"{path}, line ", f"times in column {shortened(name, 60)!r}"
    remedy = "correct it, or name another column with table.time"
    wrong = np.flatnonzero(~np.isfinite(times) | (times < 0) | (times > SECONDS))
    if len(wrong):
        at = int(wrong[0])
        found = f"{times[at]:.15g}" if math.isfinite(times[at]) else "none"
        expected = f"{column} in seconds from the beginning of the recording, 0 to {SECONDS:,}"
        raise RecordingError.at(f"{where}{lines[at]}", expected=expected, found=found, remedy=remedy)
    if len(times) < 2:
        raise RecordingError.at(
            path, expected="rows at two times or more", found=str(len(times)), remedy="extract them again"
        )
    back = np.flatnonzero(np.diff(times) <= 0)
    if len(back):
        at = int(back[0]) + 1
        again = "a second time" if times[at] == times[at - 1] else f"after {times[at - 1]:g}"
        more = "" if faces else "; rows of several faces need a column face_id"
        found, where = f"{times[at]:g} {again}", f"{where}{lines[at]}"
        raise RecordingError.at(where, expected=f"{column} that increase", found=found, remedy=remedy + more)


def _check_values(
    path: str, names: tuple[str, ...], values: np.ndarray, recorded: np.ndarray, lines: np.ndarray
) -> None:
    """Check that recorded rows are finite, and that something changes."""
    if not recorded.any():
        raise RecordingError.at(
            path,
            expected=f"at least one recorded row ({SUCCESS} 1, {CONFIDENCE} of {SURE:g} or more, with numbers)",
            found=f"none of {len(recorded):,}",
            remedy="leave the trial out, or extract its features again",
        )
    wrong = np.argwhere(~(np.abs(values) <= LARGEST))
    if len(wrong):
        row, column = map(int, wrong[0])
        value = float(values[row, column])
        what = "no number" if math.isnan(value) else "an infinite number" if math.isinf(value) else f"{value:g}"
        raise RecordingError.at(
            f"{path}, line {lines[row]}",
            expected="finite samples in each recorded row",
            found=f"{what} in column {shortened(names[column], 60)!r}",
            remedy="extract the features again, or leave the column out (table.columns)",
        )
    rows = values[recorded]
    if len(rows) > 1 and (rows == rows[0]).all():
        raise RecordingError.at(
            path,
            expected="features that change over time",
            found=f"the same numbers in all {len(rows):,} recorded rows",
            remedy="leave the trial out, or extract its features again",
        )
