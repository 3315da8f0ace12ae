"""What buttons do: queue, cancel, retry. Callbacks only; each leaves one message that the page shows.

In: paths and names. The work is that of ``eavdash.study`` and ``eavdash.jobs.queue``; every action may be repeated
without harm, so that a double click does what one click does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    _done(lambda: queue.cancel(study, runs), f"Cancelled: {_named(study, runs)}.")


def retry(study: StudyDir, runs: Sequence[str] | None = None) -> None:
    """Queue failed and cancelled runs again."""
    from eavdash.study import retry as again

    _done(lambda: again(study, runs), f"Queued again: {_named(study, runs)}.")


def pause(study: StudyDir) -> None:
    """Let no further run of a study start."""
    from eavdash.jobs import queue

    _done(lambda: queue.pause(study), f"{study.name} is paused: runs under way go on, no other starts.")


def resume(study: StudyDir) -> None:
    """Let the runs of a paused study go on."""
    from eavdash.jobs import queue

    _done(lambda: queue.resume(study), f"{study.name} goes on.")


def prioritise(study: StudyDir, runs: Sequence[str] | None, key: str) -> None:
    """Give waiting runs the priority that stands in the widget ``key``."""
    from eavdash.jobs import queue

    priority = int(st.session_state[key])
    _done(lambda: queue.prioritise(study, runs, priority), f"Priority {priority}: {_named(study, runs)}.")


def probe(study: StudyDir, names: Sequence[str]) -> None:
    """Start the leakage probes of a study in the background, unless somebody probes it."""
    from eavdash import probing

    try:
        probing.start(study, names)
    except EavdashError as error:
        st.session_state[MESSAGE] = ("error", str(error))


def ensure_conductor(root: Path) -> str:
    """Start the queue's conductor if there is work and none is alive; an empty text, or why that did not work."""
    from eavdash.jobs import queue

    try:
        queue.ensure_conductor(root)
    except EavdashError as error:
        return str(error)
    return ""


def _done(work: Callable[[], object], words: str) -> None:
    """Do the work and leave its message, or why it could not be done."""
    try:
        work()
        st.session_state[MESSAGE] = ("success", words)
    except EavdashError as error:
        st.session_state[MESSAGE] = ("error", str(error))
    cache.snapshot_again()


def _named(study: StudyDir, runs: Sequence[str] | None) -> str:
    if runs and len(runs) > 6:
        return f"{', '.join(runs[:5])} and {len(runs) - 5} more"
    return ", ".join(runs) if runs else f"the runs of {study.name}"
