"""One run on the page of runs: its state and buttons, its curves, the end of its log.

In: a row of the queue's snapshot. Read from the run's own files each time; nothing is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from eavdash.store import StudyDir
from eavdash.ui import actions, parts, theme
from eavdash.ui.figures import training as figures

_LOG_LINES = 30


def details(study: StudyDir, row: Mapping[str, Any], tested: Mapping[tuple[str, int], int]) -> None:
    """Draw one run; ``tested``: number of test trials by subject and fold."""
    run, stage = study.run(row["run"]), row["stage"]
    st.subheader(f"{theme.label(stage)} of {'subject ' + row['subject'] if row['subject'] else 'all'}", anchor=False)
    st.markdown(figures.described(row, tested.get((row["subject"], row["fold"]), 0)))
    if row["reason"]:
        (st.error if row["shown"] in ("failed", "not responding") else st.info)(parts.plain(row["reason"]))
    left, right = st.columns(2)
    left.button(
        "Cancel this run",
        on_click=actions.cancel,
        args=(study, [run.name]),
        disabled=bool(row["ended"]),
        width="stretch",
        key="training_monitor_cancel",
    )
    right.button(
        "Retry this run",
        on_click=actions.retry,
        args=(study, [run.name]),
        disabled=row["state"] not in ("failed", "cancelled", "blocked"),
        width="stretch",
        key="training_monitor_retry",
    )
    metrics = run.metrics()
    for column, quantity in zip(st.columns(2), ("loss", "accuracy"), strict=True) if metrics else ():
        with column:
            chart = figures.curves(metrics, quantity, stage)
            parts.chart(chart, f"training_monitor_{quantity}", f"{quantity} per epoch, training and validation")
    with st.expander("End of its log", expanded=row["shown"] == "failed", key="training_monitor_log"):
        st.code(_tail(run.log_file) or "The run has not written anything yet.", language=None)


def _tail(path: Path) -> str:
    """The last lines of a text file; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 200 * _LOG_LINES))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-_LOG_LINES:])
    except FileNotFoundError:
        return ""
