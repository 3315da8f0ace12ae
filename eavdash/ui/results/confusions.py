"""Confusion matrix, scores by class and reliability of one stage, on the page of statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from eavdash.report import theme
from eavdash.report.figures import classes
from eavdash.report.figures import results as figures
from eavdash.results import per_class, tables
from eavdash.results.learning import QUANTITIES
from eavdash.store import StudyDir
from eavdash.text import markdown, natural_order, plural
from eavdash.ui import address, cached_results, cached_statistics, choosing, widgets
from eavdash.ui.draft import kept

PAGE = "results_statistics"


def show(study: StudyDir) -> None:
    """Show the stage and subject to choose, then what was confused with what; a click on a cell lists its trials."""
    trials = cached_results.trials(study)
    stages, subjects = list(dict.fromkeys(trials["stage"])), natural_order(trials["subject"])
    address.valid(f"{PAGE}_subject", subjects)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        stage = _choose_stage(stages)
        subject = st.selectbox(
            "Subject", subjects, index=None, placeholder="All subjects together", width=260, **kept(PAGE, "subject")
        )
    rows = trials[(trials["stage"] == stage) & (trials["subject"].isin([subject] if subject else subjects))]
    if rows.empty:
        st.info(f"No finished run of {theme.label(stage)} for this subject.")
        return
    left, right = st.columns([3, 2])
    with left:
        st.subheader("Confusion matrix", anchor=False)
        counts = tables.confusion(rows)
        event = widgets.chart(
            figures.confusion_matrix(counts, stage),
            f"{PAGE}_confusion",
            f"Confusion matrix of {stage}.",
            on_select="rerun",
            selection_mode="points",
        )
        st.caption(
            f"Share of each label's test trials and their number; n = {int(counts.to_numpy().sum())} decisions"
            + (" (one per seed)." if rows["seed"].nunique() > 1 else ".")
            + " Click a cell to see its trials."
        )
    with right:
        st.subheader("By class", anchor=False)
        st.dataframe(classes.class_table(per_class.class_scores(rows)), hide_index=True, key=f"{PAGE}_classes")
        st.caption("Seeds share a trial's weight; n counts distinct trials.")
    _cell(study, rows, widgets.selected_points(event))
    st.subheader("Is its confidence right?", anchor=False)
    found = per_class.reliability(rows)
    widgets.chart(
        classes.reliability_diagram(found, stage), f"{PAGE}_reliability", f"Accuracy of {stage} by its confidence."
    )
    st.caption(
        f"Expected calibration error {theme.percent(found.ece, 1)} in {per_class.BINS} bins of equal width, "
        f"n = {plural(round(float(found.table['n'].sum())), 'trial')}. On the dashed line a stage is as often right "
        "as it says; below it is too sure. The error of few trials is biased upwards."
    )


def show_curves(study: StudyDir) -> None:
    """Show the learning curves of a stage, one line per seed."""
    stages = list(dict.fromkeys(cached_results.trials(study)["stage"]))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        stage = _choose_stage(stages)
        quantity = choosing.segments("Curve", QUANTITIES, label=lambda q: q.replace("_", " "), **kept(PAGE, "quantity"))
    table = cached_statistics.curves(study, stage, quantity)
    if table.empty:
        st.info(f"No run of {theme.label(stage)} has recorded its {quantity.replace('_', ' ')}.")
        return
    widgets.chart(
        classes.seed_curves(table, stage, quantity), f"{PAGE}_curves", f"{quantity} of {stage} by epoch and seed."
    )
    st.caption(
        f"Mean over the runs of each seed that have reached the epoch (at most {int(table['runs'].max())}); the band "
        "is the range of the seeds. Where runs have stopped earlier, the mean is over fewer."
    )


def _choose_stage(stages: Sequence[str]) -> str:
    stage: str = choosing.segments("Stage", stages, label=theme.label, default=stages[-1], **kept(PAGE, "stage"))
    return stage


def _cell(study: StudyDir, rows: pd.DataFrame, points: Sequence[dict[str, Any]]) -> None:
    if not points:
        return
    label, predicted = str(points[0].get("y")), str(points[0].get("x"))
    mine = rows[(rows["label"] == label) & (rows["predicted"] == predicted)]
    st.markdown(f"**{markdown(label)} predicted as {markdown(predicted)}: {plural(len(mine), 'decision')}**")
    if mine.empty:
        return
    extra = [c for c in ("fold", "seed") if rows[c].nunique() > 1]
    table = mine[["subject", "trial", *extra, "confidence"]].sort_values("confidence", ascending=False)
    trial_links(study, table.assign(confidence=(100 * table["confidence"]).round(0)), f"{PAGE}_cell")


def trial_links(study: StudyDir, table: pd.DataFrame, key: str) -> None:
    """Show a table of trials (subject, trial, …); a selected row is linked to the page One trial."""
    selected = widgets.selected_rows(
        st.dataframe(table, hide_index=True, on_select="rerun", selection_mode="single-row", key=key)
    )
    if not selected or selected[0] >= len(table):
        st.caption("Select a row to open that trial.")
        return
    subject, trial = (str(table[name].iloc[selected[0]]) for name in ("subject", "trial"))
    st.page_link(
        widgets.EXPLAIN,
        label=f"Explain trial {markdown(trial)} of subject {markdown(subject)}",
        icon=":material/arrow_forward:",
        query_params={"study": study.name, "subject": subject, "trial": trial},
    )
