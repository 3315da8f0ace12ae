"""Background tasks whose command runs at once, in the test's own process, instead of the queue's."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from eavdash.cli.main import main
from eavdash.jobs import background
from eavdash.store.task import TaskDir, TaskStatus, tasks

#: Commands that pages start on their own or whose outcome they show.
COMMANDS = ("check", "cache", "verify")


def run_at_once(monkeypatch: pytest.MonkeyPatch, run: Callable[[list[str]], int] = main) -> list[tuple[str, ...]]:
    """Replace the queue of tasks; return the list of the commands that have been asked for."""
    asked: list[tuple[str, ...]] = []
    queue = background.submit_task

    def submit(root: Path, command: Sequence[str], *, title: str, study: str = "") -> TaskDir:
        if command[0] not in COMMANDS:
            return queue(root, command, title=title, study=study)
        asked.append(background.checked_command(root, command))
        began = time.time()
        printed = io.StringIO()
        place = 2 if command[0] == "cache" else 1
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            code = run([*command[:place], "--checkpoints", str(root), *command[place:]])
        task = TaskDir(root, f"{command[0]}-{1 + max((t.number for t in tasks(root)), default=0)}")
        state = "failed" if code > 1 else "done"
        status = {"command": tuple(command), "title": title, "study": study, "exit_code": code}
        task.create(TaskStatus(state=state, created=began, started=began, finished=time.time(), **status))
        task.log_file.write_text(printed.getvalue())
        return task

    monkeypatch.setattr(background, "submit_task", submit)
    return asked
