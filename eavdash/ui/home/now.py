"""Runs and tasks of all studies that run now or have failed; polled while the home page is open.

In: the checkpoints folder. Out: a line with a bar per study that is not finished, and a line with the reason per study
with failures, each with the way to its runs.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from eavdash.jobs import estimates
from eavdash.report.figures import training as figures
from eavdash.store import StudyDir
from eavdash.text import markdown, plural
from eavdash.ui import actions, cached_runs, tasks, widgets
from eavdash.ui.fragment import fragment
from eavdash.ui.home.doors import PAGE, demo_runs
from eavdash.ui.training.monitor_page import CHOSEN

WRONG = ("failed", "damaged", "not responding")
#: Studies shown in each list, and different reasons shown of one.
STUDIES, REASONS = 5, 3


def show(root: Path, every: pd.DataFrame) -> None:
    """Show both lists of the studies ``every`` (``studies.overview``); a study that is archived is in none."""
    demo = demo_runs(root) if len(every) else False  # without a study the door shows it
    _live(root, _finished(every), demo)


@fragment(run_every=3)
def _live(root: Path, finished: tuple[int, int], demo: bool) -> None:
    """Show the lists as they are now; draw the whole page again when there is a new study or result."""
    every = cached_runs.overview(root)
    if _finished(every) != finished:
        st.rerun()
    every = every[~every["archived"]].sort_values("changed", ascending=False)
    if len(every):
        _running(root, every, demo)
        _failed(root, every)
    tasks.overview(root, PAGE)


def _finished(every: pd.DataFrame) -> tuple[int, int]:
    return len(every), int(every["done"].sum())


def _running(root: Path, every: pd.DataFrame, demo: bool) -> None:
    st.subheader("Now", anchor=False)
    names = every.loc[every["open"] > 0, "study"].tolist()
    for name in names[:STUDIES]:
        study = StudyDir(root / name)
        states = cached_runs.snapshot(study)
        left = figures.study_time_left(states, estimates.study_time_left(states, states["left"]))
        paused = " It is paused." if cached_runs.paused(study) else ""
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{markdown(name)}**, {figures.tally(states)}.{paused} {left}", width="stretch")
            open_button("Watch its runs", study, widgets.MONITOR, f"{PAGE}_watch_{name}")
        st.progress(float((states["shown"] == "done").mean()) if len(states) else 0.0)
    if len(names) > STUDIES:
        st.caption(f"And {plural(len(names) - STUDIES, 'other study', 'other studies')}.")
    if not names and not demo:
        st.caption("Nothing is running.")
    elif problem := cached_runs.scheduler_problem(root):
        st.error(markdown(problem))


def _failed(root: Path, every: pd.DataFrame) -> None:
    rows = [row for row in every.to_dict("records") if row["problem"] or any(row["states"].get(s) for s in WRONG)]
    if not rows:
        return
    st.subheader("Needs attention", anchor=False)
    for row in rows[:STUDIES]:
        name, study = str(row["study"]), StudyDir(root / str(row["study"]))
        if row["problem"]:
            st.error(markdown(f"{name}: {row['problem']}"))
            continue
        states = cached_runs.snapshot(study)
        wrong = states[states["shown"].isin(WRONG)]
        if wrong.empty:
            continue
        with st.container(horizontal=True, vertical_alignment="center"):
            st.error(f"**{markdown(name)}**: {len(wrong)} of {plural(len(states), 'run')} failed.", width="stretch")
            open_button("See why", study, widgets.MONITOR, f"{PAGE}_failed_{name}", wrong["run"].tolist()[:1])
        reasons = wrong.assign(reason=wrong["reason"].replace("", "no reason was recorded")).drop_duplicates("reason")
        shown = [f"{run}: {reason}" for run, reason in zip(reasons["run"], reasons["reason"], strict=True)]
        more = [f"and {len(shown) - REASONS} other reasons"] if len(shown) > REASONS else []
        widgets.bullet_list([*shown[:REASONS], *more])
    if len(rows) > STUDIES:
        st.caption(f"And {plural(len(rows) - STUDIES, 'other study', 'other studies')}.")


def open_button(
    label: str, study: StudyDir, page: str, key: str, runs: list[str] | None = None, **state: object
) -> None:
    """Show a button that makes a study the current one and opens a page; ``state``: of the session, for that page."""
    if st.button(label, on_click=_select, args=(study, runs, state), key=key):
        widgets.open_page(page)


def _select(study: StudyDir, runs: list[str] | None, state: dict[str, object]) -> None:
    actions.open_study(study)
    if runs is not None:
        st.session_state[CHOSEN] = runs
    for name, value in state.items():
        st.session_state[name] = value
