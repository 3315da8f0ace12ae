"""The process of one background task: ``python -m eavdash.jobs.task_worker TASK_DIR``, started by the scheduler.

It runs the task's command as ``python -m eavdash`` would, and writes its heartbeat and its end: done, or failed with
the reason that the command has printed. Standard output and error are the task's log.txt.
"""

from __future__ import annotations

import faulthandler
import os
import runpy
import sys
import time
import traceback
from pathlib import Path

from eavdash.errors import EavdashError, QueueError, TrainingError
from eavdash.jobs.process import (
    STOPPED,
    Heartbeat,
    Stopped,
    inherited_lock,
    leave,
    print_error,
    stop_on_sigterm,
    terminated,
    unwritten,
)
from eavdash.store.atomic import boot_clock, host
from eavdash.store.readable import restrict_data_folders
from eavdash.store.task import TASK_VARIABLE, TaskDir, TaskStatus, write_progress

#: Commands whose exit code 1 is what they have found, unless an error is their last word.
FINDING = ("check", "verify")
#: Beginning of the line with an error of the command line.
ERROR = "eavdash: "


def main(arguments: list[str] | None = None) -> int:
    """Run the task's command and return the exit code: 0 if the task is done."""
    faulthandler.enable()
    stop_on_sigterm()
    (folder,) = arguments if arguments is not None else sys.argv[1:]
    task = TaskDir.at(Path(folder))
    try:
        if not inherited_lock(task):
            remedy = f"retry it: eavdash tasks retry {task.id}"
            raise QueueError.at(
                task.path, expected="a process that the scheduler starts", found="another", remedy=remedy
            )
        fields = {"pid": os.getpid(), "host": host(), "heartbeat": time.time(), "beat": boot_clock()}
        status = task.update({"state": "running"}, **fields)
        with Heartbeat(task, status.only("attempt", "submission")):
            code = _execute(task, status)
        return STOPPED if terminated() else _finish(task, status, code)
    except EavdashError as error:
        print_error(f"{ERROR}{error}")
        lost = isinstance(error, TrainingError) and isinstance(error.__cause__, OSError)
        return unwritten(error) if lost else error.exit_code
    except Stopped:
        return STOPPED


def _execute(task: TaskDir, status: TaskStatus) -> int:
    """Run the command in this process; return its exit code."""
    restrict_data_folders(status.folders)
    os.environ |= {TASK_VARIABLE: str(task.path), "EAVDASH_CHECKPOINTS": str(task.root)}
    command = status.command
    if os.environ.get("EAVDASH_GPU"):  # this process sees only its own GPU
        command = tuple("cuda" if word.startswith("cuda:") else word for word in command)
    sys.argv = ["eavdash", *command]
    try:
        os.chdir(status.folder or task.root)
        runpy.run_module("eavdash", run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:
        print_error(traceback.format_exc())
        print_error(f"{ERROR}{type(error).__name__}: {error}")
        return 1
    return 0


def _finish(task: TaskDir, status: TaskStatus, code: int) -> int:
    """Write the end of the task: done, or failed with a reason."""
    write_progress()
    mine = status.only("attempt", "submission")
    over = {"finished": time.time(), "exit_code": code}
    reason, is_error = _last_words(task) if code else ("", False)
    if not code or (code == 1 and status.command[0] in FINDING and not is_error):
        task.transition("done", expect=mine, reason=reason, **over)
        return 0
    task.transition("failed", expect=mine, reason=reason or f"exit code {code} without a message", **over)
    return 1


def _last_words(task: TaskDir) -> tuple[str, bool]:
    """Return the last line of this attempt's output, and True if it is an error of the command line."""
    sys.stdout.flush()
    sys.stderr.flush()
    lines = [line.strip() for line in task.log(100) if line.strip()]
    last = lines[-1] if lines and not lines[-1].startswith("--- attempt") else ""
    return last.removeprefix(ERROR), last.startswith(ERROR)


if __name__ == "__main__":
    leave(main())
