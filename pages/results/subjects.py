"""The main page of results: the answer, the means, scores per subject; a click leads to the trials behind it."""

import streamlit as st

from eavdash.report.figures import results as figures
from eavdash.results import paper
from eavdash.text import markdown, natural_order
from eavdash.ui import cached_results, cached_statistics, downloads, widgets
from eavdash.ui.fragment import stop
from eavdash.ui.results import choices, exports, remarks, subject_trials, subjects_page

study, document = widgets.study_page(
    "Accuracy per subject", "How well is each subject recognised, and from which modality?"
)
subjects_page.open_clicked_run()
results = cached_results.of(study)
trial_scores = results.scores("trial", False)
widgets.require_results(study, trial_scores)

stages = list(dict.fromkeys(trial_scores["stage"]))
subjects = natural_order(trial_scores["subject"])
answered = st.container()
versus = subjects_page.against(cached_statistics.question(study), stages)
chosen = choices.show(stages, subjects, versus, document.dataset.kind == "eav")
question, missing = cached_statistics.question(study, chosen.metric), subjects_page.holes(study)
scores = results.scores(chosen.level, False)
if scores.empty:
    choices.write()
    st.info("No stage of this study scores single frames. Choose another level.")
    stop()
missing = missing[missing["stage"].isin(scores["stage"])] if chosen.level == "frame" else missing
order = subjects_page.order(trial_scores, missing, chosen, versus)
shown = subjects_page.Shown(scores, missing, question, versus, order)
with answered:
    subjects_page.show_means(study, document, chosen, shown)
clicked = subjects_page.show_figure(study, document, chosen, shown)
widgets.sample_size_note(trial_scores)
if note := results.uneven():
    st.caption(markdown(note))
remarks.show_remarks(study, chosen.metric)
if chosen.paper:
    with st.expander("Before comparing with the paper", expanded=True, key="results_subjects_caveats"):
        widgets.bullet_list([*paper.SIMULATED_CAVEAT[: document.dataset.simulated], *paper.CAVEATS])
table = results.scores(chosen.level, chosen.baselines)
if order:
    st.dataframe(
        figures.score_table(table, chosen.metric, order, missing), hide_index=True, key="results_subjects_table"
    )
exports.scores_menu(study, table, document, chosen)

st.subheader("Trials of one subject", anchor=False)
subject = choices.subject(subjects)
choices.write()
if subject := subject or clicked:
    subject_trials.show(study, subject)
downloads.report_button(study, "results_subjects")
