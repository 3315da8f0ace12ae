"""The start page: accuracy per subject and stage with chance and the paper; a click shows a subject's trials."""

import streamlit as st

from eavdash.results import left_out, paper, tables
from eavdash.text import csv_for_people, markdown, natural_order
from eavdash.ui import actions, cached_results, theme, widgets
from eavdash.ui.figures import results as figures
from eavdash.ui.figures.subjects import subject_bars
from eavdash.ui.results import baselines_panel, remarks

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
    subject_bars(trained, trial_scores, len(classes), cached_results.majority(study), published, order),
    "results_subjects_chart",
    "Bars of accuracy per subject and stage, with 95 % intervals, the chance line and the average over subjects.",
    on_select=lambda: widgets.select_clicked_subject("results_subjects_chart", "results_subjects_subject"),
    selection_mode="points",
)
st.caption(figures.legend_note(level, trial_scores))
widgets.sample_size_note(trial_scores)
remarks.show_remarks(study)
if baselines:
    baselines_panel.show(scores, cached_results.scores(study, "trial", True), order)
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
    shown = figures.trial_table(cached_results.trials(study), subject)
    selected = widgets.selected_rows(
        st.dataframe(
            shown, hide_index=True, on_select="rerun", selection_mode="single-row", key="results_subjects_trials"
        )
    )
    st.caption(f"{len(shown)} rows of test trials; predictions that differ from the label are wrong. {theme.SHARES}")
    if selected and selected[0] < len(shown):
        trial = shown["trial"].iloc[selected[0]]
        if st.button(f"Explain trial {markdown(trial)}", type="primary", key="results_subjects_explain"):
            st.session_state[actions.TARGET] = (subject, trial)
            widgets.open_page(widgets.EXPLAIN)
    else:
        st.caption("Select a row to explain that trial.")
