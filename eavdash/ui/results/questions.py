"""The declared question and the comparisons beside it, on the page of statistics."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from eavdash.config.choices import ACROSS
from eavdash.config.convert import recorded_config
from eavdash.report.figures import comparisons
from eavdash.report.figures.answer import metric_name
from eavdash.results.metrics import METRICS
from eavdash.store import StudyDir
from eavdash.store.documents import StudyDocument
from eavdash.text import markdown, plural
from eavdash.ui import cached_results, widgets
from eavdash.ui.results import exports


def show(study: StudyDir, document: StudyDocument, scores: pd.DataFrame, metric: str = "accuracy") -> None:
    """Show the answer first, then its notes, the paired lines, and the secondary comparisons."""
    question = cached_results.question(study, metric)
    if question.primary is None and not question.why_not:
        st.info("A comparison needs finished runs of fusion and of at least one single modality.")
    elif question.why_not:
        st.warning(markdown(question.why_not))
    else:
        st.success(markdown(comparisons.verdict(question)))
    widgets.bullet_list(comparisons.question_notes(question, recorded_config(document).protocol.name in ACROSS))
    if question.primary is not None:
        st.dataframe(comparisons.primary_table(question), hide_index=True, key="results_statistics_primary")
        exports.comparisons_menu(study, [question.primary], "results_statistics_primary", "question")
        widgets.chart(
            comparisons.paired_lines(scores, "fusion", question.primary.b, metric),
            "results_statistics_paired",
            f"One line per subject from the {METRICS[metric]} of {question.primary.b} to that of fusion.",
        )
        st.caption(f"{metric_name(metric)} per trial, n = {plural(question.primary.subjects, 'subject')}.")
    for name, title in (("fusion", "Fusion and what stands beside it"), ("", "Encoders and their baselines")):
        rows = [c for c in question.secondary if (c.a == "fusion") == bool(name)]
        if rows:
            st.subheader(title, anchor=False)
            if not name:
                widgets.bullet_list(cached_results.behind(study, metric))
            st.dataframe(
                comparisons.comparison_table(rows, metric),
                hide_index=True,
                key=f"results_statistics_{name or 'encoders'}",
            )
            exports.comparisons_menu(study, rows, f"results_statistics_{name or 'encoders'}", name or "encoders")
    if question.secondary:
        st.caption(comparisons.METHOD_NOTE)
