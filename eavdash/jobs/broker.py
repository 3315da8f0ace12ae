"""The durable queue: which piece of work is waiting, under way or over, in one SQLite file.

In: tasks (an id, what to do, for which run). Out: each of them carried out by the conductor, once at a time, also after
the conductor was killed. Everything about DBOS (durable workflows and queues, https://docs.dbos.dev) is in this module,
so that it could be replaced by anything that keeps a table of tasks and hands out the pending ones.

A task's id is its identity: to enqueue it again changes nothing. The tasks themselves are written so that they may
start over at any point: what is true stands in the runs' own files and locks, never in the queue.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: What a conductor of this version may carry on with. Pinned: an edit of the code must not strand what is queued.
VERSION = "1"
ACTIVE = ("ENQUEUED", "PENDING")
#: Seconds between two looks at a queue.
POLL = 0.2
SLOTTED, WAITING, URGENT = "slotted", "waiting", "urgent"


@dataclass(frozen=True)
class Task:
    """``kind`` (train, wait, stop) for one run; ``queue`` is where it waits for its turn, lower ``priority`` first."""

    id: str
    kind: str
    study: str
    run: str
    token: str | None
    queue: str
    priority: int = 2


def queue_folder(root: Path) -> Path:
    """Where the queue of a checkpoints folder keeps its files; private, for it decides what is run."""
    folder = root / ".queue"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    return folder


class Broker:
    """The queue of one checkpoints folder, as a client sees it."""

    def __init__(self, root: Path) -> None:
        from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer

        # Its notices belong to nobody's terminal.
        logging.getLogger("dbos").setLevel(logging.ERROR)
        file = queue_folder(root) / "queue.sqlite"
        url = f"sqlite:///{file}"
        self.engine = _engine(url)
        if not file.exists():
            DBOS.migrate(url)
        try:
            self._client = self._connect(DBOSClient, DBOSPortableJSONSerializer())
            self.states(["-"])
        except Exception:
            # Another process is between creating the file and filling it: wait for it, or finish what it left undone.
            DBOS.migrate(url)
            self._client = self._connect(DBOSClient, DBOSPortableJSONSerializer())

    def _connect(self, client: Any, serializer: Any) -> Any:
        return client(system_database_engine=self.engine, serializer=serializer, application_name="eavdash")

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
                self._client.enqueue_in_transaction(connection, options, task.study, task.run, task.token)

    def cancel(self, ids: Sequence[str]) -> None:
        """Take tasks off the queue; one that is under way is not interrupted."""
        for part in _parts(ids):
            self._client.cancel_workflows(part)

    def states(self, ids: Sequence[str]) -> dict[str, bool]:
        """For each id that is known: whether it is still waiting or under way."""
        known: dict[str, bool] = {}
        for part in _parts(ids):
            rows = self._client.list_workflows(workflow_ids=part, load_input=False, load_output=False)
            known.update((row.workflow_id, row.status in ACTIVE) for row in rows)
        return known

    def active(self) -> int:
        """How many tasks are waiting or under way."""
        return len(self._client.list_workflows(status=list(ACTIVE), load_input=False, load_output=False))

    def serve(self, actions: dict[str, Callable[[str, str, str | None], None]], slots: int) -> None:
        """Begin to carry out tasks in threads of this process, and take up those that a dead conductor held."""
        from dbos import DBOS, DBOSPortableJSONSerializer

        for variable in [name for name in os.environ if name.startswith("DBOS_")]:
            del os.environ[variable]  # nothing outside this function configures the library
        DBOS(
            config={
                "name": "eavdash",
                "system_database_url": str(self.engine.url),
                "system_database_engine": self.engine,
                "serializer": DBOSPortableJSONSerializer(),
                "application_version": VERSION,
                "executor_id": "conductor",
                "enable_otlp": False,
                "log_level": "ERROR",
            }
        )
        for kind, action in actions.items():
            DBOS.workflow(name=kind, max_recovery_attempts=None)(_function(action))
        # Before the launch, which begins to look after the queues that it finds.
        for name, limit in ((SLOTTED, slots), (WAITING, None), (URGENT, None)):
            self._client.register_queue(name, worker_concurrency=limit, polling_interval_sec=POLL)
        DBOS.launch()

    def close(self) -> None:
        """Let go of the database."""
        self._client.destroy()
        self.engine.dispose()


def _function(action: Callable[[str, str, str | None], None]) -> Callable[[str, str, str | None], None]:
    def carry_out(study: str, run: str, token: str | None) -> None:
        action(study, run, token)

    return carry_out


def _engine(url: str) -> Any:
    import sqlalchemy

    engine = sqlalchemy.create_engine(url)

    @sqlalchemy.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        # Writers take their turn instead of failing; readers do not wait for writers.
        connection.isolation_level = "IMMEDIATE"
        for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    return engine


def _parts(ids: Sequence[str], size: int = 500) -> Iterable[list[str]]:
    return (list(ids[i : i + size]) for i in range(0, len(ids), size))
