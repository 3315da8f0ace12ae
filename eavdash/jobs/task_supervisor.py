"""The scheduler's work on one background task: wait for a slot, supervise its process, stop it.

As :mod:`eavdash.jobs.run_supervisor` does it for runs: each public method may be restarted from its beginning at any
time, and therefore first checks the task's status and whether a process holds its lock. A task takes one core, and a
share of a GPU if its command asks for one.
"""

from __future__ import annotations

import errno
import os
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eavdash.config.schema import Execution
from eavdash.errors import EavdashError, IntegrityError, QueueError, TrainingError, UsageError
from eavdash.jobs.background import checked_command
from eavdash.jobs.executors import Exit
from eavdash.jobs.executors.local import Job, LocalExecutor
from eavdash.jobs.run_supervisor import MAX_FAILED_STARTS, log_line, retry_until_written, watch
from eavdash.jobs.slots import Need, Slots, need_of
from eavdash.store.atomic import boot_clock, host
from eavdash.store.processes import python_module
from eavdash.store.task import TaskDir, TaskStatus

#: Environment variable that replaces the command of tasks' processes in tests of the queue.
WORKER_VARIABLE = "EAVDASH_TASK_WORKER"
#: GiB of main memory that a task takes: an explanation's peak.
GIB = 1.6
#: Commands that wait for runs, and hold no slot for which those would wait in turn.
WITHOUT_SLOT = ("demo",)
#: Times that a task is started again after its process was gone with its scheduler, before it fails.
MAX_INTERRUPTIONS = 3
#: Reasons of tasks whose process could not write why it failed, by exit code.
UNWRITTEN = {
    errno.ENOSPC: "its files could not be written: the disk is full; free some disk space, then retry",
    errno.EIO: "its files could not be written; fix the disk or the permissions, then retry",
    errno.ENOEXEC: "its process could not be started; see the scheduler's log",
}
#: A state and the fields that come with it.
Outcome = tuple[str, dict[str, Any]]


def _executor() -> LocalExecutor:
    given = os.environ.get(WORKER_VARIABLE)
    return LocalExecutor(tuple(shlex.split(given)) if given else tuple(python_module("eavdash.jobs.task_worker")))


@dataclass
class TaskSupervisor:
    """Executor of the background tasks of one checkpoints folder; ``study`` is always empty."""

    root: Path
    slots: Slots
    executor: LocalExecutor = field(default_factory=_executor)

    def run(self, study: str, name: str, request_id: str | None) -> None:
        """Start the task's process and supervise it until the task ends."""
        task = TaskDir(self.root, name)
        failed_starts = 0
        while (status := _current(task, request_id)) is not None and not status.cancel:
            if status.state == "queued" and failed_starts >= MAX_FAILED_STARTS:
                return  # reconciling brings it back later
            try:
                job, ended = self.executor.find(task), None
                if job is None and status.state == "running":
                    # It died while no scheduler was running; everything may have been killed.
                    self._write_outcome(task, request_id, Exit(), counted=False)
                    continue
                if job is None:
                    job, ended = self._start(task, request_id, status)
                if job is not None:
                    ended = watch(self.executor, job, task.path, lambda: _current(task, request_id) is not None)
                if ended is not None:
                    self._write_outcome(task, request_id, ended)
            except UsageError as error:
                self._write(task, request_id, _failed(str(error)))
            except (QueueError, IntegrityError):
                time.sleep(0.1)  # cancelled, deleted or started by another process in the meantime
            except (TrainingError, OSError) as error:
                failed_starts += 1
                log_line(f"{task.path}: {error}")
                time.sleep(1)

    def stop(self, study: str, name: str, request_id: str | None) -> None:
        """End the task's processes, then mark it as cancelled: in this order, so that the state is always true."""
        task = TaskDir(self.root, name)
        while (status := _current(task, request_id)) is not None and status.cancel:
            try:
                if (job := self.executor.find(task)) is not None:
                    log_line(f"{name}: stopping")
                    self.executor.stop(job)
                self._write_outcome(task, request_id, Exit())
            except (EavdashError, OSError) as error:
                log_line(f"{name}: {error}")  # the process does not end: try again
                time.sleep(5)

    def _start(self, task: TaskDir, request_id: str | None, status: TaskStatus) -> tuple[Job | None, Exit | None]:
        """Launch the task's process, after waiting for a slot; return job, exit or neither.

        Raises:
            UsageError: its command is none that a task may run, or was not asked for on this machine.
        """
        checked_command(self.root, status.command)
        if not status.trusted:
            raise UsageError.at(
                task.path,
                expected="a task that you have started on this machine",
                found="one without your seal",
                remedy=f"if you want to run its command, retry it: eavdash tasks retry {task.id}",
            )
        settings = Execution(device=_device(status.command))
        none = status.command[0] in WITHOUT_SLOT
        need = Need(0) if none else need_of(settings, self.slots.machine, GIB)
        with self.slots.take(need, lambda: _waits(task, request_id)) as leases:
            if leases is None:
                return None, None
            try:
                job = self.executor.start(task, settings, leases, lambda: _claim(task, request_id))
            except OSError as error:
                if not _waits(task, request_id):
                    log_line(f"{task.path}: cannot be started: {error}")
                    return None, Exit(error.errno if error.errno in UNWRITTEN else errno.ENOEXEC)
                # Nothing has started, and a later try may succeed; the user should see the reason.
                reason = f"cannot be started: {error.filename or task.path}: {error.strerror or error}"
                task.transition("queued", expect={"state": "queued", "submission": request_id}, reason=reason)
                raise
        if job is None:
            time.sleep(0.1)
        else:
            log_line(f"{task.id}: started")
        return job, None

    def _write_outcome(self, task: TaskDir, request_id: str | None, ended: Exit, counted: bool = True) -> None:
        """Write the state of a task whose process has ended without writing one."""
        self._write(
            task,
            request_id,
            lambda s: state_after_exit(s, ended, counted) if s.state == "running" or s.cancel else None,
        )

    def _write(self, task: TaskDir, request_id: str | None, decide: Callable[[TaskStatus], Outcome | None]) -> None:
        """Write what ``decide`` returns for the task's status, unless that is None or the task has ended."""

        def write() -> bool:
            status = _current(task, request_id)
            if status is None or (outcome := decide(status)) is None:
                return True
            state, fields = outcome
            over = {} if state == "queued" else {"finished": time.time()}
            task.transition(state, expect=status.only("state", "submission", "cancel", "attempt"), **over, **fields)
            log_line(f"{task.id}: {state}: {fields['reason']}")
            return True

        retry_until_written(write)


