"""Tables that are no text: parquet and Excel's .xlsx.

In: a file. Out: its cells as texts (:class:`~eavdash.data.formats.delimited.Cells`), checked by the sizes that it
declares before its content is read. Delegated to pyarrow, and to openpyxl, an optional extra.
"""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from eavdash.config.limits import unfolds
from eavdash.data.formats.delimited import Cells, check_size
from eavdash.errors import OutsideError, TableError
from eavdash.store.quoting import reason_of
from eavdash.store.readable import open_readable
from eavdash.text import shortened

_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_CSV = "save it as .xlsx or as UTF-8 CSV"
_PARTS = 10_000  # of a workbook's archive


def kind_of(path: Path) -> str:
    """Return "parquet", "xlsx" or "text"; a workbook is known by its first bytes, whatever its name.

    Raises:
        TableError: it is a spreadsheet that cannot be read, in Excel's old format or protected by a password.
    """
    if path.suffix.lower() == ".parquet":
        return "parquet"
    try:
        with open_readable(path) as source:
            head = source.read(4)
    except OSError:  # reported by the reader
        head = b""
    if head == _OLE:
        found = "a spreadsheet in Excel's old format, or with a password"
        raise TableError.at(path, expected="a table", found=found, remedy=f"{_CSV}, without a password")
    return "xlsx" if head == _ZIP or path.suffix.lower() in (".xlsx", ".xlsm") else "text"


def text_of(value: Any) -> str:
    """Return a cell as in a CSV file: 2.0 of a column with gaps is "2"."""
    if isinstance(value, str):
        return value.strip()
    if not pd.api.types.is_scalar(value):  # a list in a further column from an adapter
        return str(value)
    if pd.isna(value):
        return ""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**63
    return str(int(value)) if whole else str(value).strip()


def read_parquet(path: Path) -> Cells:
    """Read a parquet file.

    Raises:
        TableError: it cannot be read, is too large, or has cells that are neither text nor number.
    """
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
                found = f"{type(value).__name__} in column {shortened(str(column))}"
                remedy = "write the table again, with one text in each cell"
                raise TableError.at(f"{path}, line {number}", expected="a text or a number", found=found, remedy=remedy)
    cells = frame.astype(object).itertuples(index=False, name=None)
    rows = [(n, [text_of(v) for v in row]) for n, row in enumerate(cells, start=1)]
    return Cells([str(c) for c in frame.columns], rows)


def read_xlsx(path: Path) -> Cells:
    """Read the sheet of a workbook that is named "trials", or else the first; formulas give their last values.

    Raises:
        TableError: openpyxl is not installed, or the file cannot be read, is too large or empty.
    """
    try:
        import openpyxl
    except ImportError:
        remedy = "install it with: pip install 'eavdash[xlsx]', or save the table as UTF-8 CSV"
        raise TableError.at(path, expected="openpyxl, which reads .xlsx", found="none", remedy=remedy) from None
    try:
        with open_readable(path) as source, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about parts that hold no cells
            check_size(path, size=os.fstat(source.fileno()).st_size)
            _check_archive(path, source)
            book = openpyxl.load_workbook(source, read_only=True, data_only=True)
            names = [sheet.title for sheet in book.worksheets]
            chosen = next((n for n, name in enumerate(names) if name.strip().casefold() == "trials"), 0)
            if not names:
                raise TableError.at(path, expected="a sheet of trials", found="none", remedy=_CSV)
            sheet = book.worksheets[chosen]
            sheet.reset_dimensions()  # what the file declares may be any number of empty cells
            rows = _sheet_rows(path, sheet.iter_rows(values_only=True))
    except (OutsideError, TableError):
        raise
    except Exception as error:  # damaged archives and XML raise anything
        found = reason_of(error, path)
        raise TableError.at(path, expected="an .xlsx workbook", found=found, remedy=_CSV) from error
    if not rows:
        raise TableError.at(path, expected="a header and rows", found="an empty sheet", remedy="save the table again")
    width = max(len(row) for _, row in rows)
    rows = [(n, [*row, *[""] * (width - len(row))]) for n, row in rows]
    others = [name for n, name in enumerate(names) if n != chosen]
    note = f"{path}: the sheet {names[chosen]!r} is read, not {', '.join(map(repr, others[:5]))}; name one 'trials'"
    return Cells(rows[0][1], rows[1:], "sheet", (shortened(note),) if others else ())


def _check_archive(path: Path, source: Any) -> None:
    """Check the sizes that a workbook's archive declares; no more than that is unpacked."""
    with zipfile.ZipFile(source) as archive:
        parts = archive.infolist()
    names = {part.filename for part in parts}
    if "xl/workbook.xml" not in names:
        found = "an OpenDocument table" if "content.xml" in names else "another archive"
        raise TableError.at(path, expected="an .xlsx workbook", found=found, remedy=_CSV)
    check_size(path, size=sum(part.file_size for part in parts))
    if len(parts) > _PARTS or any(unfolds(part.compress_size, part.file_size) for part in parts):
        raise TableError.at(path, expected="an .xlsx workbook", found="one that unfolds without end", remedy=_CSV)
    source.seek(0)


def _sheet_rows(path: Path, cells: Iterable[tuple[Any, ...]]) -> list[tuple[int, list[str]]]:
    """The rows that are not empty, numbered as in the sheet."""
    rows, count = [], 0
    for number, row in enumerate(cells, start=1):
        count += len(row)
        check_size(path, rows=number - 1, columns=len(row), cells=count)
        if any(texts := [text_of(value) for value in row]):
            rows.append((number, texts))
    return rows
