"""What buttons do: queue, cancel, retry. Callbacks only; each leaves one message that the page shows.

In: paths and names. The work is that of ``eavdash.study`` and ``eavdash.jobs.queue``; every action may be repeated
without harm, so that a double click does what one click does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from eavdash.config import Execution, Selection, StudyConfig
from eavdash.errors import EavdashError
from eavdash.store import StudyDir
from eavdash.ui import cache

MESSAGE = "message"  # session state: (kind, text) for the page that is drawn next
TARGET = "explain_target"  # session state: (subject, trial) for the page of explanations


def launch(
    root: str, name: str, config: StudyConfig, selection: Selection, execution: Execution, checkpoints: Path
) -> None:
    """Write the study and queue its runs, then make it the current study."""
    from eavdash.jobs import queue
    from eavdash.study import prepare

    try:
        plan = prepare(root, name, config, selection, checkpoints)
        queue.submit(plan.study, plan.runs, execution)
    except EavdashError as error:
        st.session_state[MESSAGE] = ("error", str(error))
        return
    st.session_state["study"] = name
    st.session_state[MESSAGE] = ("queued", f"{len(plan.runs)} runs of the study {name} are queued.")


def cancel(study: StudyDir, runs: Sequence[str] | None = None) -> None:
    """Stop runs, or all of a study."""
    from eavdash.jobs import queue

    try:
        queue.cancel(study, runs)
        st.session_state[MESSAGE] = ("success", f"Cancelled: {_named(study, runs)}.")
    except EavdashError as error:
        st.session_state[MESSAGE] = ("error", str(error))
    cache.snapshot_again()


def retry(study: StudyDir, runs: Sequence[str] | None = None) -> None:
    """Queue failed and cancelled runs again."""
    from eavdash.study import retry as again

    try:
        again(study, runs)
        st.session_state[MESSAGE] = ("success", f"Queued again: {_named(study, runs)}.")
    except EavdashError as error:
        st.session_state[MESSAGE] = ("error", str(error))
    cache.snapshot_again()


def ensure_conductor(root: Path) -> str:
    """Start the queue's conductor if there is work and none is alive; an empty text, or why that did not work."""
    from eavdash.jobs import queue

    try:
        queue.ensure_conductor(root)
    except EavdashError as error:
        return str(error)
    return ""


def _named(study: StudyDir, runs: Sequence[str] | None) -> str:
    return ", ".join(runs) if runs else f"the runs of {study.name}"
