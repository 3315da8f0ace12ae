"""The cache of measures: an SQLite file that survives crashes, concurrent scans and damage.

In: a cache folder. Out: the earlier answer for a file (:mod:`eavdash.health.measures.measure`), as long as the file has
the same size and modification time. It only saves time: if it is damaged, read-only or locked, the recordings are
measured again and nothing else happens.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from eavdash.errors import DataError
from eavdash.health.measures import VERSION
from eavdash.health.measures.base import MeasureRequest
from eavdash.store.private import private_file, private_folder

NAME = "scan.sqlite"
_WAIT = 10.0  # seconds for other scans to finish writing
_WRITE_EVERY = 2.0  # seconds of work that an interruption may lose
_TABLE = """
CREATE TABLE IF NOT EXISTS looks (
    column TEXT, path BLOB, parts TEXT, size INTEGER, mtime_ns INTEGER, version INTEGER, answer TEXT,
    PRIMARY KEY (column, path, parts))
"""


class MeasureCache:
    """A context manager; with ``folder`` None nothing is stored. ``problem``: the reason why nothing can be stored, or
    "".
    """

    def __init__(self, folder: Path | None) -> None:
        self.path = folder / NAME if folder else None
        self.problem = ""
        self._database: sqlite3.Connection | None = None
        self._pending: list[tuple[Any, ...]] = []
        self._written = time.monotonic()

    def __enter__(self) -> MeasureCache:
        if self.path is not None:
            self._open(self.path)
        return self

    def __exit__(self, *details: object) -> None:
        self._write()
        if self._database is not None:
            self._database.close()
            self._database = None

    def get(self, request: MeasureRequest, stamp: tuple[int, int]) -> dict[str, Any] | None:
        """Return the earlier answer for the same parts of the same, unchanged file, or None."""
        if self._database is None:
            return None
        query = "SELECT answer FROM looks WHERE column=? AND path=? AND parts=? AND size=? AND mtime_ns=? AND version=?"
        try:
            row = self._database.execute(query, (*_key(request), *stamp, VERSION)).fetchone()
            answer = json.loads(row[0]) if row else None
        except sqlite3.Error as error:
            self._close_after_error(error)
            return None
        except (ValueError, TypeError):
            return None
        complete = isinstance(answer, dict) and (
            answer.get("problem") or len(answer.get("parts", ())) == len(request.parts)
        )
        return answer if complete else None

    def put(self, request: MeasureRequest, stamp: tuple[int, int], answer: dict[str, Any]) -> None:
        """Store an answer; answers are written to disk every few seconds and at the end."""
        if self._database is None:
            return
        self._pending.append((*_key(request), *stamp, VERSION, json.dumps(answer)))
        if time.monotonic() - self._written > _WRITE_EVERY:
            self._write()

    def _open(self, path: Path, again: bool = True) -> None:
        try:
            self._database = sqlite3.connect(
                private_file(private_folder(path.parent) / NAME), timeout=_WAIT, isolation_level=None
            )
            self._database.execute(_TABLE)
            self._database.execute("SELECT answer FROM looks LIMIT 1").fetchone()
        except sqlite3.OperationalError as error:
            self._close_after_error(error)
        except sqlite3.DatabaseError as error:
            self._close_after_error(error)
            if again:
                self._open(path, again=False)
        except (DataError, OSError) as error:
            self._close_after_error(error)

    def _write(self) -> None:
        """Write all pending answers in one transaction."""
        self._written = time.monotonic()
        if self._database is None or not self._pending:
            return
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany("INSERT OR REPLACE INTO looks VALUES (?, ?, ?, ?, ?, ?, ?)", self._pending)
            self._database.execute("COMMIT")
            self.problem = ""
        except (
            sqlite3.OperationalError
        ) as error:  # locked or read-only: pending answers are tried again with the next ones
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            self.problem = " ".join(str(error).split())
            return
        except sqlite3.Error as error:
            self._close_after_error(error)
        self._pending.clear()

    def _close_after_error(self, error: Exception) -> None:
        """Continue without the database; rename its file if it is damaged rather than locked or read-only."""
        self.problem = " ".join(str(error).split())
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None
        if self.path and isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            with contextlib.suppress(OSError):
                self.path.replace(self.path.with_name(f"{NAME}.damaged"))
                self.problem = ""


def _key(request: MeasureRequest) -> tuple[str, bytes, str]:
    return request.column, os.fsencode(request.file), request.signature
