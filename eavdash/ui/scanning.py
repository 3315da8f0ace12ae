"""A scan of recordings in a page's script, with its progress; a long one needs a confirmation and can be stopped.

In: a function that scans and reports the number of files. Out: its result. Scanned files are remembered in the cache,
so that the next scan resumes there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import streamlit as st

from eavdash.ui import widgets

T = TypeVar("T")
PROGRESS_INTERVAL = 0.2  # seconds between two updates of the progress bar


class _ManyFilesError(Exception):
    """Ends a long scan that the user has not confirmed."""

    def __init__(self, done: int, of: int) -> None:
        super().__init__(f"{done} of {of} files are known")
        self.done, self.of = done, of


def scan_with_progress(page: str, path: str, scan: Callable[[Callable[[int, int], None]], T]) -> T:
    """Return what ``scan`` returns for the dataset at ``path``, with a progress bar while it opens files.

    A scan that would open more than ``widgets.CHECK_AT_ONCE`` new files needs a confirmation. It can be stopped; the
    page ends meanwhile.
    """
    go, seen = f"{page}_go {path}", f"{page}_seen {path}"
    # Two fixed containers, and one button for start and stop: no stale element stays beside a new one.
    above, below = st.empty(), st.empty()
    bar = above.progress(0.0, "Checking the recordings")
    if st.session_state.get(go):
        below.button("Stop", key=f"{page}_start", on_click=_set_requested, args=(go, False))
    updated = 0.0

    def progress(done: int, of: int) -> None:
        nonlocal updated
        if not updated and not st.session_state.get(go) and of - done > widgets.CHECK_AT_ONCE:
            raise _ManyFilesError(done, of)
        if updated and done < of and time.monotonic() - updated < PROGRESS_INTERVAL:
            return
        updated = time.monotonic()
        st.session_state[seen] = True
        text = f"Checking the recordings: {done:,} of {of:,} files" if done < of else "Comparing the recordings"
        bar.progress(done / max(1, of), text)

    try:
        result = scan(progress)
    except _ManyFilesError as many:
        if st.session_state.get(seen):
            above.info(f"The check was stopped: {many.done:,} of {many.of:,} files are checked. It resumes from there.")
        else:
            above.info(f"{many.of:,} files: the first check takes a few minutes.")
        label = "Continue" if st.session_state.get(seen) else "Check them"
        below.button(label, type="primary", key=f"{page}_start", on_click=_set_requested, args=(go, True))
        st.stop()
    above.empty()
    below.empty()
    st.session_state.pop(seen, None)
    return result


def _set_requested(key: str, value: bool) -> None:
    st.session_state[key] = value
