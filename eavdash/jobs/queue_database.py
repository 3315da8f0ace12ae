"""Where the queue of a checkpoints folder is kept: one SQLite file in it, or a Postgres that several machines share.

``EAVDASH_QUEUE`` names the Postgres (``postgresql://user@host/database``) when the folder is first used; from then on
the folder remembers it, without the password, which libpq finds in ``PGPASSWORD`` or ``~/.pgpass`` if it is not in the
variable. Several folders may use one database: each has a schema of its own.

With SQLite there is one conductor per folder. With Postgres there is one per machine, each with its own slots; that a
machine is alive stands in ``.queue/hosts/<machine>``, touched by its conductor.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eavdash.errors import ConfigError, QueueError
from eavdash.store.atomic import host, write_atomic

#: Seconds after which a machine that has not been heard of is dead, and its runs are taken up by others.
DEAD_AFTER = 60.0


@dataclass(frozen=True)
class QueueDatabase:
    """``file``: of an SQLite queue, else None. ``postgres``: address of one, ``schema``: that of the tables in it."""

    home: Path
    postgres: str
    file: Path | None
    schema: str | None

    @property
    def url(self) -> str:
        """The address of the database, as SQLAlchemy spells it: a folder may be called ``50%20 done?``."""
        import sqlalchemy

        if self.file is None:
            return self.postgres
        return sqlalchemy.URL.create("sqlite", database=str(self.file)).render_as_string(hide_password=False)

    @property
    def shared(self) -> bool:
        """Whether several machines conduct it."""
        return self.file is None

    @property
    def lock_file(self) -> Path:
        """Held by the conductor."""
        return self.home / (f"conductor-{host()}.lock" if self.shared else "conductor.lock")

    @property
    def slots(self) -> Path:
        """Folder of the slots of this machine."""
        return self.home / (f"slots-{host()}" if self.shared else "slots")

    def executor_id(self, machine: str) -> str:
        """The name of a machine's conductor in the queue. A laptop may change its name, its queue stays its own."""
        return f"conductor@{machine}" if self.shared else "conductor"

    def engine(self) -> Any:
        """Connections to the database."""
        import sqlalchemy

        if self.shared:
            return sqlalchemy.create_engine(self.url, pool_pre_ping=True, connect_args={"connect_timeout": 10})
        engine = sqlalchemy.create_engine(self.url)

        @sqlalchemy.event.listens_for(engine, "connect")
        def _configure(connection: Any, _record: Any) -> None:
            # Writers take their turn instead of failing; readers do not wait for writers.
            connection.isolation_level = "IMMEDIATE"
            for pragma in ("busy_timeout=30000", "synchronous=FULL", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}").close()

        return engine

    def migrate(self) -> None:
        """Make the queue's tables, or finish making them, one process of this machine at a time.

        Raises:
            QueueError: the database does not answer.
        """
        from dbos import DBOS

        def make() -> None:
            if self.file is not None:
                self._write_ahead()
            DBOS.migrate(self.url, **({"schema": self.schema} if self.schema else {}))

        with (self.home / "made.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                make()
            except Exception as error:
                if self.file is not None:
                    if not _is_damaged(error):
                        raise
                    # Nothing is lost: what is queued stands in the runs' files.
                    self._set_aside()
                    make()
                    return
                raise QueueError.at(
                    shown(self.url),
                    expected="a Postgres that answers",
                    found=str(error).strip().splitlines()[0],
                    remedy="start it, or mend EAVDASH_QUEUE",
                ) from error

    def _set_aside(self) -> None:
        """Put a damaged database out of the way; the one set aside before it goes."""
        assert self.file is not None
        for ending in ("-wal", "-shm"):
            self.file.with_name(self.file.name + ending).unlink(missing_ok=True)
        self.file.replace(self.file.with_name(f"{self.file.name}.damaged"))

    def _write_ahead(self) -> None:
        """Let readers of the file not wait for writers; the file remembers it.

        SQLite changes the journal at once or not at all: its time-out for a locked file does not hold here.
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

    def say_alive(self) -> None:
        """Note that this machine's conductor is at work."""
        if self.shared:
            folder = self.home / "hosts"
            folder.mkdir(exist_ok=True)
            (folder / host()).touch()

    def dead(self) -> list[str]:
        """Machines whose conductor has not been heard of for :data:`DEAD_AFTER` seconds.

        All times are those of the file system that the machines share, whatever their own clocks say.
        """
        if not self.shared:
            return []
        self.say_alive()
        now = (self.home / "hosts" / host()).stat().st_mtime
        return [file.name for file in (self.home / "hosts").iterdir() if now - file.stat().st_mtime > DEAD_AFTER]


def queue_folder(root: Path) -> Path:
    """Where the queue of a checkpoints folder keeps its files; private, for it decides what is run."""
    folder = root / ".queue"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def queue_database(root: Path) -> QueueDatabase:
    """Where the queue of a checkpoints folder is kept.

    Raises:
        ConfigError: ``EAVDASH_QUEUE`` is no address of a Postgres, or another than the folder's.
    """
    home = queue_folder(root)
    note = home / "url"
    given = os.environ.get("EAVDASH_QUEUE", "").strip()
    kept = note.read_text(encoding="utf-8").strip() if note.exists() else ""
    if given and not given.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
        raise ConfigError.at(
            "EAVDASH_QUEUE",
            expected="postgresql://user@host/database",
            found=repr(given.partition("@")[2] or given),
            remedy="mend or unset it",
        )
    if given and kept != shown(given) and (kept or (home / "queue.sqlite").exists()):
        raise ConfigError.at(
            "EAVDASH_QUEUE",
            expected=kept or "nothing, for this folder's queue is its own file",
            found=shown(given),
            remedy=f"unset it, use another checkpoints folder, or delete {home} while nothing runs (the queue is made "
            "again from the runs' files)",
        )
    if given and not kept:
        write_atomic(note, lambda file: file.write(shown(given).encode()))
    if not given and not kept:
        return QueueDatabase(home, "", home / "queue.sqlite", None)
    url = "postgresql+psycopg://" + (given or kept).partition("://")[2]
    return QueueDatabase(home, url, None, f"eavdash_{_identity(home)}")


def shown(url: str) -> str:
    """The address of a database without its password."""
    scheme, _, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    return f"{scheme.partition('+')[0].replace('postgresql', 'postgres')}://{credentials.partition(':')[0]}{at}{place}"


def _is_damaged(error: BaseException) -> bool:
    """Whether SQLite says of its file that it is damaged or none of its own, rather than in use or without room."""
    return type(getattr(error, "orig", None) or error) is sqlite3.DatabaseError


def _identity(home: Path) -> str:
    """What tells the queue of this checkpoints folder from others in the same database, on every machine alike."""
    file = home / "id"
    if not file.exists():
        mine = home / f".id-{uuid.uuid4().hex}"
        mine.write_text(uuid.uuid4().hex[:16], encoding="ascii")
        with contextlib.suppress(FileExistsError):  # another machine was quicker
            os.link(mine, file)
        mine.unlink()
    return file.read_text(encoding="ascii").strip()
