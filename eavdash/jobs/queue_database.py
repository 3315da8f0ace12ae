"""The database of a checkpoints folder's queue: an SQLite file in the folder, or a Postgres shared by machines.

``EAVDASH_QUEUE`` gives the Postgres (``postgresql://user@host/database``) when the folder is first used; from then on
the folder stores the address without passwords, which libpq reads from ``PGPASSWORD`` or ``~/.pgpass`` if the variable
has none (:mod:`eavdash.store.passwords`). Several folders may use one database: each has its own schema.

With SQLite there is one scheduler per folder. With Postgres there is one per machine, each with its own slots, and each
scheduler touches ``.queue/hosts/<machine>`` to show that its machine is alive.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import stat
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eavdash.errors import ConfigError, QueueError
from eavdash.store.atomic import file_lock, host, write_atomic
from eavdash.store.passwords import hide, split_address

#: Seconds without a sign of life after which a machine counts as dead and others resume its runs.
DEAD_AFTER = 60.0
#: The first SQLite that knows ``unixepoch('subsec')``, which DBOS's tables use with Python 3.12 and newer: in an older
#: SQLite its answer is NULL, and a queue could take no task.
SUBSECONDS = (3, 42)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QueueDatabase:
    """``home``: the queue's folder. ``file``: the SQLite file, or None with Postgres, which has an address
    (``postgres``), a ``schema``, and ``secrets``: passwords by their names in libpq."""

    home: Path
    postgres: str
    file: Path | None
    schema: str | None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def url(self) -> str:
        """Address of the database for SQLAlchemy, without passwords, quoted: a folder may be named ``%`` or ``?``."""
        import sqlalchemy

        if self.file is None:
            return self.postgres
        return sqlalchemy.URL.create("sqlite", database=str(self.file)).render_as_string(hide_password=False)

    @property
    def shared(self) -> bool:
        """True if several machines may serve the queue."""
        return self.file is None

    @property
    def lock_file(self) -> Path:
        """Lock of the scheduler."""
        return self.home / (f"conductor-{host()}.lock" if self.shared else "conductor.lock")

    @property
    def slots(self) -> Path:
        """Folder of this machine's slots."""
        return self.home / (f"slots-{host()}" if self.shared else "slots")

    def executor_id(self, machine: str) -> str:
        """Return the name of a machine's scheduler in the queue; constant if the queue is not shared, because a
        laptop may change its host name."""
        return f"conductor@{machine}" if self.shared else "conductor"

    def engine(self) -> Any:
        """Return an SQLAlchemy engine for the database."""
        import sqlalchemy

        if self.shared:
            # Passwords are no part of the address, which libraries print.
            arguments = {"connect_timeout": 10, **self.secrets}
            return sqlalchemy.create_engine(self.url, pool_pre_ping=True, connect_args=arguments)
        engine = sqlalchemy.create_engine(self.url)

        @sqlalchemy.event.listens_for(engine, "connect")
        def _configure(connection: Any, _record: Any) -> None:
            # Writers wait for each other instead of failing; readers do not wait for writers.
            connection.isolation_level = "IMMEDIATE"
            for pragma in ("busy_timeout=30000", "synchronous=FULL", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}").close()
            if sqlite3.sqlite_version_info < SUBSECONDS:
                connection.create_function("unixepoch", 1, lambda _: int(time.time()))

        return engine

    def migrate(self) -> None:
        """Create the queue's tables, or complete them; one process of this machine at a time.

        Raises:
            QueueError: the database does not answer.
        """
        import sqlalchemy
        from dbos import DBOS

        def create() -> None:
            if self.file is not None:
                self._write_ahead()
            # The only function of DBOS that takes no engine; it is given the passwords as part of the address.
            address = sqlalchemy.make_url(self.url).update_query_dict(dict(self.secrets))
            DBOS.migrate(address.render_as_string(False), schema=self.schema or "dbos")

        with file_lock(self.home / "made.lock"):
            try:
                create()
            except Exception as error:
                if self.file is not None:
                    if not is_damaged(error):
                        raise
                    # Nothing is lost: the runs' files record what is queued.
                    self._set_aside()
                    create()
                    return
                raise QueueError.at(
                    without_password(self.postgres),
                    expected="a Postgres that answers",
                    found=hide(error).strip().splitlines()[0],
                    remedy="start it, or fix EAVDASH_QUEUE",
                ) from error

    def repair(self) -> None:
        """Replace a damaged file by a new one, and say so in the log; a sound one is not changed.

        Nothing is lost: the runs' files record what is queued, and reconciling adds their tasks again. A scheduler that
        still uses the damaged file notices the exchange (:meth:`identity`).
        """
        if self.file is None or not os.path.lexists(self.file):
            return
        with file_lock(self.home / "made.lock"):
            answer = "no regular file"
            if stat.S_ISREG(self.file.lstat().st_mode):
                try:
                    with contextlib.closing(sqlite3.connect(self.file, timeout=30)) as connection:
                        (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                except sqlite3.DatabaseError as error:
                    if not is_damaged(error):
                        return  # locked for long, or the disk is full: its users report that
                    answer = str(error)
            if answer == "ok":
                return
            self._set_aside()
        log.warning("%s was damaged (%s): the queue is made again from the runs' files", self.file, answer)

    def identity(self) -> int:
        """Return the inode of the file, which changes when it is replaced; 0 without a file."""
        with contextlib.suppress(OSError):
            return self.file.stat().st_ino if self.file is not None else 0
        return 0

    def _set_aside(self) -> None:
        """Rename a damaged database, replacing an earlier damaged one."""
        assert self.file is not None
        for ending in ("-wal", "-shm"):
            self.file.with_name(self.file.name + ending).unlink(missing_ok=True)
        kept = self.file.with_name(f"{self.file.name}.damaged")
        if kept.is_dir() and not kept.is_symlink():
            shutil.rmtree(kept)
        kept.unlink(missing_ok=True)
        self.file.rename(kept)

    def _write_ahead(self) -> None:
        """Switch the file to write-ahead logging, so that readers do not wait for writers; the setting persists.

        SQLite's timeout for a locked file does not apply to a change of the journal mode.
        """
        assert self.file is not None
        deadline = time.monotonic() + 30
        with contextlib.closing(sqlite3.connect(self.file, timeout=30)) as connection:
            while True:
                try:
                    connection.execute("PRAGMA journal_mode=WAL")
                    return
                except sqlite3.OperationalError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)

    def mark_alive(self) -> None:
        """Record that this machine's scheduler is running."""
        if self.shared:
            folder = self.home / "hosts"
            folder.mkdir(exist_ok=True)
            (folder / host()).touch()

    def dead_hosts(self) -> list[str]:
        """Return the machines whose scheduler has shown no sign of life for :data:`DEAD_AFTER` seconds.

        All times come from the shared file system, not from the machines' own clocks.
        """
        if not self.shared:
            return []
        self.mark_alive()
        now = (self.home / "hosts" / host()).stat().st_mtime
        return [file.name for file in (self.home / "hosts").iterdir() if now - file.stat().st_mtime > DEAD_AFTER]


