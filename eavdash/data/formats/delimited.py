"""Text with separators, as spreadsheets and editors write it: bytes in, rows of cells out.

In: a file in UTF-8, UTF-16 or Windows-1252, with or without a byte order mark and Excel's first line ``sep=;``, with
commas, semicolons, tabs or bars between its columns. Out: the header and the numbered rows, and notes about what was
not plain. Delegated to csv: quoting.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from eavdash.config.limits import LINE, TABLE_BYTES, TABLE_CELLS, TABLE_COLUMNS, TABLE_ROWS
from eavdash.errors import TableError
from eavdash.store.readable import open_readable

#: The separators, in the order in which they are tried.
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SEP = re.compile(r'"?sep=([^\w\s"]|\t)"?\s*', re.IGNORECASE)
#: A letter of several bytes in UTF-8, which Windows-1252 shows as signs that no word has.
_SEQUENCE = re.compile(rb"[\xc3-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}")
_CHUNK = 2**20
_UNDEFINED = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")


@dataclass(frozen=True)
class Cells:
    """A table before its columns are known: ``header``, and ``rows`` of (line number, one cell per column).

    ``separator``: "" of parquet, "sheet" of a workbook. ``notes``: sentences about how the file was read.
    """

    header: list[str]
    rows: list[tuple[int, list[str]]]
    separator: str = ""
    notes: tuple[str, ...] = ()


def read_delimited(path: Path, known: Callable[[list[str]], int]) -> Cells:
    """Read a text file; ``known`` counts the columns of a header that a trial table has, and so chooses the separator.

    Raises:
        TableError: it is no such text, too large, empty, or has a line of another length than the header.
    """
    rows: list[tuple[int, list[str]]] = []
    try:
        encoding = _encoding(path)
        separator, named = _separator(path, encoding, known)
        # Without pandas, which shifts or fills lines of a wrong length.
        for number, row in csv_rows(path, encoding, strict=True, delimiter=separator):
            if any(map(str.strip, row)) and not (named and number == 1):
                rows.append((number, [cell.strip() for cell in row]))
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x} that is not"
        raise TableError.at(path, expected="UTF-8 text", found=found, remedy="save the table as UTF-8 CSV") from error
    except OSError as error:
        found = error.strerror or str(error)
        raise TableError.at(path, expected="a CSV file", found=found, remedy="fix its permissions") from error
    if not rows:
        raise TableError.at(path, expected="a header and rows", found="an empty file", remedy="save the table again")
    notes = (_guessed(path, rows),) if encoding == "cp1252" and known(rows[0][1]) else ()
    return _rectangular(path, rows, separator, notes)


def csv_rows(path: Path, encoding: str = "utf-8-sig", **dialect: Any) -> Iterator[tuple[int, list[str]]]:
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

    with open_readable(path) as source, io.TextIOWrapper(source, encoding=encoding, newline="") as file:
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
        TableError: a number exceeds its limit (:mod:`eavdash.config.limits`).
    """
    for what, found, most in (
        ("rows", rows, TABLE_ROWS),
        ("columns", columns, TABLE_COLUMNS),
        ("cells", cells, TABLE_CELLS),
        ("bytes", size, TABLE_BYTES),
    ):
        if found > most:
            remedy = "keep only the rows and columns that are needed, or make several tables"
            raise TableError.at(path, expected=f"at most {most:,} {what}", found=f"{found:,}", remedy=remedy)


def _encoding(path: Path) -> str:
    """The encoding of a file.

    Raises:
        UnicodeDecodeError: it is neither UTF-8 nor what Windows writes.
    """
    with open_readable(path) as source:
        check_size(path, size=os.fstat(source.fileno()).st_size)
        head = source.read(64)
        for mark, encoding in _MARKS.items():
            if head.startswith(mark):
                return encoding
        # Without a mark: every other byte of plain letters is zero.
        for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
            if len(head) > 8 and not any(head[first::2]) and all(head[1 - first :: 2]):
                return encoding
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            for block in _blocks(source):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            # Bytes that Windows-1252 lacks, or letters of UTF-8 as well: no reading of the file is right.
            before = b""
            for block in _blocks(source):
                if _UNDEFINED.search(block) or _SEQUENCE.search(before + block):
                    raise
                before = block[-2:]
            return "cp1252"
    return "utf-8-sig"


def _blocks(source: BinaryIO) -> Iterator[bytes]:
    source.seek(0)
    while block := source.read(_CHUNK):
        yield block


def _separator(path: Path, encoding: str, known: Callable[[list[str]], int]) -> tuple[str, bool]:
    """The character between the columns, and whether Excel's first line ``sep=`` names it."""
    with open_readable(path) as source, io.TextIOWrapper(source, encoding=encoding, newline=None) as file:
        line = file.readline(LINE)
        if match := _SEP.fullmatch(line):
            return match[1], True
        while line and not line.strip(' \t\r\n",;|'):
            line = file.readline(LINE)
    counts = {s: known([cell.strip(' "\r\n\t') for cell in line.split(s)]) for s in SEPARATORS}
    # One word of ours in a line with semicolons makes no table: its line is not taken apart, and so never quoted.
    return max(SEPARATORS, key=lambda s: counts[s] if s == "," or counts[s] > 1 else 0), False


def _guessed(path: Path, rows: list[tuple[int, list[str]]]) -> str:
    """The sentence about a file of Windows' own encoding, with a word by which a reader sees whether that is right."""
    example = next((f", such as {c!r} in line {n}" for n, row in rows for c in row if not c.isascii()), "")
    return f"{path}: not UTF-8, read as Windows-1252{example}; save it as UTF-8 CSV if that is wrong"


def _rectangular(path: Path, rows: list[tuple[int, list[str]]], separator: str, notes: tuple[str, ...]) -> Cells:
    """Check that all rows have the header's columns, apart from empty ones at the right that spreadsheets add."""
    header = rows[0][1]
    named = max((n for n, name in enumerate(header, start=1) if name), default=0)
    whole = []
    for line, cells in rows[1:]:
        if len(cells) != len(header):
            over = any(cells[len(header) :])
            if over or len(cells) < named:
                expected = f"{len(header)} fields as in the header"
                raise TableError.at(
                    f"{path}, line {line}", expected=expected, found=str(len(cells)), remedy="correct the line"
                )
            cells = [*cells, *[""] * (len(header) - len(cells))][: len(header)]
        whole.append((line, cells))
    return Cells(header, whole, separator, notes)
