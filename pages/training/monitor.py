"""Every run of the study, filling in live: states, progress, accuracy; one run's curves, log and reason of failure."""

import streamlit as st

from eavdash.ui import actions, cache, parts, runs
from eavdash.ui.figures import training as figures

study, document = parts.study_page("Runs", "What is running, what is done, and what went wrong?")


@st.fragment(run_every=2)
def live() -> None:
    """The grid and the chosen run; looked at again every two seconds."""
    parts.message()
    snapshot = cache.snapshot(study)
    if snapshot.empty:
        st.info("This study has no runs yet.")
        st.page_link(parts.LAUNCH, label="Set up a study")
        return
    st.markdown(f"**{figures.tally(snapshot)}**")
    done = int((snapshot["state"] == "done").sum())
    st.progress(done / len(snapshot))
    tested = cache.tested(study)
    grid, names = figures.grid(snapshot, tested)
    st.dataframe(
        figures.styled(grid),
        hide_index=True,
        on_select=lambda: parts.cell_sets("training_monitor_grid", "training_monitor_run", names),
        selection_mode="single-cell",
        key="training_monitor_grid",
    )
    st.caption("Accuracies are of test trials. Click a cell, or choose a run, to see its curves and its log.")
    whole = st.columns(2)
    ended = snapshot["ended"].all()
    whole[0].button(
        "Cancel all",
        on_click=actions.cancel,
        args=(study,),
        disabled=ended,
        width="stretch",
        key="training_monitor_cancel_all",
    )
    again = snapshot["state"].isin(["failed", "cancelled"]).any()
    whole[1].button(
        "Retry failed and cancelled",
        on_click=actions.retry,
        args=(study,),
        disabled=not again,
        width="stretch",
        key="training_monitor_retry_all",
    )
    name = st.selectbox("Run", snapshot["run"], index=None, placeholder="Choose a run", key="training_monitor_run")
    if name:
        runs.details(study, snapshot[snapshot["run"] == name].iloc[0].to_dict(), tested)


live()
