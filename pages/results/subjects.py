"""The start page: accuracy per subject and stage with chance and the paper; a click shows a subject's trials."""

import streamlit as st

from eavdash.report.figures import results as figures
from eavdash.report.figures.subjects import subject_bars
from eavdash.results import comparisons, left_out, paper, tables
from eavdash.text import csv_for_people, markdown, natural_order
from eavdash.ui import cached_results, widgets
from eavdash.ui.results import baselines_panel, remarks, subject_trials

study, document = widgets.study_page(
    "Accuracy per subject", "How well is each subject's emotion recognised, and from which modality?"
)
trial_scores = cached_results.scores(study, "trial", False)
widgets.require_results(study, trial_scores)
classes, eav = document.classes, document.dataset.kind == "eav"

left, middle, right = st.columns([2, 1.2, 2], vertical_alignment="bottom")
level = widgets.segments(
    "Scored per", tables.LEVELS, "results_subjects_level", default="trial", help=widgets.LEVEL_HELP, container=left
)
sort = right.selectbox("Sort by", ["subject", *trial_scores["stage"].unique()], key="results_subjects_sort")
with middle:
    baselines = st.toggle("Baselines", key="results_subjects_baselines")
    corrected = st.toggle("Corrected chance line", key="results_subjects_corrected", help=figures.CORRECTED_HELP)
    overlay = st.toggle("Paper's Table I", key="results_subjects_paper", disabled=not eav)
subjects = natural_order(trial_scores["subject"])
chosen = st.multiselect("Subjects", subjects, placeholder="All subjects", key="results_subjects_filter")

scores = cached_results.scores(study, level, baselines)
if scores.empty:
    st.info("No stage of this study scores single frames. Choose another level.")
    st.stop()
trained, published = cached_results.scores(study, level, False), paper.table1() if overlay else None
order = figures.subject_order(trial_scores, sort, chosen)
event = widgets.chart(
    subject_bars(
        trained,
        cached_results.independent(study, False),
        len(classes),
        cached_results.majority(study),
        published,
        order,
        cached_results.time_only(study),
        corrected,
    ),
    "results_subjects_chart",
    "Bars of accuracy per subject and stage, with 95 % intervals, the chance line and the average over subjects.",
    on_select=lambda: widgets.select_clicked_subject("results_subjects_chart", "results_subjects_subject"),
    selection_mode="points",
)
st.caption(figures.legend_note(level, trial_scores))
widgets.sample_size_note(trial_scores)
if note := comparisons.uneven(cached_results.trials(study)):
    st.caption(markdown(note))
remarks.show_remarks(study)
if baselines:
    baselines_panel.show(scores, cached_results.independent(study, True), order)
if overlay:
    with st.expander("Before comparing with the paper", expanded=True, key="results_subjects_caveats"):
        widgets.bullet_list([*paper.SIMULATED_CAVEAT[: document.dataset.simulated], *paper.CAVEATS])
st.dataframe(figures.score_table(scores), hide_index=True, key="results_subjects_table")
counted = csv_for_people(left_out.with_counts(scores, document.left_out))
st.download_button("Download as CSV", counted, f"{study.name}-{level}.csv", "text/csv", key="results_subjects_download")

st.subheader("Trials of one subject", anchor=False)
subject = st.selectbox(
    "Subject",
    subjects,
    index=None,
    placeholder="Click a bar, or choose a subject",
    key="results_subjects_subject",
) or figures.clicked_subject(widgets.selected_points(event))
if subject:
    subject_trials.show(study, subject)
