"""What stands above and around the grid of runs: how far the study is, which rows are shown, what buttons act on.

In: the queue's snapshot. The chosen runs stand in the session (:data:`CHOSEN`) and no widget has them as its value: one
that is set by the script and by the user at once may bring back what was chosen before.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from eavdash.jobs import estimates
from eavdash.store import StudyDir
from eavdash.ui import actions, monitor, theme
from eavdash.ui.figures import training as figures

PAGE = "training_monitor"
CHOSEN, TURN = f"{PAGE}_chosen", f"{PAGE}_turn"
ROWS = 60  # of the grid at once


def progress(study: StudyDir, table: pd.DataFrame) -> None:
    """How far the study is, in words, as a bar and in the tab's title; and whether it is to be told when it ends."""
    st.set_page_config(page_title=figures.tab_title(table))
    tally = figures.tally(table)
    over, paused = bool(table["ended"].all()), study.paused
    left = figures.study_time_left(table, estimates.study_left(table, table["left"]))
    words, hold, bell = st.columns([5, 1, 2], vertical_alignment="center")
    words.markdown(f"**{tally}**" + (f"  \n{left}" if left else ""))
    hold.button(
        "Resume" if paused else "Pause",
        help="Lets runs start again." if paused else "Runs under way go on; no other starts until you resume.",
        on_click=actions.resume if paused else actions.pause,
        args=(study,),
        disabled=over and not paused,
        width="stretch",
        key=f"{PAGE}_{'resume' if paused else 'pause'}",
    )
    with bell:
        monitor.notice(study.name, over, tally, key=f"{PAGE}_notice")
    if paused:
        st.warning("This study is paused: runs under way go on, no other starts until you resume it.")
    st.progress(float((table["shown"] == "done").mean()))


def run_grid(table: pd.DataFrame, tested: Mapping[tuple[str, int], int]) -> pd.DataFrame:
    """The filters, the grid and the chosen runs; the rows of those that are chosen."""
    names = set(table["run"].tolist())
    selected = [name for name in st.session_state.get(CHOSEN, []) if name in names]  # another study may be open by now
    first, second, third = st.columns([2, 2, 1])
    text = first.text_input("Subjects", placeholder="All; or 3-7, 12", key=f"{PAGE}_subjects")
    there = [state for state in theme.STATE_COLOURS if state in table["shown"].unique()]
    states = second.multiselect(
        "States", list(theme.STATE_COLOURS), placeholder=f"All; there are {', '.join(there)}", key=f"{PAGE}_states"
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
        st.info("No row of the grid fits these filters.")
    st.caption(
        "Accuracies are of test trials. Click a cell for its curves and log; Ctrl-click, Shift-click or tap for more; "
        "a stage's or a subject's name for all of its runs shown."
    )
    return table[table["run"].isin(selected)].set_index("run", drop=False).loc[selected]


def run_buttons(study: StudyDir, table: pd.DataFrame, chosen: pd.DataFrame) -> None:
    """Cancel and retry: the chosen runs, all of a subject or a stage, or everything."""
    subjects = list(dict.fromkeys(chosen["subject"]))
    stages = [stage for stage in theme.LABELS if stage in table["stage"].unique()]
    scopes = {"chosen": f"The chosen runs ({len(chosen)})", "all": "Every run of the study"}
    scopes |= {f"stage {s}": f"Every run of {theme.label(s)}" for s in stages}
    scopes |= {f"subject {s}": f"Every run of subject {s}" for s in subjects if s}
    first, second, third, fourth = st.columns([2, 1, 1, 1], vertical_alignment="bottom")
    # A new widget for each choice, so that buttons act on what was chosen last until something else is asked for.
    key = f"{PAGE}_scope_{st.session_state.get(TURN, 0)}"
    scope = first.selectbox("Cancel or retry", list(scopes), format_func=scopes.get, key=key)
    kind, _, value = str(scope).partition(" ")
    meant = {"chosen": chosen, "all": table}.get(kind, table[table[kind] == value] if value else table)
    names = None if kind == "all" else meant["run"].tolist()
    again = meant["shown"].isin(["failed", "damaged", "cancelled"]) | ((meant["shown"] == "blocked") & meant["ended"])
    second.button(
        "Cancel",
        help="Stops runs and takes waiting ones out of the queue. Retry goes on after the last finished epoch.",
        on_click=actions.cancel,
        args=(study, names),
        disabled=not (~meant["ended"] | (meant["shown"] == "blocked")).any(),
        width="stretch",
        key=f"{PAGE}_cancel",
    )
    third.button(
        "Retry",
        help="Queues failed, cancelled and blocked runs again; those whose files are damaged start over.",
        on_click=actions.retry,
        args=(study, names),
        disabled=not again.any(),
        width="stretch",
        key=f"{PAGE}_retry",
    )
    with fourth.popover("More", width="stretch", key=f"{PAGE}_more"):
        st.button("Choose none", on_click=_choose, args=([],), disabled=chosen.empty, key=f"{PAGE}_none")
        st.number_input(
            "Priority",
            help="Waiting runs go by priority, the highest first; usually it is 0.",
            value=0,
            step=1,
            key=f"{PAGE}_priority",
        )
        st.button(
            "Set the priority of waiting runs",
            on_click=actions.prioritise,
            args=(study, names, f"{PAGE}_priority"),
            disabled=not meant["state"].isin(["queued", "blocked"]).any(),
            key=f"{PAGE}_prioritise",
        )


def _choose(names: list[str]) -> None:
    st.session_state[CHOSEN] = names
    st.session_state[TURN] = st.session_state.get(TURN, 0) + 1
