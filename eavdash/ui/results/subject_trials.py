"""The test trials of one subject on the page of subjects; a selected one links to the page One trial."""

from __future__ import annotations

import streamlit as st

from eavdash.report import theme
from eavdash.report.figures import results as figures
from eavdash.store import StudyDir
from eavdash.text import markdown
from eavdash.ui import cached_results, widgets


def show(study: StudyDir, subject: str) -> None:
    """Show the subject's test trials, with the prediction of each stage."""
    shown = figures.trial_table(cached_results.trials(study), subject)
    selected = widgets.selected_rows(
        st.dataframe(
            shown, hide_index=True, on_select="rerun", selection_mode="single-row", key="results_subjects_trials"
        )
    )
    st.caption(f"{len(shown)} rows of test trials; predictions that differ from the label are wrong. {theme.SHARES}")
    if selected and selected[0] < len(shown):
        trial = shown["trial"].iloc[selected[0]]
        st.page_link(
            widgets.EXPLAIN,
            label=f"Explain trial {markdown(trial)}",
            icon=":material/arrow_forward:",
            query_params={"study": study.name, "subject": subject, "trial": trial},
        )
    else:
        st.caption("Select a row to explain that trial.")
