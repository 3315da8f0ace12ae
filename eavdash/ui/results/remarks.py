"""Remarks on a study's accuracy: the gain from choosing the epoch on test trials, and leakage probes.

In: a study. Out: sentences, and a button that starts missing probes in the background.
"""

from __future__ import annotations

import time

import streamlit as st

from eavdash.store import StudyDir
from eavdash.studies import probing
from eavdash.text import markdown
from eavdash.ui import actions, cached_results, widgets

PAGE = "results_subjects"
PROBE_LABELS = {
    "": "starting",
    "shuffled": "training an encoder on shuffled labels",
    "time": "predicting the label from a trial's position in the session",
    "identity": "predicting the subject of a window",
}
HELP = (
    "Trains an encoder on shuffled labels and a classifier of subjects. Takes a few minutes on this machine and "
    "continues when this page is closed."
)


def show_remarks(study: StudyDir) -> None:
    """Show the remarks and the state of the study's probing."""
    widgets.show_message()
    remarks, missing = cached_results.remarks(study)
    if remarks:
        st.markdown("**About these accuracies**")
        widgets.bullet_list(remarks)
    now = probing.probing_state(study)
    if now.running:
        _watch_probing(study, tuple(missing))
    elif missing:
        if now.reason:
            st.error(markdown(f"Probing failed: {now.reason}"))
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Not probed yet: {', '.join(missing)}.", width="content")
            st.button(
                "Probe again" if now.reason else "Probe now",
                on_click=actions.probe,
                args=(study, missing),
                help=HELP,
                key=f"{PAGE}_probe",
            )


@st.fragment(run_every=2)
def _watch_probing(study: StudyDir, missing: tuple[str, ...]) -> None:
    """Show the current probe; rerun the page when there is a new result or the probing has ended."""
    now = probing.probing_state(study)
    if not now.running or tuple(cached_results.remarks(study)[1]) != missing:
        st.rerun()
    since = f", for {max(0, time.time() - now.started):.0f} s" if now.started else ""
    st.caption(f"Probing{since}: {PROBE_LABELS.get(now.probe, now.probe)} … This continues when the page is closed.")
