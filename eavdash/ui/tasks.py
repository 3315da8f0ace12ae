"""Background tasks on pages: start one from a button, watch it, cancel or retry it.

In: a command, or which tasks to show. Out: what is drawn; the state comes from the task's files
(:mod:`eavdash.jobs.background`). A page never waits: it asks again while a task is unfinished.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from eavdash.errors import EavdashError, IntegrityError
from eavdash.jobs import background
from eavdash.jobs.estimates import duration
from eavdash.store import checkpoints_root
from eavdash.store.task import LiveTask, TaskDir, TaskStatus
from eavdash.text import markdown
from eavdash.ui import actions, cached_runs
from eavdash.ui.fragment import fragment

#: Lines of the log that a failed task shows.
LINES = 12
#: Failed tasks that :func:`overview` shows at most.
FAILED = 10


def start(command: Sequence[str], title: str, study: str = "") -> None:
    """Start a task for a button (``on_click``); an error is left as the page's message."""
    try:
        background.submit_task(checkpoints_root(), command, title=title, study=study)
    except EavdashError as error:
        st.session_state[actions.MESSAGE] = ("error", error)


def latest(root: Path, study: str = "", command: Sequence[str] | None = None) -> TaskStatus | None:
    """Return the status of the task that :func:`panel` would show, or None."""
    found = _newest(root, study, command)
    return found[1].status if found else None


def panel(root: Path, study: str = "", command: Sequence[str] | None = None, key: str = "tasks") -> TaskStatus | None:
    """Show the newest task about a study whose command begins with the words of ``command``; return its status.

    While it is unfinished the panel updates itself, and reruns the page when it ends.
    """
    if (found := _newest(root, study, command)) is None:
        return None
    task, live = found
    if live.status.ended:
        _show(task, live, key)
    else:
        _watch(task, key)
    return live.status


def overview(root: Path, key: str) -> None:
    """Show all unfinished tasks, and failed ones that were not started again; nothing if there are none."""
    shown: list[tuple[TaskDir, LiveTask]] = []
    damaged, newer, failed = [], set(), 0
    for task in background.list_tasks(root):
        try:
            live = task.live_status()
        except IntegrityError as error:
            damaged.append(str(error))
            continue
        again = live.status.command in newer
        newer.add(live.status.command)
        failed += live.shown == "failed"
        if not live.status.ended or (live.shown == "failed" and not again and failed <= FAILED):
            shown.append((task, live))
    if not shown and not damaged:
        return
    with st.expander("Tasks", key=f"{key}_tasks"):  # a fixed label: it stays open while its content changes
        for text in damaged:
            st.error(markdown(text))
        for task, live in shown:
            _show(task, live, f"{key}_{task.id}")


def _newest(root: Path, study: str, command: Sequence[str] | None) -> tuple[TaskDir, LiveTask] | None:
    """Return the newest matching task that can be read."""
    wanted = tuple(command or ())
    for task in background.list_tasks(root, study):
        try:
            live = task.live_status()
        except IntegrityError:
            continue  # shown by the overview and by eavdash tasks
        if live.status.command[: len(wanted)] == wanted:
            return task, live
    return None


@fragment(run_every=1.5)
def _watch(task: TaskDir, key: str) -> None:
    """Show an unfinished task; rerun the page when it has ended."""
    try:
        live = task.live_status()
    except IntegrityError as error:
        st.error(markdown(error))
        return
    if live.status.ended:
        st.rerun()
    _show(task, live, key)


def _show(task: TaskDir, live: LiveTask, key: str) -> None:
    status = live.status
    with st.container(horizontal=True, vertical_alignment="center"):
        {"failed": st.error, "not responding": st.warning}.get(live.shown, _plain)(markdown(_sentence(live)))
        if not status.ended:
            st.button(
                "Cancel",
                on_click=_cancel,
                args=(task, status.title),
                disabled=bool(status.cancel),
                key=f"{key}_cancel",
            )
        elif live.shown in ("failed", "cancelled"):
            st.button("Retry", on_click=_retry, args=(task,), key=f"{key}_retry")
    if status.state == "running" and status.total > 0:
        st.progress(min(1.0, max(0.0, status.done / status.total)))
    if live.shown == "failed" and (lines := task.log(LINES)):
        with st.expander("Last lines of its output", key=f"{key}_log"):
            st.code("\n".join(lines), language=None)
    if not status.ended and (problem := cached_runs.scheduler_problem(task.root)):
        st.error(markdown(problem))


def _plain(text: str) -> None:
    st.caption(text, width="content")


def _sentence(live: LiveTask) -> str:
    """Return what is going on: the state, the current step, the time it took or will take, the reason."""
    status = live.status
    since = status.started or status.created or 0.0
    if live.shown == "running":
        step = f": {status.doing}" if status.doing else ""
        count = f", {status.done} of {status.total}" if status.total > 0 else ""
        left = status.seconds_left()
        spent = f"about {duration(left)} left" if left is not None else f"for {duration(max(0.0, time.time() - since))}"
        ending = "is being cancelled" if status.cancel else "continues when this page is closed"
        return f"{status.title}{step}{count}, {spent}; it {ending}."
    if live.shown == "done":
        took = duration(max(0.0, (status.finished or since) - since))
        return f"{status.title}: done in {took}{'; ' if live.reason else ''}{live.reason}."
    reason = "" if live.reason in ("", "cancelled") else f"; {live.reason.removesuffix('.')}"
    return f"{status.title}: {live.shown}{reason}."


def _cancel(task: TaskDir, title: str) -> None:
    actions.run_action(lambda: background.cancel_task(task), f"{title}: cancelled.")


def _retry(task: TaskDir) -> None:
    actions.run_action(lambda: background.retry_task(task), "Queued again.")
