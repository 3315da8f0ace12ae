"""What must be read beside an accuracy: the points that a choice on test trials added, and leakage probes.

In: a study. Out: sentences and, for probes that nobody has made, a button that starts them in the background.
"""

from __future__ import annotations

import time

import streamlit as st

from eavdash.store import StudyDir
from eavdash.studies import probing
from eavdash.ui import actions, cached_results, widgets

PAGE = "results_subjects"
WORDS = {
    "": "starting",
    "shuffled": "an encoder learns labels that were dealt anew",
    "time": "the label is guessed from a trial's place in the session",
    "identity": "who a window is of",
}
HELP = (
    "An encoder is trained again on shuffled labels, and a classifier tells subjects apart: some minutes, on this "
    "machine. It goes on when this page is closed."
)


def show_remarks(study: StudyDir) -> None:
    """The sentences, and the state of the study's probing."""
    widgets.show_message()
    remarks, missing = cached_results.remarks(study)
    if remarks:
        st.markdown("**Beside these accuracies**")
        widgets.bullet_list(remarks)
    now = probing.probing_state(study)
    if now.running:
        _watch_probing(study, tuple(missing))
    elif missing:
        if now.reason:
            st.error(widgets.escape_markdown(f"Probing failed: {now.reason}"))
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
    """What the probing does; the page is drawn anew when it has found something, or has ended."""
    now = probing.probing_state(study)
    if not now.running or tuple(cached_results.remarks(study)[1]) != missing:
        st.rerun()
    since = f", for {max(0, time.time() - now.started):.0f} s" if now.started else ""
    st.caption(f"Probing{since}: {WORDS.get(now.probe, now.probe)} … It goes on when this page is closed.")
