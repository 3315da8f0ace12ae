"""The durable queue: one database of tasks that are waiting, running or finished.

The scheduler executes each task (an id, an action, a run), never twice at the same time, and resumes it after the
scheduler was killed. Everything about DBOS (durable workflows and queues, https://docs.dbos.dev) is in this module, so
that any other persistent task queue could replace it.

A task is identified by its id: enqueuing it again changes nothing. Every task may restart from its beginning at any
time, because the state of a run is kept in the run's files and locks, never in the queue.

The database is one SQLite file in the checkpoints folder, or a Postgres where several machines share the folder
(``eavdash.jobs.queue_database``).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eavdash.jobs.queue_database import queue_database
from eavdash.store.atomic import host

#: Application version of the queued tasks. Pinned, so that a change of the code does not strand them.
VERSION = "1"
ACTIVE = ("ENQUEUED", "PENDING")
#: Seconds between two polls of a queue.
POLL = 0.2
#: Runs that wait for slots of a machine; runs that are submitted to an executor with its own queue; background tasks,
#: which wait for slots too, but not for the runs that are queued before them.
SLOTTED, CLUSTER, BACKGROUND = "slotted", "cluster", "background"


@dataclass(frozen=True)
class Task:
    """One action (``kind``) for one run: train or stop; for a background task (no ``study``): task or stop_task.

    ``queue``: its DBOS queue; lower ``priority`` goes first.
    """

    id: str
    kind: str
    study: str
    run: str
    request_id: str | None
    queue: str
    priority: int = 2


def urgent_queue(machine: str) -> str:
    """Return the name of the queue of urgent tasks, for the scheduler of one machine or of any ("")."""
    return f"urgent@{machine}" if machine else "urgent"


class Broker:
    """Client of the queue of one checkpoints folder.

    Raises:
        QueueError: the database cannot be reached.
    """

    def __init__(self, root: Path) -> None:
        from dbos import DBOSClient, DBOSPortableJSONSerializer

        # Keep its notices out of the terminal.
        logging.getLogger("dbos").setLevel(logging.ERROR)
        self.database = queue_database(root)
        self.database.repair()
        self.engine = self.database.engine()
        if self.database.file is not None and not self.database.file.exists():
            self.database.migrate()
        try:
            self._client = self._connect(DBOSClient, DBOSPortableJSONSerializer())
            self.states(["-"])
        except Exception:
            # Another process may be creating the tables: wait for it, or complete them.
            self.database.migrate()
            self._client = self._connect(DBOSClient, DBOSPortableJSONSerializer())

    def _connect(self, client: Any, serializer: Any) -> Any:
        return client(
            system_database_engine=self.engine,
            dbos_system_schema=self.database.schema,
            serializer=serializer,
            application_name="eavdash",
            retry_connection_errors=not self.database.shared,
        )

    def enqueue(self, tasks: Iterable[Task]) -> None:
        """Add all tasks in one transaction; a task whose id exists already is not changed."""
        with self.engine.begin() as connection:
            rows = _Rows(connection)
            for task in tasks:
                options = {
                    "workflow_name": task.kind,
                    "queue_name": task.queue,
                    "workflow_id": task.id,
                    "app_version": VERSION,
                    "priority": task.priority,
                }
                self._client.enqueue_in_transaction(rows, options, task.study, task.run, task.request_id)
            rows.insert()

    def cancel(self, ids: Sequence[str]) -> None:
        """Remove tasks from the queue; a running task is not interrupted."""
        for part in _chunks(ids):
            self._client.cancel_workflows(part)

    def states(self, ids: Sequence[str], dead: Collection[str] = ()) -> dict[str, bool]:
        """Return, for each known id, True if the task is waiting, or running on a machine that is not ``dead``."""
        known: dict[str, bool] = {}
        lost = {self.database.executor_id(machine) for machine in dead}
        for part in _chunks(ids):
            rows = self._client.list_workflows(workflow_ids=part, load_input=False, load_output=False)
            known.update(
                (row.workflow_id, row.status in ACTIVE and not (row.status == "PENDING" and row.executor_id in lost))
                for row in rows
            )
        return known

    def active(self) -> int:
        """Return 1 if any task is waiting or running, else 0."""
        return len(self._client.list_workflows(status=list(ACTIVE), load_input=False, load_output=False, limit=1))

    def serve(self, actions: dict[str, Callable[[str, str, str | None], None]], slots: int, cluster: int) -> None:
        """Start to execute tasks in threads of this process, and resume those that a dead scheduler had started.

        At most ``slots`` runs and as many background tasks of this machine, and ``cluster`` runs of other executors,
        are processed at once.
        """
        from dbos import DBOS, DBOSPortableJSONSerializer

        for variable in [name for name in os.environ if name.startswith("DBOS_")]:
            del os.environ[variable]  # only this function configures the library
        DBOS(
            config={
                "name": "eavdash",
                "system_database_url": self.database.url,
                "system_database_engine": self.engine,
                "dbos_system_schema": self.database.schema,
                "serializer": DBOSPortableJSONSerializer(),
                "application_version": VERSION,
                "executor_id": self.database.executor_id(host()),
                "enable_otlp": False,
                "log_level": "ERROR",
            }
        )
        for kind, action in actions.items():
            DBOS.workflow(name=kind, max_recovery_attempts=None)(_function(action))
        # Before the launch, which serves only registered queues.
        for name, limit in (
            (SLOTTED, slots),
            (CLUSTER, cluster),
            (BACKGROUND, slots),
            (urgent_queue(""), None),
            (urgent_queue(host()), None),
        ):
            self._client.register_queue(name, worker_concurrency=limit, polling_interval_sec=POLL)
        DBOS.launch()

    def close(self) -> None:
        """Close the connections to the database."""
        self._client.destroy()
        self.engine.dispose()


class _Rows:
    """A connection for DBOS that collects the rows which it would insert one by one, to insert them all at once."""

    dialect = None  # unlike the database's, so that DBOS leaves the compiling of its statements to the connection

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._rows: dict[type, dict[Any, list[dict[str, Any]]]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: Any, row: dict[str, Any]) -> _Rows:
        self._rows.setdefault(type(statement), {}).setdefault(statement.table, []).append(row)
        return self

    def fetchone(self) -> None:
        """Return no row: the answer for a new task."""

    def insert(self) -> None:
        """Insert the rows, except those whose keys exist."""
        for kind, tables in self._rows.items():
            for table, rows in tables.items():
                self._connection.execute(kind(table).on_conflict_do_nothing(), rows)


def _function(action: Callable[[str, str, str | None], None]) -> Callable[[str, str, str | None], None]:
    def execute(study: str, run: str, request_id: str | None) -> None:
        action(study, run, request_id)

    return execute


def _chunks(ids: Sequence[str], size: int = 500) -> Iterable[list[str]]:
    return (list(ids[i : i + size]) for i in range(0, len(ids), size))
