"""The grid of runs with its progress, filters and buttons.

In: the queue's snapshot. The selected runs are in the session state (:data:`CHOSEN`) and not the value of a widget: a
widget that both the script and the user set may restore an old selection.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from eavdash.jobs import estimates
from eavdash.report import theme
from eavdash.report.figures import training as figures
from eavdash.store import StudyDir
from eavdash.ui import actions, address, cached_runs, monitor

PAGE = "training_monitor"
CHOSEN, TURN = f"{PAGE}_chosen", f"{PAGE}_turn"
ROWS = 60  # per page of the grid
#: Choices in the address; ``MANY``: lists.
NAMES, MANY = ("subjects", "states", "page", "chosen"), ("states", "chosen")


def read_address() -> None:
    """Set the filters, the page of the grid and the selected runs from an address that the page did not write."""
    address.read(PAGE, NAMES, MANY)
    state = st.session_state
    page = str(state.get(f"{PAGE}_page") or "")
    state[f"{PAGE}_page"] = max(1, int(page)) if page.isdecimal() else 1
    state[f"{PAGE}_subjects"] = str(state.get(f"{PAGE}_subjects") or "")
    state[f"{PAGE}_states"] = [s for s in state.get(f"{PAGE}_states") or [] if s in theme.STATE_COLOURS]


def progress(study: StudyDir, table: pd.DataFrame) -> None:
    """Show the study's progress as text, bar and tab title, with the buttons for pause and notification."""
    st.set_page_config(page_title=figures.tab_title(table))
    tally = figures.tally(table)
    ended, paused = bool(table["ended"].all()), cached_runs.paused(study)
    left = figures.study_time_left(table, estimates.study_time_left(table, table["left"]))
    first, second, third = st.columns([5, 1, 2], vertical_alignment="center")
    first.markdown(f"**{tally}**" + (f"  \n{left}" if left else ""))
    second.button(
        "Resume" if paused else "Pause",
        help="Lets runs start again." if paused else "Running runs continue; no others start until you resume.",
        on_click=actions.resume if paused else actions.pause,
        args=(study,),
        disabled=ended and not paused,
        width="stretch",
        key=f"{PAGE}_{'resume' if paused else 'pause'}",
    )
    with third:
        monitor.notice(study.name, ended, tally, key=f"{PAGE}_notice")
    if paused:
        st.warning("This study is paused: running runs continue, no others start until you resume it.")
    st.progress(float((table["shown"] == "done").mean()))


def run_grid(table: pd.DataFrame, tested: Mapping[tuple[str, int], int]) -> pd.DataFrame:
    """Show the filters and the grid; return the rows of the selected runs."""
    names = set(table["run"].tolist())
    selected = [name for name in st.session_state.get(CHOSEN, []) if name in names]  # the study may have changed
    first, second, third = st.columns([2, 2, 1])
    text = first.text_input("Subjects", placeholder="All; or 3-7, 12", key=f"{PAGE}_subjects")
    existing = [state for state in theme.STATE_COLOURS if state in table["shown"].unique()]
    states = second.multiselect(
        "States", list(theme.STATE_COLOURS), placeholder=f"All: {', '.join(existing)}", key=f"{PAGE}_states"
    )
    lines = figures.grid_lines(table, text, states)
    pages = max(1, -(-len(lines) // ROWS))
    if st.session_state.get(f"{PAGE}_page", 1) > pages:
        st.session_state[f"{PAGE}_page"] = pages
    page = int(third.number_input(f"Page (of {pages})", 1, pages, key=f"{PAGE}_page", disabled=pages == 1))
    shown = lines[(page - 1) * ROWS : page * ROWS]
    if shown:
        monitor.grid(figures.grid(table, shown, tested), selected, f"{PAGE}_grid", _choose)
    else:
        st.info("No row of the grid matches these filters.")
    st.caption(
        "Accuracies are on test trials. Click a cell for its curves and log; Ctrl-click, Shift-click or tap to select "
        "several; click a stage or a subject to select all of its runs in view."
    )
    return table[table["run"].isin(selected)].set_index("run", drop=False).loc[selected]


def run_buttons(study: StudyDir, table: pd.DataFrame, chosen: pd.DataFrame) -> None:
    """Show the buttons that act on the selected runs, all runs of a subject or a stage, or the whole study."""
    subjects = list(dict.fromkeys(chosen["subject"]))
    stages = [stage for stage in theme.LABELS if stage in table["stage"].unique()]
    scopes = {"chosen": f"The selected runs ({len(chosen)})", "all": "All runs of the study"}
    scopes |= {f"stage {s}": f"All runs of {theme.label(s)}" for s in stages}
    scopes |= {f"subject {s}": f"All runs of subject {s}" for s in subjects if s}
    first, second, third, fourth = st.columns([2, 1, 1, 1], vertical_alignment="bottom")
    # A new widget for each selection, so that the buttons act on the new selection by default.
    key = f"{PAGE}_scope_{st.session_state.get(TURN, 0)}"
    scope = first.selectbox("Cancel or retry", list(scopes), format_func=scopes.__getitem__, key=key)
    kind, _, value = str(scope).partition(" ")
    rows = {"chosen": chosen, "all": table}.get(kind, table[table[kind] == value] if value else table)
    names = None if kind == "all" else rows["run"].tolist()
    again = rows["shown"].isin(["failed", "damaged", "cancelled"]) | ((rows["shown"] == "blocked") & rows["ended"])
    second.button(
        "Cancel",
        help="Stops running runs and removes waiting ones from the queue. Retry resumes after the last finished epoch.",
        on_click=actions.cancel,
        args=(study, names),
        disabled=not (~rows["ended"] | (rows["shown"] == "blocked")).any(),
        width="stretch",
        key=f"{PAGE}_cancel",
    )
    third.button(
        "Retry",
        help="Queues failed, cancelled and blocked runs again; runs with damaged files start over.",
        on_click=actions.retry,
        args=(study, names),
        disabled=not again.any(),
        width="stretch",
        key=f"{PAGE}_retry",
    )
    with fourth.popover("More", width="stretch", key=f"{PAGE}_more"):
        st.button("Clear the selection", on_click=_choose, args=([],), disabled=chosen.empty, key=f"{PAGE}_none")
        st.number_input(
            "Priority",
            help="Waiting runs with the highest priority start first; the default is 0.",
            value=0,
            step=1,
            key=f"{PAGE}_priority",
        )
        st.button(
            "Set the priority of waiting runs",
            on_click=actions.prioritise,
            args=(study, names, f"{PAGE}_priority"),
            disabled=not rows["state"].isin(["queued", "blocked"]).any(),
            key=f"{PAGE}_prioritise",
        )


def _choose(names: list[str]) -> None:
    st.session_state[CHOSEN] = names
    st.session_state[TURN] = st.session_state.get(TURN, 0) + 1
