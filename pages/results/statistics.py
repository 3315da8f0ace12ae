"""The declared question, is fusion better than the best single modality; and the comparisons that stand beside it."""

import streamlit as st

from eavdash.config.choices import ACROSS
from eavdash.config.convert import recorded_config
from eavdash.errors import EavdashError
from eavdash.results import columns, tables
from eavdash.text import markdown, natural_order, plural
from eavdash.ui import cached_results, theme, widgets
from eavdash.ui.figures import comparisons
from eavdash.ui.figures import results as figures

study, document = widgets.study_page("Statistics", "Is fusion better than the best single modality?")
scores = cached_results.scores(study, "trial", True)
widgets.require_results(study, scores)

question = cached_results.question(study)
if question.primary is None and not question.why_not:
    st.info("A comparison needs finished runs of fusion and of at least one single modality.")
elif question.why_not:
    st.warning(markdown(question.why_not))
else:
    st.success(markdown(comparisons.verdict(question)))
widgets.bullet_list(comparisons.question_notes(question, recorded_config(document).protocol.name in ACROSS))
if question.primary is not None:
    st.dataframe(comparisons.primary_table(question), hide_index=True, key="results_statistics_primary")
    widgets.chart(
        comparisons.paired_lines(scores, "fusion", question.primary.b),
        "results_statistics_paired",
        f"One line per subject from the accuracy of {question.primary.b} to that of fusion.",
    )
    st.caption(f"Accuracy per trial, n = {plural(question.primary.subjects, 'subject')}.")
for name, title in (("fusion", "Fusion and what stands beside it"), ("", "Encoders and their baselines")):
    rows = [c for c in question.secondary if (c.a == "fusion") == bool(name)]
    if rows:
        st.subheader(title, anchor=False)
        if not name:
            widgets.bullet_list(cached_results.behind(study))
        st.dataframe(
            comparisons.comparison_table(rows), hide_index=True, key=f"results_statistics_{name or 'encoders'}"
        )
if question.secondary:
    st.caption(comparisons.METHOD_NOTE)

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