def queue_folder(root: Path) -> Path:
    """Return the folder of a queue's files, created if needed; private, because it decides what is executed.

    Raises:
        QueueError: it is a symbolic link, or has one in it, to what is not the queue's. OSError: it cannot be made.
    """
    folder = root / ".queue"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.scandir(folder) as entries:
        links = [folder] if folder.is_symlink() else [Path(entry.path) for entry in entries if entry.is_symlink()]
    if links:
        raise QueueError.at(
            links[0], expected="a file or folder of the queue", found="a symbolic link", remedy="remove the link"
        )
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def queue_database(root: Path) -> QueueDatabase:
    """Return the database of a checkpoints folder's queue.

    Raises:
        ConfigError: ``EAVDASH_QUEUE`` is not the address of a Postgres, or differs from the folder's.
    """
    home = queue_folder(root)
    note = home / "url"
    given = os.environ.get("EAVDASH_QUEUE", "").strip()
    kept, old_secrets = split_address(note.read_text(encoding="utf-8").strip() if note.exists() else "")
    hidden, secrets = split_address(given)
    if given and not given.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
        raise ConfigError.at(
            "EAVDASH_QUEUE",
            expected="postgresql://user@host/database",
            found=repr(hidden.partition("@")[2] or hidden) if "://" in given else "no address",
            remedy="fix or unset it",
        )
    if given and kept != without_password(given) and (kept or (home / "queue.sqlite").exists()):
        raise ConfigError.at(
            "EAVDASH_QUEUE",
            expected=kept or "no address, because this folder's queue is a file of its own",
            found=without_password(given),
            remedy=f"unset it, use another checkpoints folder, or delete {home} while nothing runs (the queue is "
            "rebuilt from the runs' files)",
        )
    # Earlier versions kept the passwords of a query in the file.
    if (given and not kept) or old_secrets:
        write_atomic(note, lambda file: file.write((without_password(given) if given else kept).encode()))
    if not given and not kept:
        return QueueDatabase(home, "", home / "queue.sqlite", None)
    url = "postgresql+psycopg://" + (hidden or kept).partition("://")[2]
    return QueueDatabase(home, url, None, f"eavdash_{_queue_id(home)}", {**old_secrets, **secrets})


def without_password(url: str) -> str:
    """Return the address of a database as it is shown and stored: without its passwords."""
    scheme, _, rest = split_address(url)[0].partition("://")
    return f"{scheme.partition('+')[0].replace('postgresql', 'postgres')}://{rest}"


def is_damaged(error: BaseException) -> bool:
    """Return True if SQLite reports its file as damaged or not a database; False for a locked file or a full disk."""
    return type(getattr(error, "orig", None) or error) is sqlite3.DatabaseError


def _queue_id(home: Path) -> str:
    """Return the id of this checkpoints folder's queue in a shared database, the same on every machine."""
    file = home / "id"
    if not file.exists():
        mine = home / f".id-{uuid.uuid4().hex}"
        mine.write_text(uuid.uuid4().hex[:16], encoding="ascii")
        with contextlib.suppress(FileExistsError):  # another machine was faster
            os.link(mine, file)
        mine.unlink()
    return file.read_text(encoding="ascii").strip()
