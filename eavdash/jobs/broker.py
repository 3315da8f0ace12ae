"""The durable queue: which piece of work is waiting, under way or over, in one database.

In: tasks (an id, what to do, for which run). Out: each of them carried out by the conductor, once at a time, also after
the conductor was killed. Everything about DBOS (durable workflows and queues, https://docs.dbos.dev) is in this module,
so that it could be replaced by anything that keeps a table of tasks and hands out the pending ones.

A task's id is its identity: to enqueue it again changes nothing. The tasks themselves are written so that they may
start over at any point: what is true stands in the runs' own files and locks, never in the queue.

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

#: What a conductor of this version may carry on with. Pinned: an edit of the code must not strand what is queued.
VERSION = "1"
ACTIVE = ("ENQUEUED", "PENDING")
#: Seconds between two looks at a queue.
POLL = 0.2
#: Runs that wait for slots of a machine; runs that are handed to a place with a queue of its own.
SLOTTED, CLUSTER = "slotted", "cluster"


@dataclass(frozen=True)
class Task:
    """``kind`` (train, stop) for one run; ``queue`` is where it waits for its turn, lower ``priority`` first."""

    id: str
    kind: str
    study: str
    run: str
    request_id: str | None
    queue: str
    priority: int = 2


def urgent(machine: str) -> str:
    """The queue of what cannot wait, for the conductor of one machine, or for any ("")."""
    return f"urgent@{machine}" if machine else "urgent"


class Broker:
    """The queue of one checkpoints folder, as a client sees it.

    Raises:
        QueueError: the database cannot be reached.
    """

    def __init__(self, root: Path) -> None:
        from dbos import DBOSClient, DBOSPortableJSONSerializer

        # Its notices belong to nobody's terminal.
        logging.getLogger("dbos").setLevel(logging.ERROR)
        self.database = queue_database(root)
        self.engine = self.database.engine()
        if self.database.file is not None and not self.database.file.exists():
            self.database.migrate()
        try:
            self._client = self._connect(DBOSClient, DBOSPortableJSONSerializer())
            self.states(["-"])
        except Exception:
            # Another process is between creating the tables and filling them: wait, or finish what it left undone.
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
        """Add tasks, all of them or none; one whose id is known already is left as it is."""
        with self.engine.begin() as connection:
            for task in tasks:
                options = {
                    "workflow_name": task.kind,
                    "queue_name": task.queue,
                    "workflow_id": task.id,
                    "app_version": VERSION,
                    "priority": task.priority,
                }
                self._client.enqueue_in_transaction(connection, options, task.study, task.run, task.request_id)

    def cancel(self, ids: Sequence[str]) -> None:
        """Take tasks off the queue; one that is under way is not interrupted."""
        for part in _parts(ids):
            self._client.cancel_workflows(part)

    def states(self, ids: Sequence[str], dead: Collection[str] = ()) -> dict[str, bool]:
        """For each id that is known: whether it is still waiting, or under way on a machine that is not ``dead``."""
        known: dict[str, bool] = {}
        lost = {self.database.executor_id(machine) for machine in dead}
        for part in _parts(ids):
            rows = self._client.list_workflows(workflow_ids=part, load_input=False, load_output=False)
            known.update(
                (row.workflow_id, row.status in ACTIVE and not (row.status == "PENDING" and row.executor_id in lost))
                for row in rows
            )
        return known

    def active(self) -> int:
        """How many tasks are waiting or under way, at the most one: whether there are any."""
        return len(self._client.list_workflows(status=list(ACTIVE), load_input=False, load_output=False, limit=1))

    def serve(self, actions: dict[str, Callable[[str, str, str | None], None]], slots: int, cluster: int) -> None:
        """Begin to carry out tasks in threads of this process, and take up those that a dead conductor held.

        At most ``slots`` of those that need this machine at once, and ``cluster`` of those handed to other places.
        """
        from dbos import DBOS, DBOSPortableJSONSerializer

        for variable in [name for name in os.environ if name.startswith("DBOS_")]:
            del os.environ[variable]  # nothing outside this function configures the library
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
        # Before the launch, which begins to look after the queues that it finds.
        for name, limit in ((SLOTTED, slots), (CLUSTER, cluster), (urgent(""), None), (urgent(host()), None)):
            self._client.register_queue(name, worker_concurrency=limit, polling_interval_sec=POLL)
        DBOS.launch()

    def close(self) -> None:
        """Let go of the database."""
        self._client.destroy()
        self.engine.dispose()


def _function(action: Callable[[str, str, str | None], None]) -> Callable[[str, str, str | None], None]:
    def carry_out(study: str, run: str, request_id: str | None) -> None:
        action(study, run, request_id)

    return carry_out


def _parts(ids: Sequence[str], size: int = 500) -> Iterable[list[str]]:
    return (list(ids[i : i + size]) for i in range(0, len(ids), size))
