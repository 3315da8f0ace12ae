"""Differences between kinds of trials, on the page of statistics."""

from __future__ import annotations

import streamlit as st

from eavdash.errors import EavdashError
from eavdash.report.figures import results as figures
from eavdash.results import columns
from eavdash.store import StudyDir
from eavdash.text import markdown
from eavdash.ui import cached_results, choosing, widgets

PAGE = "results_statistics"


def show(study: StudyDir) -> None:
    """Show the scores split by a column of the trial table, if there is one."""
    try:
        splittable = columns.columns(study)
    except EavdashError as error:
        st.error(markdown(error))
        return
    if not splittable:
        return
    st.subheader("Differences between kinds of trials", anchor=False)
    column = choosing.choose(PAGE, st, "Split by", splittable, "split", index=None, placeholder="A column")
    if column:
        with widgets.show_errors():
            table = figures.column_table(cached_results.scores_by_column(study, column))
        st.dataframe(table, hide_index=True, key=f"{PAGE}_kinds")
    st.caption("Accuracy per trial: mean ± standard deviation over subjects, and the total number of trials.")
