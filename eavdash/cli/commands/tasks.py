"""``tasks``: list the background tasks that the app has started; cancel, retry or read one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from eavdash import store
from eavdash.cli import console
from eavdash.cli.commands.training import show_obstacle
from eavdash.errors import IntegrityError, UsageError
from eavdash.store.task import TaskDir, find_task
from eavdash.text import visible

COLUMNS = ("task", "state", "title", "done", "total", "doing", "reason")


def tasks(options: argparse.Namespace) -> int:
    """List the tasks, or act on one."""
    from eavdash.jobs import background

    root = store.checkpoints_root(options.checkpoints)
    if options.action == "list":
        return _list(root, background.list_tasks(root), options.json)
    if not options.task:
        raise UsageError.at(
            f"eavdash tasks {options.action}", expected="the id of a task", found="none", remedy="see eavdash tasks"
        )
    task = find_task(root, options.task)
    if options.action == "log":
        for line in task.log(100_000):
            print(visible(line, keep="\t"))
        return 0
    if options.action == "retry":
        task = background.retry_task(task)
    elif not background.cancel_task(task) and not options.json:
        console.info(f"{task.id} had ended: nothing was cancelled")
    return _list(root, [task], options.json)


def _list(root: Path, some: list[TaskDir], as_json: bool) -> int:
    show_obstacle(root)
    rows = [_row(task) for task in some]
    if as_json:
        console.print_json(rows)
    elif not rows:
        console.info(f"no tasks in {root}")
    else:
        console.print_table(pd.DataFrame(rows)[[*COLUMNS]], "table")
    return 0


def _row(task: TaskDir) -> dict[str, Any]:
    """Return a task for the list; a damaged status is shown as such."""
    try:
        live = task.live_status()
    except IntegrityError as error:
        return {"task": task.id, **dict.fromkeys(COLUMNS[1:], ""), "state": "damaged", "reason": str(error)}
    status = live.status
    shown = status.only("title", "done", "total", "doing")
    more = status.only("study", "created", "started", "finished", "attempt", "exit_code")
    command = {"command": list(status.command), "seconds_left": status.seconds_left()}
    return {"task": task.id, "state": live.shown, **shown, "reason": live.reason, **more, **command}
