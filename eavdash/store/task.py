"""A background task: one ``eavdash`` command that runs in a process of its own, with progress, cancel and a true state.

In and out: ``checkpoints/.tasks/<id>/`` with status.json, log.txt and the lock that the task's process holds. The id is
the command's first word and a number, which grows: ``probe-7``. The folder and its files are private. A task's command
and the folders that it may read carry a seal, a keyed digest by a secret of this user: a folder that was copied from
elsewhere starts nothing. ``eavdash.jobs.background`` submits, cancels and retries tasks.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import ConfigDict

from eavdash.errors import EavdashError, IntegrityError, UsageError
from eavdash.store.atomic import disk_full, host
from eavdash.store.own_files import refuse_link
from eavdash.store.paths import TASKS, TaskPaths
from eavdash.store.private import private_file, private_folder
from eavdash.store.record import Texts, Whole, read_record, write_record
from eavdash.store.regular import last_lines
from eavdash.store.secret import user_secret
from eavdash.store.status import HEARTBEAT_LOST, JobStatus, seconds_silent
from eavdash.store.status_folder import StatusFolder

#: Environment variable of a task's process: the task's folder.
TASK_VARIABLE = "EAVDASH_TASK"
#: File of the secret by which tasks are sealed (:mod:`eavdash.store.secret`).
SECRET = "task-secret"
#: Seconds between two writes of a task's progress.
WRITE_EVERY = 0.5
_ID = re.compile(r"[a-z](?:[a-z-]{0,30}[a-z])?-([1-9][0-9]{0,8})")


class TaskStatus(JobStatus):
    """The content of a task's status.json."""

    model_config = ConfigDict(title="a task's status")

    command: Texts = ()  # words after ``eavdash``
    folder: str = ""  # in which relative paths of the command begin
    title: str = ""
    study: str = ""  # name of the study that it is about, if it is about one
    seal: str = ""
    created: float | None = None
    exit_code: Whole | None = None
    interrupted: Whole = 0  # times that its process was gone together with its scheduler
    done: Whole = 0  # of ``total`` steps; 0 of 0: unknown
    total: Whole = 0
    doing: str = ""

    def made_seal(self) -> str:
        """Return the keyed digest of what the task would do.

        Raises:
            UsageError: this user has no place for a secret.
        """
        asked = json.dumps([self.command, self.folder, self.folders]).encode()
        return hmac.new(user_secret(SECRET), asked, hashlib.sha256).hexdigest()

    @property
    def trusted(self) -> bool:
        """True if this user has asked for the task on this machine."""
        with contextlib.suppress(UsageError):
            return hmac.compare_digest(self.seal.encode(), self.made_seal().encode())
        return False

    def seconds_left(self) -> float | None:
        """Return the seconds that the rest takes at the pace so far; None if it cannot be told."""
        if self.state != "running" or not self.started or not 0 < self.done < self.total:
            return None
        return max(0.0, time.time() - self.started) / self.done * (self.total - self.done)


@dataclass(frozen=True)
class LiveTask:
    """A task's status and what is observed now: ``shown`` is its state, or "not responding"."""

    status: TaskStatus
    shown: str
    reason: str


@dataclass(frozen=True)
class TaskDir(TaskPaths, StatusFolder[TaskStatus]):
    """One task's folder: the content of its files and the changes of its state."""

    @classmethod
    def at(cls, path: Path) -> Self:
        """Return the task whose folder is ``path``."""
        return cls(path.parent.parent, path.name)

    @property
    def number(self) -> int:
        found = _ID.fullmatch(self.id)
        return int(found[1]) if found else 0

    def create(self, status: TaskStatus) -> None:
        """Create the folder with status.json and an empty log.

        Raises:
            DataError: .tasks is another user's, or a link. OSError: it cannot be made.
            TrainingError: status.json cannot be written.
        """
        private_folder(self.path.parent, self.id)
        private_file(self.log_file)
        self._write(status)

    def status(self) -> TaskStatus:
        """Return the content of status.json as last written; :meth:`live_status` adds what can be observed now.

        Raises:
            IntegrityError: it is missing or damaged, or the folder is a link.
        """
        with IntegrityError.from_os(self.path, expected="a task's folder", remedy="remove the link"):
            for folder in (self.path.parent, self.path):
                refuse_link(folder)
        return read_record(self.status_file, TaskStatus, f"remove {self.path} and start the task again")

    def live_status(self) -> LiveTask:
        """Return the status with what can be observed now: a task is running only while a live process holds its lock.

        Raises:
            IntegrityError: as :meth:`status`.
        """
        status = self.status()
        if status.state != "running":
            return LiveTask(status, status.state, status.reason)
        here = status.host == host()
        if here and not self.locked():
            reason = "its process is gone; the queue takes care of it within half a minute"
        elif (silent := seconds_silent(self.path, status, here)) > HEARTBEAT_LOST:
            reason = (
                f"no heartbeat for {silent:.0f} s: its process is stopped or its machine is busy; wait, or cancel it"
            )
        else:
            return LiveTask(status, status.state, status.reason)
        return LiveTask(status, "not responding", disk_full(self.path) or reason)

    def log(self, lines: int) -> list[str]:
        """Return the last lines of the task's output; none if the log cannot be read or is a link."""
        with contextlib.suppress(OSError):
            if not self.path.is_symlink() and not self.log_file.is_symlink():
                return last_lines(self.log_file, lines)
        return []

    def _write(self, status: TaskStatus) -> TaskStatus:
        write_record(self.status_file, status, private=True)
        return status


def tasks(root: Path) -> list[TaskDir]:
    """Return the tasks of a checkpoints folder, newest first; none if its .tasks cannot be read or is a link."""
    folder = root / TASKS
    try:
        names = [] if folder.is_symlink() else [p.name for p in folder.iterdir() if p.is_dir() and not p.is_symlink()]
    except OSError:
        return []
    found = [TaskDir(root, name) for name in names if _ID.fullmatch(name)]
    return sorted(found, key=lambda task: (-task.number, task.id))


def find_task(root: Path, name: str) -> TaskDir:
    """Return the task of that id.

    Raises:
        UsageError: there is none.
    """
    task = TaskDir(root, name)
    if not _ID.fullmatch(name) or not task.path.is_dir():
        remedy = "see eavdash tasks"
        raise UsageError.at(root / TASKS, expected="the id of a task", found=repr(name), remedy=remedy)
    return task


class _Reports:
    """The progress that this process has reported, and when it was written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[str, Any] = {}
        self._written = 0.0

    def add(self, fields: dict[str, Any]) -> None:
        with self._lock:
            self._pending = fields
            if time.monotonic() - self._written >= WRITE_EVERY:
                self._flush()

    def flush(self) -> None:
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        folder = os.environ.get(TASK_VARIABLE)
        if folder and self._pending:
            # Progress is no reason for a task to fail: the disk may be full, or the task may have been removed.
            with contextlib.suppress(EavdashError, OSError):
                TaskDir.at(Path(folder)).update({"state": "running"}, **self._pending)
            self._written, self._pending = time.monotonic(), {}


_reports = _Reports()


def report_progress(done: int, total: int, doing: str = "") -> None:
    """Write into the status of the task that this process runs that ``done`` of ``total`` steps are done.

    ``doing``: the current step. Written at most twice a second; does nothing in a process that is no task's.
    """
    if os.environ.get(TASK_VARIABLE):
        _reports.add({"done": int(done), "total": int(total), "doing": str(doing)})


def write_progress() -> None:
    """Write the last report of :func:`report_progress`, if it was held back."""
    _reports.flush()
