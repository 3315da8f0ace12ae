"""Remarks on a study's accuracy: the gain from choosing the epoch on test trials, and leakage probes.

In: a study. Out: sentences, and a button that starts missing probes in the background.
"""

from __future__ import annotations

import streamlit as st

from eavdash.store import StudyDir
from eavdash.ui import cached_results, tasks, widgets

PAGE = "results_subjects"
HELP = (
    "Trains an encoder on shuffled labels and a classifier of subjects. Takes a few minutes on this machine and "
    "continues when this page is closed."
)


def show_remarks(study: StudyDir, metric: str = "accuracy") -> None:
    """Show the remarks, in a metric, and the probes that are missing or running."""
    widgets.show_message()
    remarks, missing = cached_results.remarks(study, metric)
    if remarks:
        st.markdown("**About these accuracies**")
        widgets.bullet_list(remarks)
    command = ("probe", study.name)
    now = tasks.latest(study.path.parent, study.name, command)
    if missing or (now is not None and not now.ended):
        now = tasks.panel(study.path.parent, study.name, command, key=f"{PAGE}_probing")
    if missing and (now is None or now.ended):
        names = ",".join(missing)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Not probed yet: {', '.join(missing)}.", width="content")
            st.button(
                "Probe again" if now is not None and now.state == "failed" else "Probe now",
                on_click=tasks.start,
                args=((*command, "--probes", names), "Leakage probes", study.name),
                help=HELP,
                key=f"{PAGE}_probe",
            )
