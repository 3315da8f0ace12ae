"""Differences between modalities, on the page of statistics: by label, by expressiveness, trial by trial."""

from __future__ import annotations

import streamlit as st

from eavdash.errors import IntegrityError
from eavdash.report.figures import classes
from eavdash.report.figures import expressiveness as figures
from eavdash.results import expressiveness
from eavdash.store import StudyDir
from eavdash.store.documents import StudyDocument
from eavdash.text import markdown
from eavdash.ui import cached_statistics, choosing, tasks, widgets
from eavdash.ui.draft import kept
from eavdash.ui.explain.choose_trial import label_word
from eavdash.ui.results import modalities

PAGE = "results_statistics"
_NOTE = (
    "Rank correlations (Spearman) between a measure of the recording and its modality being right. Over subjects: of "
    "their means, with a permutation p, not corrected for the number of measures. Within subjects: over each subject's "
    "trials, then the mean over subjects with a 95 % bootstrap interval. A correlation is no cause: the labels "
    "differ in both, so compare within a label too."
)


def show(study: StudyDir, document: StudyDocument) -> None:
    """Show accuracy by label and modality, then expressiveness against it, then who was right alone."""
    table = cached_statistics.recall_by_class(study)
    st.subheader(f"By {label_word(document.classes)}", anchor=False)
    widgets.chart(
        classes.by_label(table, 1 / max(1, len(document.classes))),
        f"{PAGE}_emotions",
        "Accuracy by label and stage, with 95 % intervals over subjects.",
    )
    st.caption(
        "Mean over subjects of the accuracy on each label's test trials, with Student's 95 % interval over subjects; "
        "seeds share a trial's weight. Dashed: chance."
    )
    st.subheader("How expressive was each modality?", anchor=False)
    _expressive(study)
    modalities.show_alone(study)


def _expressive(study: StudyDir) -> None:
    command = ("expressiveness", study.name)
    now = tasks.latest(study.path.parent, study.name, command)
    try:
        found = cached_statistics.expressive(study)
    except IntegrityError as error:
        widgets.show_error(error, PAGE)
        found = None
    running = now is not None and not now.ended
    if found is None or running:
        if now is not None:
            tasks.panel(study.path.parent, study.name, command, key=f"{PAGE}_expressing")
        if not running:
            st.info("Not measured yet: how much the face moved, the voice varied and the EEG was active in each trial.")
            st.button(
                "Measure now",
                on_click=tasks.start,
                args=(command, "Expressiveness", study.name),
                help="Reads the recordings of the test trials once, in the background.",
                key=f"{PAGE}_express",
            )
        if found is None:
            return
    if found.problems:
        st.warning(markdown(f"{len(found.problems)} recordings could not be measured; the first: {found.problems[0]}"))
    if not found.rows:
        st.info("No recording of this study can be measured: its modalities are tables of features.")
        return
    st.dataframe(figures.relation_table(found.relations), hide_index=True, key=f"{PAGE}_relations")
    st.caption(_NOTE)
    measure = choosing.segments("Measure", [*found.rows], label=figures.measure_name, **kept(PAGE, "measure"))
    cells = expressiveness.cells(found.rows[measure])
    left, right = st.columns([3, 2])
    with left:
        name = figures.measure_name(measure)
        widgets.chart(figures.against_accuracy(cells, measure), f"{PAGE}_expressive", f"{name} against accuracy.")
        st.caption("A dot per subject and label.")
    with right:
        st.dataframe(figures.by_label(cells), hide_index=True, key=f"{PAGE}_by_label")
        st.caption("Mean over subjects ± standard deviation.")
