"""The parts of the page of subjects: the answer with the means, the figure, and the trials behind a click.

In: a study's cached results and the states of its runs. A click on a bar, point or tile selects a subject, a click on a
hole opens its run on the monitor.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from eavdash.config.convert import recorded_config
from eavdash.report import theme
from eavdash.report.figures import answer, subject_views
from eavdash.report.figures import results as figures
from eavdash.report.figures.subjects import MOST_SUBJECTS, subject_bars
from eavdash.report.figures.training import subject_matches
from eavdash.results import marks, paper
from eavdash.results import subjects as people
from eavdash.results.comparisons import Question
from eavdash.results.metrics import METRICS
from eavdash.store import StudyDir
from eavdash.store.documents import StudyDocument
from eavdash.text import markdown, plural
from eavdash.ui import cached_results, cached_runs, widgets
from eavdash.ui.results import baselines_panel
from eavdash.ui.results.choices import PAGE, Choices
from eavdash.ui.training.monitor_page import CHOSEN

OPEN = f"{PAGE}_open"  # a run that was clicked, in the session's state


@dataclass(frozen=True)
class Shown:
    """The content of the page: scores of the level, what is missing, the question, and the subjects in their order."""

    scores: pd.DataFrame
    holes: pd.DataFrame
    question: Question
    against: str
    order: list[str]


def against(asked: Question, stages: list[str]) -> str:
    """Return the modality over which fusion gains; empty without any."""
    return people.reference(stages, asked.primary.b if asked.primary else "")


def holes(study: StudyDir) -> pd.DataFrame:
    """Return which subjects lack a stage, or have a part of it (``results.subjects.holes``)."""
    found = cached_results.of(study)
    tested = cached_results.test_trial_counts(study)
    return people.holes(cached_runs.snapshot(study), tested, found.scores("trial", False), found.scored.problems)


def open_clicked_run() -> None:
    """Open the run whose hole was clicked on the page of runs."""
    if run := st.session_state.pop(OPEN, ""):
        st.session_state[CHOSEN] = [run]
        widgets.open_page(widgets.MONITOR)


def order(scores: pd.DataFrame, missing: pd.DataFrame, chosen: Choices, versus: str) -> list[str]:
    """Return the subjects that match the filter, in the order of the page; also those without any score."""
    names = {*scores["subject"], *missing["subject"]}
    some = [name for name in names if subject_matches(name, chosen.filter)]
    return people.order(scores, chosen.sort, chosen.metric, some, versus)


def show_means(study: StudyDir, document: StudyDocument, chosen: Choices, shown: Shown) -> None:
    """Show the answer, and each stage's mean with its interval, protocol and marks."""
    trial = cached_results.of(study).scores("trial", False)
    st.markdown(f"**{markdown(answer.answer(people.standings(trial, chosen.metric), shown.question))}**")
    found = people.standings(shown.scores, chosen.metric)
    for column, standing in zip(st.columns(max(4, len(found))), found, strict=False):
        column.metric(theme.label(standing.stage), theme.percent(standing.mean, 1), border=True)
        column.caption(f"{answer.interval(standing)}, n = {standing.n}")
    config = recorded_config(document)
    texts = [mark.text for mark in marks.study_marks(document, study)]
    said = f"{answer.metric_name(chosen.metric)} per {chosen.level}, mean over subjects; intervals: Student's. "
    said += f"Protocol: {config.protocol.name}. Marks: {', '.join(texts) or 'none'}."
    st.caption(markdown(said))
    if sentence := people.holes_sentence(shown.holes, shown.scores):
        st.caption(markdown(sentence))


def show_figure(study: StudyDir, document: StudyDocument, chosen: Choices, shown: Shown) -> str | None:
    """Show the chosen view with its caption; return the subject of a click."""
    results = cached_results.of(study)
    name, scores = METRICS[chosen.metric], shown.scores[shown.scores["subject"].isin(shown.order)]
    every = shown.scores["subject"].nunique()
    clicked: str | None = None
    if not shown.order:
        st.info("No subject matches this filter.")
        return None
    if chosen.view == "slopes" and len(scores):
        stages = list(dict.fromkeys(scores["stage"]))
        pair = ("fusion", shown.against) if {"fusion", shown.against} <= {*stages} else (stages[-1], stages[0])
        clicked = _chart(
            subject_views.slopes(scores, chosen.metric, *pair),
            "slopes",
            f"A line per subject from the {name} of {pair[1]} to that of {pair[0]}.",
        )
        st.caption("A line per subject that has both stages. Click a point for its trials.")
    elif chosen.view == "tiles":
        clicked = _chart(
            subject_views.tiles(scores, chosen.metric, shown.order, shown.holes),
            "tiles",
            f"Tiles of {name} per subject and stage; what is missing is hatched.",
        )
        st.caption("Hatched: no result; hover for the state, click to open the run. Click a tile for its trials.")
    else:
        if len(shown.order) > MOST_SUBJECTS:
            alt = f"Points of {name} per subject and stage, with means and 95 % intervals."
            clicked = _chart(subject_views.strips(scores, chosen.metric), "strips", alt)
            st.caption(
                f"A point per subject ({len(shown.order)}); diamonds: means with 95 % intervals over subjects. Bars "
                f"are drawn for up to {MOST_SUBJECTS} subjects: name some above."
            )
        elif every > MOST_SUBJECTS:
            alt = f"Points of {name} per subject and stage of the whole study."
            clicked = _chart(subject_views.strips(shown.scores, chosen.metric), "strips", alt)
            st.caption(f"All {plural(every, 'subject')}; the bars below are those of the filter.")
        if len(shown.order) <= MOST_SUBJECTS:
            bars = subject_bars(
                scores,
                results.independent(False),
                len(document.classes),
                results.majority(),
                paper.table1() if chosen.paper else None,
                shown.order,
                cached_results.time_only(study),
                chosen.corrected,
                chosen.metric,
                shown.holes[shown.holes["subject"].isin(shown.order)],
                results.spread(chosen.level, chosen.metric),
                chosen.view == "dots",
            )
            alt = f"{name.capitalize()} per subject and stage, with the average; what is missing is hatched."
            clicked = _chart(bars, "chart", alt) or clicked
            note = figures.legend_note(chosen.level, results.scores("trial", False), chosen.metric)
            hatched = " Hatched: not all runs are done; click to open the run." if len(shown.holes) else ""
            widgets.note(note + hatched, 2)
    if chosen.baselines:
        every_score = results.scores(chosen.level, True)
        baselines_panel.show(every_score, results.independent(True), shown.order, chosen.metric)
    return clicked


def _chart(figure: go.Figure, name: str, alt: str) -> str | None:
    """Show a figure of the page; return the subject of a selected point."""
    key = f"{PAGE}_{name}"
    event = widgets.chart(figure, key, alt, on_select=lambda: _clicked(key), selection_mode="points")
    points = widgets.selected_points(event)
    return None if figures.clicked_run(points) else figures.clicked_subject(points)


def _clicked(key: str) -> None:
    points = widgets.selected_points(st.session_state.get(key))
    if run := figures.clicked_run(points):
        st.session_state[OPEN] = run
    else:
        widgets.select_clicked_subject(key, f"{PAGE}_subject")
