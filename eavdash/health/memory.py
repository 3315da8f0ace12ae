"""The cache of measures, which survives crashes, concurrent scans and damage.

In: a cache folder. Out: the earlier answer for a file (:mod:`eavdash.health.measures.measure`), as long as the file has
the same size and modification time. Delegated to data/cache/database.py: the file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from eavdash.data.cache.database import Database
from eavdash.health.measures import VERSION
from eavdash.health.measures.base import MeasureRequest

NAME = "scan.sqlite"
_TABLE = """
CREATE TABLE IF NOT EXISTS looks (
    column TEXT, path BLOB, parts TEXT, size INTEGER, mtime_ns INTEGER, version INTEGER, answer TEXT,
    PRIMARY KEY (column, path, parts))
"""


class MeasureCache(Database):
    """A context manager; with ``folder`` None nothing is stored."""

    def __init__(self, folder: Path | None) -> None:
        super().__init__(folder and folder / NAME, _TABLE)

    def get(self, request: MeasureRequest, stamp: tuple[int, int]) -> dict[str, Any] | None:
        """Return the earlier answer for the same parts of the same, unchanged file, or None."""
        query = "SELECT answer FROM looks WHERE column=? AND path=? AND parts=? AND size=? AND mtime_ns=? AND version=?"
        try:
            rows = self.query(query, *_key(request), *stamp, VERSION)
            answer = json.loads(rows[0][0]) if rows else None
        except (ValueError, TypeError):
            return None
        complete = isinstance(answer, dict) and (
            answer.get("problem") or len(answer.get("parts", ())) == len(request.parts)
        )
        return answer if complete else None

    def put(self, request: MeasureRequest, stamp: tuple[int, int], answer: dict[str, Any]) -> None:
        """Store an answer."""
        self.add("looks", *_key(request), *stamp, VERSION, json.dumps(answer))


def _key(request: MeasureRequest) -> tuple[str, bytes, str]:
    return request.column, os.fsencode(request.file), request.signature
