"""Digests: hashes of whole files, remembered until a file changes.

In: paths of recordings (``x.mat#41`` is the file x.mat). Out: digests; a copied, moved or touched file keeps its
digest, a file modified in place gets another. Delegated to hashlib: SHA-256, with hardware support twice as fast as
BLAKE2b; to database.py: the known digests.

A digest is stored by path, size and both time stamps of the file (modification time, and the change time of its inode,
which no program can reset). The only undetected case is a file system without a reliable change time on which a byte is
changed, the size kept and the modification time restored. A file whose time stamps are more recent than the coarsest
clock of a file system is always hashed: it could change again without changing its time stamps.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from eavdash.data.cache.database import Database
from eavdash.data.formats.companions import files_of
from eavdash.data.recording import stamp, unreadable
from eavdash.errors import RecordingError
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


def digest(path: str, cache: Path | None) -> str:
    """Return the digest of a recording's content, 32 hexadecimal digits, and remember it in ``cache``, if any.

    A recording of several files (BrainVision, EEGLAB, split FIF) has a single digest.

    Raises:
        RecordingError: there is no such file, it is empty, or it cannot be read.
    """
    with Digests(cache) as known:
        return known.of(path)


def digests(
    paths: Iterable[str], cache: Path | None, report: Callable[[int, int], None] | None = None, jobs: int = 1
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


class Digests(Database):
    """The open database of digests: a context manager for many files; with ``cache`` None nothing is remembered.

    It also stores numbers that depend on content alone, such as a recording's length (:meth:`fact`).
    """

    def __init__(self, cache: Path | None) -> None:
        super().__init__(cache and cache / FILE, *_TABLES, version=_VERSION)

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
        rows = self.query(
            "SELECT digest FROM files WHERE (path, size, modified, changed) = (?, ?, ?, ?)", *file_state(path)
        )
        found = rows[0][0] if rows else None
        return found if isinstance(found, str) and len(found) == _LENGTH else None

    def learn(self, path: str, value: str, state: _FileState) -> str:
        """Store the digest of a recording if its ``state`` did not change during hashing; return the digest."""
        if time.time_ns() - max(state[2:]) > SETTLED * 1e9 and state == file_state(path):
            self.add("files", *state, value)
        return value

    def fact(self, name: str, find: Callable[[], float]) -> float:
        """Return the number of this name, computed by ``find`` once. The name must contain all that it depends on."""
        rows = self.query("SELECT value FROM facts WHERE name = ?", name)
        if rows and isinstance(rows[0][0], float):
            return rows[0][0]
        value = float(find())
        self.add("facts", name, value)
        return value


def file_state(path: str) -> _FileState:
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
    state = file_state(path)
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
