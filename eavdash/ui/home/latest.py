"""The latest results as small bars, and what to look at next.

In: the studies with finished runs. Out: a card per study, the newest first; and suggestions about the newest one, each
with the way there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from eavdash.errors import EavdashError
from eavdash.report import theme
from eavdash.report.figures import answer
from eavdash.report.figures.stage_bars import stage_bars, stage_bars_alt
from eavdash.results import subjects as people
from eavdash.store import StudyDir
from eavdash.text import markdown, plural
from eavdash.ui import actions, cached_data, cached_results, cached_runs, cached_statistics, dataset, widgets
from eavdash.ui.explain.choose_trial import deciding_stage
from eavdash.ui.home.doors import PAGE
from eavdash.ui.home.now import open_button
from eavdash.ui.results import choices

CARDS = 3
SURE = 0.5  # confidence from which a wrong decision is worth a look


@dataclass(frozen=True)
class Suggestion:
    """A sentence, what its button says, the page that it opens, and the session's state that it sets."""

    sentence: str
    label: str
    page: str
    state: dict[str, Any]


def show(root: Path) -> None:
    """Show the cards of the newest studies with results, and what to look at in the newest one."""
    every = cached_runs.overview(root)
    every = every[~every["archived"] & (every["done"] > 0) & (every["problem"] == "")]
    names = every.sort_values("changed", ascending=False)["study"].tolist()
    if not names:
        st.caption("Results appear here as soon as the first run is done.")
        return
    newest = StudyDir(root / names[0])
    if len(names) == 1:  # side by side
        left, right = st.columns([1, 2], gap="large")
        with left:
            st.subheader("Latest results", anchor=False)
            with st.container(border=True):
                _card(newest)
        with right:
            _next(newest)
        return
    st.subheader("Latest results", anchor=False)
    for column, name in zip(st.columns(min(CARDS, len(names))), names[:CARDS], strict=False):
        with column.container(border=True, height="stretch"):
            _card(StudyDir(root / name))
    if len(names) > CARDS:
        st.caption(f"And {plural(len(names) - CARDS, 'other study', 'other studies')}: choose one in the sidebar.")
    _next(newest)


def _card(study: StudyDir) -> None:
    st.markdown(f"**{markdown(study.name)}**")
    try:
        document = study.study()
        scores = cached_results.scores(study, "trial", False)
    except EavdashError as error:
        st.error(markdown(error))
        return
    found = people.standings(scores)
    if not found:
        st.caption("No finished run has test predictions.")
        return
    guessing = 1 / len(document.classes)
    widgets.chart(stage_bars(found, guessing), f"{PAGE}_bars_{study.name}", stage_bars_alt(found), files=False)
    told = cached_statistics.question(study)
    st.caption(markdown(answer.answer(found, told)))
    simulated = "Simulated recordings. " if document.dataset.simulated else ""
    st.caption(f"{simulated}Mean over {plural(scores['subject'].nunique(), 'subject')}; dotted: guessing.")
    open_button("Open", study, widgets.SUBJECTS, f"{PAGE}_results_{study.name}")


def _next(study: StudyDir) -> None:
    try:
        found = [*_suggestions(study)]
    except EavdashError:
        return  # shown in its card
    if not found:
        return
    st.subheader("Look at next", anchor=False)
    st.caption(f"In the study {markdown(study.name)}.")
    for number, item in enumerate(found):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(markdown(item.sentence), width="stretch")
            open_button(item.label, study, item.page, f"{PAGE}_next_{number}", **item.state)


def _suggestions(study: StudyDir) -> Iterator[Suggestion]:
    trials = cached_results.trials(study)
    decided = trials[trials["stage"] == deciding_stage(trials)]
    wrong = decided[~decided["correct"].astype(bool) & (decided["confidence"] >= SURE)]
    if len(wrong):
        row = wrong.iloc[int(wrong["confidence"].to_numpy().argmax())]
        yield Suggestion(
            f"{theme.label(row['stage'])} is {theme.percent(row['confidence'])} sure of {row['predicted']} in trial "
            f"{row['trial']} of subject {row['subject']}, which is {row['label']}: its surest mistake.",
            "Explain this trial",
            widgets.EXPLAIN,
            {actions.TARGET: (str(row["subject"]), str(row["trial"]))},
        )
    means = decided.groupby("subject")["correct"].mean()
    if len(means) > 1 and means.min() < means.max():
        name = str(means.idxmin())
        yield Suggestion(
            f"Subject {name} is recognised worst: {theme.percent(float(means.min()))} of its test trials, "
            f"{theme.percent(float(means.mean()))} on average.",
            "See its trials",
            widgets.SUBJECTS,
            {f"{choices.PAGE}_subject": name},
        )
    if decided["stage"].eq("fusion").any():
        sentence = "Is fusion better than the best single modality, and could that be chance?"
        yield Suggestion(sentence, "See the statistics", widgets.STATISTICS, {})
    if cached_data.health_report(path := study.study().dataset.path) is None:
        sentence = "Its recordings have not been checked here: what is missing, flat or silent?"
        yield Suggestion(sentence, "Check the recordings", widgets.HEALTH, {dataset.DATASET: path})
