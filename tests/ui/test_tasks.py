"""Background tasks on pages: each state of the panel, the probes of a study, and the list on the page Runs."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_study import make_study
from streamlit.testing.v1 import AppTest
from test_pages import checkpoints, open_page, page_text

from eavdash.errors import QueueError
from eavdash.jobs import background
from eavdash.results import probes
from eavdash.store import locks
from eavdash.store.atomic import boot_clock, host
from eavdash.store.task import LiveTask, TaskDir, TaskStatus

__all__ = ["checkpoints"]
PAGE = """
from pathlib import Path
import streamlit as st
from eavdash.ui import tasks, widgets
widgets.show_message()
st.button("Begin", on_click=tasks.start, args=(["probe", "demo"], "Probes", "demo"), key="begin")
status = tasks.panel(Path({root!r}), "demo", ("probe",))
st.write(f"returned {{status.state if status else None}}")
"""
Make = Callable[..., TaskDir]


@pytest.fixture
def make(checkpoints: Path) -> Iterator[Make]:
    """A function that makes a task in a state; one that runs is locked by this process."""
    held: list[int] = []

    def create(state: str, number: int = 1, *, alive: bool = True, **fields: Any) -> TaskDir:
        task = TaskDir(checkpoints, f"probe-{number}")
        now = time.time()
        fields = {"command": ("probe", "demo"), "study": "demo", "title": "Probes", "created": now, **fields}
        if state == "running":
            fields = {"started": now, "heartbeat": now, "beat": boot_clock(), "host": host(), **fields}
        task.create(TaskStatus(state=state, **fields))
        if state == "running" and alive:
            lock = locks.acquire(task.lock_file)
            assert lock is not None
            held.append(lock)
        return task

    yield create
    for lock in held:
        os.close(lock)


def panel(root: Path) -> AppTest:
    app = AppTest.from_string(PAGE.format(root=str(root)), default_timeout=60).run()
    assert not app.exception, app.exception[0].stack_trace
    return app


def keys(app: AppTest) -> list[str]:
    return [str(button.key) for button in app.button]


def test_without_a_task_the_panel_is_empty(checkpoints: Path, make: Make) -> None:
    make("done", command=("explain", "demo"))
    make("done", 2, study="another")
    app = panel(checkpoints)
    assert "returned None" in page_text(app)
    assert keys(app) == ["begin"]


def test_a_waiting_task_shows_its_reason_and_can_be_cancelled(
    checkpoints: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("done")
    task = make("queued", 2, reason=background.WAITS)
    app = panel(checkpoints)
    assert f"Probes: queued; {background.WAITS}." in page_text(app)
    assert "returned queued" in page_text(app)
    asked: list[TaskDir] = []
    monkeypatch.setattr(background, "cancel_task", lambda task: asked.append(task) or True)
    app.button(key="tasks_cancel").click().run()
    assert asked == [task]


def test_a_running_task_shows_its_step_and_the_time_left(checkpoints: Path, make: Make) -> None:
    make("running", done=1, total=4, doing="step *two*", started=time.time() - 60)
    text = page_text(panel(checkpoints))
    assert "Probes: step *two*, 1 of 4, about 3 min left; it continues when this page is closed." in text


def test_a_running_task_without_progress_shows_its_time(checkpoints: Path, make: Make) -> None:
    make("running", cancel="c")
    app = panel(checkpoints)
    assert re.search(r"Probes, for \d+ s; it is being cancelled\.", page_text(app))
    assert app.button(key="tasks_cancel").disabled


def test_a_task_whose_process_is_gone_is_not_shown_as_running(checkpoints: Path, make: Make) -> None:
    make("running", alive=False)
    app = panel(checkpoints)
    assert "Probes: not responding; its process is gone" in page_text(app)
    assert len(app.warning) == 1


def test_a_failed_task_shows_reason_and_log_and_can_be_retried(
    checkpoints: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make("failed", reason="/x: expected a *file*, found none; fix it.")
    task.log_file.write_text("\n".join(f"line {n}" for n in range(40)))
    app = panel(checkpoints)
    assert "Probes: failed; /x: expected a *file*, found none; fix it." in page_text(app)
    assert app.code[0].value.splitlines() == [f"line {n}" for n in range(28, 40)]

    def refuse(task: TaskDir) -> TaskDir:
        raise QueueError.at(task.path, expected="a queue", found="none", remedy="make one")

    monkeypatch.setattr(background, "retry_task", refuse)
    app.button(key="tasks_retry").click().run()
    assert "expected a queue, found none; make one" in page_text(app)


@pytest.mark.parametrize(("state", "text"), [("done", "Probes: done in"), ("cancelled", "Probes: cancelled.")])
def test_a_task_that_has_ended_says_so(checkpoints: Path, make: Make, state: str, text: str) -> None:
    make(state, started=time.time() - 5, finished=time.time(), reason="cancelled" if state == "cancelled" else "")
    app = panel(checkpoints)
    assert text in page_text(app)
    assert ("tasks_retry" in keys(app)) == (state == "cancelled")
    assert "tasks_cancel" not in keys(app)


def test_the_page_runs_again_when_a_task_ends(checkpoints: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    task = make("running")
    real, calls = TaskDir.live_status, []

    def ends_meanwhile(self: TaskDir) -> LiveTask:
        calls.append(self)
        live = real(self)
        if len(calls) == 1:
            self.transition("done", finished=time.time())
        return live

    monkeypatch.setattr(TaskDir, "live_status", ends_meanwhile)
    app = panel(checkpoints)
    assert "returned done" in page_text(app)
    assert len(calls) == 3  # the page, the fragment, the page again
    assert task.status().state == "done"


def test_a_damaged_task_hides_no_other(checkpoints: Path, make: Make) -> None:
    make("queued")
    make("done", 2).status_file.write_text("{")
    assert "returned queued" in page_text(panel(checkpoints))


def test_a_task_that_cannot_be_started_leaves_the_reason(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(root: Path, command: Any, **_: Any) -> TaskDir:
        raise QueueError.at(root, expected="a queue", found="another user's", remedy="ask")

    monkeypatch.setattr(background, "submit_task", refuse)
    app = panel(checkpoints)
    app.button(key="begin").click().run()
    assert "expected a queue, found another user's; ask" in page_text(app)


def test_probes_are_started_watched_and_shown_without_the_command_line(
    checkpoints: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(checkpoints, stages=("audio", "fusion"))
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        background, "submit_task", lambda root, command, title, study: asked.append((root, command, study))
    )
    app = open_page("subjects")
    app.button(key="results_subjects_probe").click().run()
    assert asked == [(checkpoints, ("probe", "demo", "--probes", "shuffled,identity"), "demo")]
    task = make("running", doing="training an encoder on shuffled labels", total=2)
    app.run()
    assert "Probes: training an encoder on shuffled labels, 0 of 2, for" in page_text(app)
    assert "results_subjects_probe" not in keys(app)
    task.transition("failed", reason="/data/x: expected recordings, found none; correct the path.")
    app.run()
    assert "Probes: failed; /data/x: expected" in page_text(app)
    assert app.button(key="results_subjects_probe").label == "Probe again"
    found = {name: probes.finding(name, 0.2, 30, 20, 5, 0.2, stage="audio", of="x") for name in probes.PROBES}
    probes.keep(study, found)
    app.run()
    assert not app.error
    assert probes.read(study)["identity"].sentence in page_text(app)
    assert "Not probed yet" not in page_text(app)


def test_the_page_runs_lists_unfinished_failed_and_damaged_tasks(checkpoints: Path, make: Make) -> None:
    make_study(checkpoints, stages=("audio",))
    assert "Tasks" not in [each.label for each in open_page("monitor").expander]
    make("failed", title="Old try", reason="was retried.")
    make("queued", 2, title="Waiting", study="")
    make("failed", 3, title="Check of a dataset", command=("check", "/data"), study="", reason="the disk is full.")
    make("done", 4, command=("check", "/other"), title="Finished")
    make("done", 5).status_file.write_text("{")
    app = open_page("monitor")
    assert "Tasks" in [each.label for each in app.expander]
    text = page_text(app)
    for shown in ("Waiting: queued", "Check of a dataset: failed; the disk is full.", "probe-5/status.json"):
        assert shown in text
    assert "Old try" not in text
    assert "Finished" not in text
    assert {"training_monitor_probe-2_cancel", "training_monitor_probe-3_retry"} <= set(keys(app))
