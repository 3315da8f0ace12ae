"""A check of recordings that a page needs: a background task with its progress, which the page waits for.

In: the words of the command, and how many files it would open. Out: the page goes on once there is nothing to wait for.
The task leaves its results in files (the measures of each recording, the report of a dataset), which pages read. Many
files are only checked on request; a check that was stopped, or failed, can be started again and resumes.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from eavdash.store import checkpoints_root
from eavdash.text import plural
from eavdash.ui import tasks

CHECK_AT_ONCE = 1000  # files that are checked without confirmation


def running(command: Sequence[str]) -> bool:
    """Return True if the newest task of the command is unfinished."""
    status = tasks.latest(checkpoints_root(), command=command)
    return status is not None and not status.ended


def wait_for(page: str, command: Sequence[str], title: str, files: int) -> None:
    """Show the task of a check, or start it, and end the page; go on if this session has seen it end.

    More than ``CHECK_AT_ONCE`` files are checked on request.
    """
    root = checkpoints_root()
    asked = f"{page}_asked {' '.join(command)}"
    status = tasks.latest(root, command=command)
    if status is not None and status.state == "done" and st.session_state.get(asked):
        return
    if status is not None and status.state != "done":
        st.session_state[asked] = True
        st.caption("The recordings are checked in the background.")
        tasks.panel(root, command=command, key=f"{page}_check")
        st.stop()
    if files <= CHECK_AT_ONCE and not st.session_state.get(asked):
        start(page, command, title)
        st.rerun()
    st.info(f"{plural(files, 'file')} to check, in the background{few_minutes(files)}.")
    st.button(
        "Check them",
        type="primary",
        on_click=start,
        args=(page, command, title),
        key=f"{page}_start",
    )
    st.stop()


def start(page: str, command: Sequence[str], title: str) -> None:
    """Start the task of a check."""
    st.session_state[f"{page}_asked {' '.join(command)}"] = True
    tasks.start(command, title)


def few_minutes(files: int) -> str:
    """Return how long so many files may take, as the end of a sentence."""
    return "; that may take minutes" if files > CHECK_AT_ONCE else ""