def state_after_exit(status: TaskStatus, ended: Exit, counted: bool) -> Outcome:
    """Return the new state of a task, and its fields, after its process ended without writing a state.

    ``counted``: the process ended on its own, rather than together with its scheduler.
    """
    if status.cancel:
        return "cancelled", {"reason": "cancelled"}
    if ended.code is not None and 0 <= ended.code < 128:
        no_result = f"its process ended with exit code {ended.code} without a result; see its log"
        return "failed", {"reason": UNWRITTEN.get(ended.code, no_result), "exit_code": ended.code}
    if counted:
        number = 9 if ended.code is None else -ended.code if ended.code < 0 else ended.code - 128
        return "failed", {"reason": f"its process was killed (signal {number}); out of memory? See its log, then retry"}
    times = status.interrupted + 1
    if times > MAX_INTERRUPTIONS:
        return "failed", {"reason": f"its process was interrupted {times} times; find the cause, then retry"}
    return "queued", {"reason": "its process is gone; it starts again", "interrupted": times}


def _failed(reason: str) -> Callable[[TaskStatus], Outcome]:
    return lambda _: ("failed", {"reason": reason})


def _current(task: TaskDir, request_id: str | None) -> TaskStatus | None:
    """Return the status of an unfinished task if it still belongs to this request, else None."""
    try:
        status = task.status()
    except IntegrityError:
        return None
    return status if status.submission == request_id and not status.ended else None


def _waits(task: TaskDir, request_id: str | None) -> bool:
    status = _current(task, request_id)
    return status is not None and status.state == "queued"


def _claim(task: TaskDir, request_id: str | None) -> None:
    """Mark the task as running, unless it was cancelled, deleted or queued again in the meantime."""
    now = time.time()
    task.transition(
        "running",
        expect={"state": "queued", "submission": request_id, "cancel": None},
        attempt=task.status().attempt + 1,
        started=now,
        finished=None,
        heartbeat=now,
        beat=boot_clock(),
        host=host(),
        pid=None,
        reason="",
        **TaskStatus(state="queued").only("done", "total", "doing", "exit_code"),
    )


def _device(command: tuple[str, ...]) -> str:
    """Return the device that a command asks for; the CPU by default."""
    for word, following in zip(command, (*command[1:], ""), strict=True):
        option, _, value = word.partition("=")
        if option == "--device":
            return value or following
    return "cpu"
