"""A check of recordings that a page needs: a background task with its progress, which the page waits for.

In: the words of the command, and how many files it would open. Out: the page goes on once there is nothing to wait for.
The task leaves its results in files (the measures of each recording, the report of a dataset), which pages read. Many
files are only checked on request; a check that was stopped, or failed, can be started again and resumes. Why a check
could not be started stays on the page until it is started again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from eavdash.errors import EavdashError
from eavdash.jobs import background
from eavdash.store import checkpoints_root
from eavdash.text import plural
from eavdash.ui import tasks, widgets
from eavdash.ui.fragment import stop

CHECK_AT_ONCE = 1000  # files that are checked without confirmation


def running(command: Sequence[str]) -> bool:
    """Return True if the newest task of the command is unfinished."""
    status = tasks.latest(checkpoints_root(), command=command)
    return status is not None and not status.ended


def wait_for(page: str, command: Sequence[str], title: str, files: int) -> None:
    """Show the task of a check, or start it, and end the page; go on if this session has seen it end.

    More than ``CHECK_AT_ONCE`` files are checked on request.
    """
    root, asked = checkpoints_root(), _asked(page, command)
    status = tasks.latest(root, command=command)
    if status is not None and status.state == "done" and st.session_state.get(asked) is True:
        return
    if status is not None and status.state != "done":
        st.session_state[asked] = True
        st.caption("The recordings are checked in the background.")
        tasks.panel(root, command=command, key=f"{page}_check")
        stop()
    if start_at_once(page, command, title, files):
        st.rerun()
    offer(page, command, title, files, type="primary", key=f"{page}_start")
    stop()


def start_at_once(page: str, command: Sequence[str], title: str, files: int) -> bool:
    """Start the task of a check of few files, unless this session has done so; return whether it tried."""
    if files > CHECK_AT_ONCE or _asked(page, command) in st.session_state:
        return False
    start(page, command, title)
    return True


def offer(page: str, command: Sequence[str], title: str, files: int, **more: Any) -> None:
    """Show the button that starts a check, and why it could not be started; ``more``: of the button."""
    show_problem(page, command)
    minutes = "; that may take minutes" if files > CHECK_AT_ONCE else ""
    st.info(f"{plural(files, 'file')} to check, in the background{minutes}.")
    st.button("Check them", on_click=start, args=(page, command, title), **more)


def start(page: str, command: Sequence[str], title: str) -> None:
    """Start the task of a check; :func:`show_problem` shows why it could not be started."""
    outcome: EavdashError | bool = True
    try:
        background.submit_task(checkpoints_root(), command, title=title)
    except EavdashError as error:
        outcome = error
    # Last: a page that another rerun interrupts here, or that fails, has not asked.
    st.session_state[_asked(page, command)] = outcome


def show_problem(page: str, command: Sequence[str]) -> None:
    """Show why the last start of a check has failed, if it has."""
    problem = st.session_state.get(asked := _asked(page, command))
    if isinstance(problem, EavdashError):
        widgets.show_error(problem, f"{page}_start", forget=asked)


def _asked(page: str, command: Sequence[str]) -> str:
    """Return the key of what came of a check that this session has asked for: True, or why it could not start."""
    return f"{page}_asked {' '.join(command)}"
