"""Background tasks: submit, cancel, retry and list them; the interface for the app and the command line.

A task is one ``eavdash`` command in a process of its own (:mod:`eavdash.store.task`). It goes through the queue of the
checkpoints folder and takes a slot of this machine, as runs do (:mod:`eavdash.jobs.task_supervisor`). All functions may
be called repeatedly and from many processes at once. Nothing here imports torch, and DBOS only for changes.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eavdash.errors import IntegrityError, QueueError, UsageError
from eavdash.jobs.scheduler_process import ensure_scheduler, queue_session
from eavdash.store import StudyDir
from eavdash.store.atomic import locked_file
from eavdash.store.names import expanded
from eavdash.store.paths import TASKS
from eavdash.store.private import private_folder
from eavdash.store.readable import data_folders
from eavdash.store.task import TaskDir, TaskStatus, tasks
from eavdash.text import is_utf8, shortened

if TYPE_CHECKING:
    from eavdash.jobs.broker import Broker, Task

#: Commands that a task may run, by their first word.
COMMANDS = (
    "explain",
    "shapley",
    "receipts",
    "maps",
    "representations",
    "expressiveness",
    "probe",
    "check",
    "cache",
    "verify",
    "report",
    "whatif",
    "demo",
    "make-demo",
)
#: Finished tasks that are kept.
KEPT = 50
#: Reason of a task that has not started.
WAITS = "waits until a core of this machine is free"


def submit_task(root: Path, command: Sequence[str], *, title: str, study: str = "") -> TaskDir:
    """Queue a command; return its task, or the unfinished task of the same command if there is one.

    ``command``: the words after ``eavdash``, without ``--checkpoints``; relative paths in it are those of this process,
    and words that people have typed follow a ``--``.
    ``title``: shown to people. ``study``: the study that the task is about. Finished tasks beyond the newest
    :data:`KEPT` are deleted.

    Raises:
        UsageError: a task may not run this command.
        QueueError: the folder or the queue cannot be used, or the scheduler cannot be started.
    """
    root = root.resolve()
    status = TaskStatus(
        state="queued",
        command=checked_command(root, command),
        folder=str(Path.cwd()),
        folders=data_folders(),
        title=title,
        study=study,
        created=time.time(),
        reason=WAITS,
    )
    with _changing(root) as broker:
        task = _unfinished(root, status)
        if task is None:
            from eavdash.jobs.queue_tasks import new_request_id

            every = tasks(root)
            task = TaskDir(root, f"{status.command[0]}-{1 + max((t.number for t in every), default=0)}")
            task.create(status.replace(submission=new_request_id(), seal=status.made_seal()))
            activate_tasks(broker, [task])
            _prune(every)
    ensure_scheduler(root)
    return task


def cancel_task(task: TaskDir) -> bool:
    """Cancel a task: at once if it has not started, else as soon as its processes are gone; False if it had ended.

    Raises:
        IntegrityError: its status is damaged. QueueError: the queue cannot be used, or no scheduler started.
    """
    from eavdash.jobs.queue_tasks import new_request_id

    with _changing(task.root) as broker:
        while not (status := task.status()).ended:
            expect = status.only("state", "submission")
            with contextlib.suppress(QueueError):  # its status changed in the meantime: read it again
                if status.state == "queued":
                    task.transition("cancelled", expect=expect, reason="cancelled", finished=time.time())
                    broker.cancel([_task_id(task, status)])
                elif not status.cancel:
                    task.transition("running", expect=expect, cancel=new_request_id())
                activate_tasks(broker, [task])
                break
        else:
            return False
    ensure_scheduler(task.root)
    return True


def retry_task(task: TaskDir) -> TaskDir:
    """Queue a failed or cancelled task again; return it, or an unfinished task of the same command.

    Raises:
        UsageError: it has neither failed nor been cancelled, or a task may not run its command.
        IntegrityError: its status is damaged. QueueError: the queue cannot be used, or no scheduler started.
    """
    from eavdash.jobs.queue_tasks import new_request_id

    with _changing(task.root) as broker:
        status = task.status()
        checked_command(task.root, status.command)
        if status.state not in ("failed", "cancelled"):
            remedy = "wait until it has ended" if not status.ended else "start it anew"
            raise UsageError.at(task.path, expected="a failed or cancelled task", found=status.state, remedy=remedy)
        again = status.replace(folders=data_folders())
        if (same := _unfinished(task.root, again)) is not None:
            task = same
        else:
            fields = {
                "submission": new_request_id(),
                "seal": again.made_seal(),
                "reason": WAITS,
                "folders": again.folders,
            }
            fresh = TaskStatus(state="queued").only(
                "cancel", "finished", "exit_code", "interrupted", "done", "total", "doing"
            )
            task.transition("queued", expect=status.only("state", "submission"), **fresh, **fields)
            activate_tasks(broker, [task])
    ensure_scheduler(task.root)
    return task


def list_tasks(root: Path, study: str = "") -> list[TaskDir]:
    """Return the tasks of a checkpoints folder, newest first; with ``study`` those about it that can be read."""
    every = tasks(root.resolve())
    return [task for task in every if (s := _readable(task)) is not None and s.study == study] if study else every


def running_tasks(study: StudyDir) -> list[str]:
    """Return the ids of the tasks about a study that are running."""
    about = list_tasks(study.path.parent, study.name)
    return [task.id for task in about if (s := _readable(task)) is not None and s.state == "running" and task.locked()]


def checked_command(root: Path, command: Sequence[str]) -> tuple[str, ...]:
    """Return a command without the option ``--checkpoints``, which every task has from its folder.

    Raises:
        UsageError: a task may not run it.
    """
    words = [*command]
    if not words or words[0] not in COMMANDS or any("\0" in word or not is_utf8(word) for word in words):
        found = shortened(" ".join(words)) or "none"
        expected = f"a command that a task may run ({', '.join(COMMANDS)})"
        raise UsageError.at("task", expected=expected, found=repr(found), remedy="run it on the command line")
    kept: list[str] = []
    while words:
        word, _, value = words.pop(0).partition("=")
        if word != "--checkpoints":
            kept.append(f"{word}{_}{value}")
            continue
        value = value or (words.pop(0) if words else "")
        if expanded(value).resolve() != root.resolve():
            remedy = "leave the option out"
            raise UsageError.at("--checkpoints", expected=str(root), found=repr(value), remedy=remedy)
    return tuple(kept)


def activate_tasks(broker: Broker, some: Sequence[TaskDir], dead: Collection[str] = ()) -> None:
    """Make sure that each of these tasks, if it is unfinished, has what it needs in the queue."""
    from eavdash.jobs.queue_tasks import activate

    activate(broker, some, dead, needed=_needed)


def _needed(task: TaskDir, shared: bool) -> Task | None:
    """Return the task of the queue that an unfinished background task needs now: one to run it, or one to stop it."""
    from eavdash.jobs.broker import BACKGROUND, Task, urgent_queue

    status = _readable(task)
    if status is None or status.ended or not status.submission:
        return None
    if not status.cancel:
        return Task(_task_id(task, status), "task", "", task.id, status.submission, BACKGROUND, 1)
    name = f"{TASKS}/{task.id}#{status.submission}/stop-{status.cancel}"
    queue = urgent_queue(status.host or "" if shared else "")
    return Task(name, "stop_task", "", task.id, status.submission, queue, 1)


def _task_id(task: TaskDir, status: TaskStatus) -> str:
    return f"{TASKS}/{task.id}#{status.submission}{f'/{status.task}' if status.task else ''}"


@contextlib.contextmanager
def _changing(root: Path) -> Iterator[Broker]:
    """Open the queue, and keep other processes from submitting tasks.

    Raises:
        QueueError: this user may not use the queue or the tasks, or the disk is full.
    """
    with queue_session(root) as broker:
        remedy = "ask the owner of the folder, free some disk space, or use another folder (--checkpoints)"
        with QueueError.from_os(root / TASKS, expected="a folder for tasks that you may use", remedy=remedy):
            folder = private_folder(root / TASKS)
        with locked_file(folder, ".lock"):
            yield broker


def _unfinished(root: Path, asked: TaskStatus) -> TaskDir | None:
    """Return the unfinished task that does what is asked for."""
    same = asked.only("command", "folder")
    for task in tasks(root):
        status = _readable(task)
        if status is not None and not status.ended and not status.cancel and status.only(*same) == same:
            return task
    return None


def _readable(task: TaskDir) -> TaskStatus | None:
    """Return a task's status, or None if it is damaged: that is shown, and stops no other task."""
    with contextlib.suppress(IntegrityError, OSError):
        return task.status()
    return None


def _prune(every: Sequence[TaskDir]) -> None:
    """Delete the finished and damaged tasks of a list, newest first, beyond those that are kept."""
    over = [task for task in every if ((s := _readable(task)) is None or s.ended) and not task.locked()]
    for task in over[KEPT:]:
        shutil.rmtree(task.path, ignore_errors=True)
