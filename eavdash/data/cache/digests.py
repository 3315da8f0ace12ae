"""Digests: hashes of whole files, remembered until a file changes.

In: paths of recordings (``x.mat#41`` is the file x.mat). Out: digests; a copied, moved or touched file keeps its
digest, a file modified in place gets another. Delegated to hashlib: SHA-256, with hardware support twice as fast as
BLAKE2b; to SQLite: the database of known digests, one file in the cache that all processes share. If it is lost,
damaged or locked, files are hashed again and nothing else happens.

A digest is stored by path, size and both time stamps of the file (modification time, and the change time of its inode,
which no program can reset). The only undetected case is a file system without a reliable change time on which a byte is
changed, the size kept and the modification time restored. A file whose time stamps are more recent than the coarsest
clock of a file system is always hashed: it could change again without changing its time stamps.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from eavdash.data.recording import split_item, stamp, unreadable
from eavdash.errors import DataError, RecordingError
from eavdash.store.private import private_file, private_folder
from eavdash.store.readable import open_readable

#: Name of the database in a cache.
FILE = "digests.sqlite"
SETTLED = 2.0  # seconds after which a later change of a file is visible in its time stamps
_LENGTH = 32  # hexadecimal digits of a digest
_VERSION = 1
_FileState = tuple[bytes, int, int, int]  # path, size, modification and change (nanoseconds)
_Hashed = tuple[str, _FileState]
_TABLES = (
    "CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size, modified, changed, digest TEXT) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value REAL) WITHOUT ROWID",
)
_FLUSH = 2.0  # seconds between two writes of new rows
_WAIT = 10.0  # seconds to wait for a database locked by another process

#: Recordings of several files: for a suffix, the suffixes of the companion files in the same folder.
_BESIDE = {".set": (".fdt",), ".eeg": (".pnt", ".log", ".21e"), ".lay": (".dat",), ".cdt": (".cdt.dpa", ".cdt.dpo")}


def digest(path: str, cache: Path) -> str:
    """Return the digest of a recording's content, 32 hexadecimal digits, and remember it in ``cache``.

    A recording of several files (BrainVision, EEGLAB, split FIF) has a single digest.

    Raises:
        RecordingError: there is no such file, it is empty, or it cannot be read.
    """
    with Digests(cache) as known:
        return known.of(path)


def digests(
    paths: Iterable[str], cache: Path, report: Callable[[int, int], None] | None = None, jobs: int = 1
) -> dict[str, str]:
    """Return the digest of each path, hashed by ``jobs`` threads; ``report(done, total)`` is called after each.

    Raises:
        RecordingError: as :func:`digest`, for the first path in order that fails; the other digests are kept.
    """
    wanted = list(dict.fromkeys(paths))
    found: dict[str, str] = {}
    with Digests(cache) as known:
        for path, value in zip(wanted, known.of_all(wanted, jobs), strict=True):
            found[path] = value
            if report is not None:
                report(len(found), len(wanted))
    return found


class Digests:
    """The open database of digests: a context manager for many files, used by one thread.

    It also stores numbers that depend on content alone, such as a recording's length (:meth:`fact`).
    """

    def __init__(self, cache: Path) -> None:
        self.file = cache / FILE
        self._database: sqlite3.Connection | None = None
        self._files: list[tuple[Any, ...]] = []
        self._facts: list[tuple[str, float]] = []
        self._last_flush = time.monotonic()

    def __enter__(self) -> Digests:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        if self._database is not None:
            self._database.close()

    def of(self, path: str) -> str:
        """Return the digest of a recording.

        Raises:
            RecordingError: as :func:`digest`.
        """
        return self.recall(path) or self.learn(path, *_hash(path))

    def of_all(self, paths: Sequence[str], jobs: int = 1) -> Iterator[str]:
        """Yield the digests of recordings in order; ``jobs`` threads hash those that are not known.

        Raises:
            RecordingError: as :func:`digest`, in the order of the paths.
        """
        with ThreadPoolExecutor(max(1, jobs)) as pool:
            begun: list[str | RecordingError | Future[_Hashed]] = []
            for path in paths:
                try:
                    begun.append(self.recall(path) or pool.submit(_hash, path))
                except RecordingError as error:
                    begun.append(error)
            try:
                for path, found in zip(paths, begun, strict=True):
                    if isinstance(found, RecordingError):
                        raise found
                    yield found if isinstance(found, str) else self.learn(path, *found.result())
            finally:
                pool.shutdown(cancel_futures=True)

    def recall(self, path: str) -> str | None:
        """Return the known digest of a recording in its present state, or None.

        Raises:
            RecordingError: there is no such file, or it is empty.
        """
        stamp(path)  # raises if it is missing or empty
        rows = self._query(
            "SELECT digest FROM files WHERE (path, size, modified, changed) = (?, ?, ?, ?)", _file_state(path)
        )
        found = rows[0][0] if rows else None
        return found if isinstance(found, str) and len(found) == _LENGTH else None

    def learn(self, path: str, value: str, state: _FileState) -> str:
        """Store the digest of a recording if its ``state`` did not change during hashing; return the digest."""
        if time.time_ns() - max(state[2:]) > SETTLED * 1e9 and state == _file_state(path):
            self._files.append((*state, value))
            self._flush_if_due()
        return value

    def fact(self, name: str, find: Callable[[], float]) -> float:
        """Return the number of this name, computed by ``find`` once. The name must contain all that it depends on."""
        rows = self._query("SELECT value FROM facts WHERE name = ?", (name,))
        if rows and isinstance(rows[0][0], float):
            return rows[0][0]
        value = float(find())
        self._facts.append((name, value))
        self._flush_if_due()
        return value

    def _open(self) -> None:
        """Open the database, a new one if it is damaged; work without one if that fails."""
        for _ in range(2):
            try:
                self._database = sqlite3.connect(
                    private_file(private_folder(self.file.parent) / FILE), timeout=_WAIT, isolation_level=None
                )
                version = self._database.execute("PRAGMA user_version").fetchone()[0]
                if version not in (0, _VERSION):
                    raise sqlite3.DatabaseError("another version")
                for table in _TABLES:
                    self._database.execute(table)
                if version == 0:
                    self._database.execute(f"PRAGMA user_version = {_VERSION}")
                return
            except (DataError, OSError, sqlite3.Error) as error:
                self._disconnect(error)

    def _query(self, question: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        if self._database is None:
            return []
        try:
            return self._database.execute(question, values).fetchall()
        except sqlite3.Error as error:
            self._disconnect(error)
            return []

    def _flush_if_due(self) -> None:
        if time.monotonic() - self._last_flush > _FLUSH:
            self._flush()

    def _flush(self) -> None:
        """Write new rows in one short transaction, so that no process waits while another hashes a file."""
        files, facts = self._files, self._facts
        self._files, self._facts, self._last_flush = [], [], time.monotonic()
        if self._database is None or not (files or facts):
            return
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", files)
            self._database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            self._disconnect(error)

    def _disconnect(self, error: Exception) -> None:
        """Work without the database after an error; delete its file if it is damaged rather than locked or full."""
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
        self._database = None
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            for name in (self.file.name, f"{self.file.name}-journal"):
                with contextlib.suppress(OSError):
                    self.file.with_name(name).unlink()


def files_of(path: str) -> list[Path]:
    """The files of a recording: the one in the table, and its companion files, if any.

    BrainVision's header names them; those of EEGLAB, split FIF, Nihon Kohden, Persyst and Curry are in the same folder.
    """
    file = Path(split_item(path)[0])
    suffix = file.suffix.lower()
    others: list[Path] = []
    if suffix in (".vhdr", ".ahdr"):
        others = _referenced_files(file)
    elif suffix == ".fif":
        parts = (file.with_name(f"{file.stem}-{n}{file.suffix}") for n in count(1))
        others = list(takewhile(Path.is_file, parts))
    elif suffix in _BESIDE:
        others = [file.with_name(file.stem + e) for end in _BESIDE[suffix] for e in (end, end.upper())]
    return [file, *sorted(p for p in others if p.is_file())]


def _referenced_files(header: Path) -> list[Path]:
    found = []
    with contextlib.suppress(OSError):
        with header.open("rb") as file:
            lines = file.read(10_000).splitlines()
        for line in lines:
            key, _, value = line.partition(b"=")
            if key.strip().lower() in (b"datafile", b"markerfile") and value.strip():
                name = os.fsdecode(value.strip()).replace("$b", header.stem)
                found.append(header.with_name(name) if "/" not in name else header.parent / name)
    return found


def _file_state(path: str) -> _FileState:
    """A recording's path, total size, and latest modification and change time (nanoseconds) of all its files."""
    files = files_of(path)
    stats = []
    for file in files:
        with contextlib.suppress(OSError):  # a file deleted meanwhile changes the total size
            stats.append(file.stat())
    size = sum(s.st_size for s in stats)
    newest = [max((getattr(s, name) for s in stats), default=0) for name in ("st_mtime_ns", "st_ctime_ns")]
    return os.fsencode(files[0].absolute()), size, newest[0], newest[1]


def _hash(path: str) -> _Hashed:
    """Hash a recording's content; return the digest and the state of its files before they were read."""
    state = _file_state(path)
    parts = []
    for file in files_of(path):
        try:
            with open_readable(file) as opened:
                parts.append(hashlib.file_digest(opened, "sha256").hexdigest()[:_LENGTH])
        except OSError as error:
            raise unreadable(str(file), "a readable file", error) from error
    if len(parts) == 1:
        return parts[0], state
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:_LENGTH], state
