"""The failed runs of a study above its grid: how many, why, and a button that queues all of them again.

In: the queue's snapshot. Runs that failed for the same reason are listed together.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import streamlit as st

from eavdash.report.figures import training as figures
from eavdash.store import StudyDir
from eavdash.text import markdown, plural, shortened, with_stop
from eavdash.ui import actions

PAGE = "training_monitor"
REASONS = 5  # shown
NAMES = 4  # of the runs that have a reason in common


def show_failures(study: StudyDir, table: pd.DataFrame, choose: Callable[[list[str]], None]) -> None:
    """Show the failed and damaged runs of a study (rows of the snapshot); ``choose`` selects runs in the grid."""
    failed = table[table["shown"].isin(["failed", "damaged"])]
    if failed.empty:
        return
    names = failed["run"].tolist()
    blocked = int((table["shown"] == "blocked").sum())
    counts = failed["shown"].value_counts()
    said = [plural(int(counts["failed"]), "run has", "runs have") + " failed"] if "failed" in counts else []
    if "damaged" in counts:
        said.append(f"the files of {plural(int(counts['damaged']), 'run')} are damaged")
    head = with_stop(" and ".join(said))
    if blocked:
        head += f" {plural(blocked, 'run is', 'runs are')} blocked."
    with st.container(border=True, key=f"{PAGE}_failures"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{head[0].upper()}{head[1:]}**", width="content")
            st.button(
                "Retry all failed",
                help="Queues them again with the runs that they block; each resumes after its last finished epoch.",
                on_click=actions.retry,
                args=(study, names),
                type="primary",
                key=f"{PAGE}_retry_failed",
            )
            st.button("Select them", on_click=choose, args=(names,), key=f"{PAGE}_select_failed")
        reasons = failed.groupby("reason", sort=False)
        lines = [_line(rows, str(reason)) for reason, rows in list(reasons)[:REASONS]]
        if len(reasons) > REASONS:
            rest = sum(map(len, list(reasons.groups.values())[REASONS:]))
            lines.append(f"- {plural(rest, 'more run')} for other reasons: click a cell for its reason.")
        st.markdown("\n".join(lines))


def _line(rows: pd.DataFrame, reason: str) -> str:
    runs = [
        figures.short_name(dict(zip(rows.columns, row, strict=True)))
        for row in rows.head(NAMES).itertuples(index=False)
    ]
    more = f" and {len(rows) - NAMES} more" if len(rows) > NAMES else ""
    why = with_stop(shortened(reason, 400)) or "No reason was recorded."
    return f"- **{markdown(', '.join(runs))}**{more}: {markdown(why)}"
