"""The declared question, is fusion better than the best single modality; and the comparisons that stand beside it."""

import streamlit as st

from eavdash.errors import EavdashError
from eavdash.report import theme
from eavdash.report.figures import results as figures
from eavdash.report.figures.answer import metric_name
from eavdash.results import columns, tables
from eavdash.results.metrics import METRICS
from eavdash.text import markdown, natural_order
from eavdash.ui import cached_results, downloads, widgets
from eavdash.ui.results import questions

study, document = widgets.study_page("Statistics", "Is fusion better than the best single modality?")
scores = cached_results.scores(study, "trial", True)
widgets.require_results(study, scores)

metric = widgets.segments("Metric", [*METRICS], "results_statistics_metric", metric_name)
questions.show(study, document, scores, metric)

try:
    splittable = columns.columns(study)
except EavdashError as error:
    st.error(markdown(error))
    splittable = []
if splittable:
    st.subheader("Differences between kinds of trials", anchor=False)
    column = st.selectbox("Split by", splittable, index=None, placeholder="A column", key="results_statistics_split")
    if column:
        with widgets.show_errors():
            st.dataframe(
                figures.column_table(cached_results.scores_by_column(study, column)),
                hide_index=True,
                key="results_statistics_kinds",
            )
        st.caption("Accuracy per trial: mean ± standard deviation over subjects, and the total number of trials.")

st.subheader("Confusion matrix", anchor=False)
trials = cached_results.trials(study)
stages = list(dict.fromkeys(trials["stage"]))
stage = widgets.segments("Stage", stages, "results_statistics_stage", theme.label, default=stages[-1])
subjects = natural_order(trials["subject"])
subject = st.selectbox(
    "Subject", subjects, index=None, placeholder="All subjects together", key="results_statistics_subject"
)
rows = trials[(trials["stage"] == stage) & (trials["subject"].isin([subject] if subject else subjects))]
if rows.empty:
    st.info(f"No finished run of {theme.label(stage)} for this subject.")
else:
    counts = tables.confusion(rows)
    widgets.chart(
        figures.confusion_matrix(counts, stage), "results_statistics_confusion", f"Confusion matrix of {stage}."
    )
    st.caption(
        f"Share of each label's test trials and their number; n = {int(counts.to_numpy().sum())} decisions"
        + (" (one per seed)." if rows["seed"].nunique() > 1 else ".")
    )

downloads.report_button(study, "results_statistics")
