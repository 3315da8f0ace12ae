"""A database of what files were found to be, which only saves time.

In: a file of SQLite in a cache, and its tables. Out: the rows stored before; new ones are written every few seconds,
and processes may share the file. If it is damaged it is made anew; if it is locked, read-only or another program's,
everything is found out again and nothing else happens.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any, Self

from eavdash.errors import DataError
from eavdash.store.private import private_file, private_folder

_WAIT = 10.0  # seconds to wait for a database locked by another process
_FLUSH = 2.0  # seconds between two writes of new rows: what an interruption may lose


class Database:
    """A context manager, used by one thread; with ``file`` None nothing is stored.

    ``problem``: the reason why nothing can be stored, or "". A file of another ``version`` counts as damaged.
    """

    def __init__(self, file: Path | None, *tables: str, version: int = 0) -> None:
        self.file, self.problem = file, ""
        self._tables, self._version = tables, version
        self._connection: sqlite3.Connection | None = None
        self._pending: dict[str, list[tuple[Any, ...]]] = {}
        self._last_flush = time.monotonic()
        self._repaired = False

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def query(self, question: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows that answer a question in SQL; none if the database cannot be read."""
        if self._connection is None:
            return []
        try:
            return self._connection.execute(question, values).fetchall()
        except sqlite3.Error as error:
            self._disconnect(error)
            return []

    def add(self, table: str, *row: Any) -> None:
        """Store a row, in place of one with the same key."""
        if self._connection is None:
            return
        self._pending.setdefault(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(row))})", []).append(row)
        if time.monotonic() - self._last_flush > _FLUSH:
            self._flush()

    def _open(self) -> None:
        if self.file is None:
            return
        try:
            file = private_file(private_folder(self.file.parent) / self.file.name)
            self._connection = sqlite3.connect(file, timeout=_WAIT, isolation_level=None)
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, self._version):
                raise sqlite3.DatabaseError("another version")
            for table in self._tables:
                self._connection.execute(table)
            if version != self._version:
                self._connection.execute(f"PRAGMA user_version = {self._version}")
        except (DataError, OSError, sqlite3.Error) as error:
            self._disconnect(error)

    def _flush(self) -> None:
        """Write new rows in one short transaction, so that no process waits while another reads a file."""
        self._last_flush = time.monotonic()
        if self._connection is None or not self._pending:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for statement, rows in self._pending.items():
                self._connection.executemany(statement, rows)
            self._connection.execute("COMMIT")
            self._pending, self.problem = {}, ""
        except sqlite3.OperationalError as error:  # locked or read-only: tried again with the next rows
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            self.problem = " ".join(str(error).split())
        except sqlite3.Error as error:
            self._disconnect(error)

    def _disconnect(self, error: Exception) -> None:
        """Continue without the database or, if it is damaged rather than locked or read-only, with a new one, once."""
        self.problem = " ".join(str(error).split())
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        if self.file is None or not damaged or self._repaired:
            return
        self._repaired, self.problem = True, ""
        for end in ("", "-journal"):
            with contextlib.suppress(OSError):
                self.file.with_name(self.file.name + end).unlink()
        self._open()
