"""The declared question and the comparisons beside it, on the page of statistics."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from eavdash.config.choices import ACROSS
from eavdash.config.convert import recorded_config
from eavdash.report.figures import comparisons, inference
from eavdash.report.figures.answer import metric_name
from eavdash.results import across_folds
from eavdash.results.comparisons import Question
from eavdash.results.metrics import METRICS
from eavdash.store import StudyDir
from eavdash.store.documents import StudyDocument
from eavdash.text import markdown, plural
from eavdash.ui import cached_results, cached_statistics, widgets
from eavdash.ui.results import exports

PAGE = "results_statistics"


def show(study: StudyDir, document: StudyDocument, metric: str = "accuracy") -> None:
    """Show the answer first, then its numbers, what it must be compared with, and the secondary comparisons."""
    question = cached_statistics.question(study, metric)
    if (c := question.primary) is not None and c.subjects:  # one interval of it on the whole page
        found = cached_statistics.inferred(study, metric, c.b)
        question = replace(question, primary=replace(c, low=found.low, high=found.high))
    if question.primary is None and not question.why_not:
        st.info("A comparison needs finished runs of fusion and of at least one single modality.")
    elif question.why_not:
        st.warning(markdown(question.why_not))
    else:
        st.success(markdown(comparisons.verdict(question)))
    if question.primary is not None and question.primary.subjects:
        _declared(study, document, question)
    across = recorded_config(document).protocol.name in ACROSS
    notes = comparisons.question_notes(question, across)
    if across and question.primary is not None and not question.why_not:
        with widgets.show_errors():
            notes.append(across_folds.sentence(cached_statistics.fold_test(study, question.primary.b, metric)))
    widgets.bullet_list(notes)
    for name, title in (("fusion", "Fusion and what stands beside it"), ("", "Encoders and their baselines")):
        rows = [c for c in question.secondary if (c.a == "fusion") == bool(name)]
        if not rows:
            continue
        st.subheader(title, anchor=False)
        if name:
            _differences(study, question)
        else:
            widgets.bullet_list(cached_results.behind(study, metric))
        key = name or "encoders"
        st.dataframe(comparisons.comparison_table(rows, metric), hide_index=True, key=f"{PAGE}_{key}")
        exports.comparisons_menu(study, rows, f"{PAGE}_{key}", key)
    if question.secondary:
        widgets.note(comparisons.method_note("this page's tables"))


def _declared(study: StudyDir, document: StudyDocument, question: Question) -> None:
    c = question.primary
    assert c is not None  # the caller has checked
    found = cached_statistics.inferred(study, question.metric, c.b)
    st.dataframe(inference.facts(question, found), hide_index=True, key=f"{PAGE}_primary")
    exports.comparisons_menu(study, [c], f"{PAGE}_primary", "question")
    st.markdown("**For the paper**")
    st.code(inference.printed(question, found), language=None, wrap_lines=True)
    widgets.note(f"{plural(c.trials, 'common trial')}; {metric_name(question.metric)} per trial. {inference.HOW}")
    left, right = st.columns(2)
    chance = 1 / max(1, len(document.classes))
    people = cached_statistics.compared(study, question.metric, ((c.a, c.b),)).people[f"{c.a}/{c.b}"]
    with left:
        widgets.chart(
            inference.scatter(people, c.a, c.b, question.metric, chance),
            f"{PAGE}_scatter",
            f"A dot per subject: {METRICS[question.metric]} of fusion against that of {c.b}.",
        )
        st.caption("A dot per subject; above the diagonal fusion is better. Dashed: chance.")
    with right:
        st.markdown("**Beside it**")
        time_only = cached_results.time_only(study)
        table = inference.references(chance, cached_statistics.majority(study), time_only)
        st.dataframe(table, hide_index=True, key=f"{PAGE}_references")
        said, missing = cached_results.probed(study)
        widgets.bullet_list([*said, *([f"Not probed yet: {', '.join(missing)}."] if missing else [])])


def _differences(study: StudyDir, question: Question) -> None:
    rows = [c for c in (question.primary, *question.secondary) if c is not None and c.a == "fusion" and c.subjects]
    if not rows:
        return
    found = cached_statistics.compared(study, question.metric, cached_statistics.keyed(rows))
    widgets.chart(
        inference.paired_differences(rows, found.differences),
        f"{PAGE}_differences",
        "Fusion minus each other stage: a dot per subject, the mean difference and its 95 % interval.",
    )
    st.caption(
        "A dot per subject, on common trials; the mean with the 95 % interval of the tables; right of zero fusion is "
        "better; grey band: ±1 point. The declared comparison is first and not corrected; the others by Holm's method."
    )
