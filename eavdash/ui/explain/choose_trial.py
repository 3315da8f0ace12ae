"""The selection of one test trial by subject, outcome and label, and the headline about its decision.

In: a table of ``tables.trials``. Out: the rows of one trial, fold and seed, one per stage. The values of the widgets
are the only selection: a widget whose value no longer exists gets another before it is shown, so that what it shows is
what the page explains.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd
import streamlit as st

from eavdash.config.choices import MODALITIES
from eavdash.report import theme
from eavdash.text import markdown, natural_order
from eavdash.ui import actions, choosing

PAGE = "explain_trial"
OUTCOMES = ("all", "right", "wrong")
NAMES = ("subject", "outcome", "label", "trial", "model")  # of the widgets, also in the address
_EMOTIONS = (
    "anger angry anxiety anxious boredom bored calm calmness contempt disgust disgusted excitement excited "
    "fear fearful frustration frustrated happiness happy inspiration joy neutral relaxed sad sadness surprise "
    "surprised tenderness"
)
#: Names of classes that are emotions.
EMOTIONS = frozenset(_EMOTIONS.split())
#: A list of the page.
choose = partial(choosing.choose, PAGE)


def choose_trial(trials: pd.DataFrame, linked: bool = False) -> pd.DataFrame:
    """Show the widgets and return the rows of the selected trial; empty if no trial matches.

    The outcome is that of fusion, or of the first modality if there is no fusion. Another page can select subject and
    trial in the session state under :data:`eavdash.ui.actions.TARGET`. ``linked``: an address has set the widgets; if
    it asks for a trial that cannot be shown, a warning says so.
    """
    subjects = natural_order(trials["subject"].tolist())
    linked_to = {name: st.session_state.get(f"{PAGE}_{name}") for name in ("subject", "trial") if linked}
    target = st.session_state.pop(actions.TARGET, None)
    if target and target[0] in subjects:
        asked = {"subject": target[0], "trial": target[1], "outcome": "all", "label": None}
        st.session_state.update({f"{PAGE}_{name}": value for name, value in asked.items()})
    first, second, third, fourth = st.columns([1.2, 1.3, 1.5, 2], vertical_alignment="bottom")
    subject = choose(first, "Subject", subjects, "subject")
    outcome = choose(second, "Decision", OUTCOMES, "outcome")
    labels = natural_order(trials["label"].tolist())
    label = choose(third, label_word(labels).capitalize(), labels, "label", index=None, placeholder="All")
    mine = trials[trials["subject"] == subject]
    stage = deciding_stage(mine)
    matches = mine[(mine["stage"] == stage) & ((mine["label"] == label) if label else True)]
    if outcome != "all":
        matches = matches[matches["correct"] == (outcome == "right")]
    names = natural_order(matches["trial"].tolist())
    labels_by_trial = dict(zip(matches["trial"], matches["label"], strict=True))
    title = f"Trial ({len(names)} match)"
    trial = choose(fourth, title, names, "trial", lambda name: f"{name} ({labels_by_trial.get(name, '')})")
    rows: pd.DataFrame = mine[mine["trial"] == trial]
    shown = {"subject": subject, "trial": trial}
    if any(value and value != shown[name] for name, value in linked_to.items()):
        what = ", ".join(f"{name} {value}" for name, value in linked_to.items() if value)
        why = "which is no tested trial that these choices allow: this is another."
        st.warning(f"The address asks for {markdown(what)}, {why}")
    versions = {f"{fold}-{seed}": (fold, seed) for fold, seed in zip(rows["fold"], rows["seed"], strict=True)}
    if len(versions) > 1:
        version = choose(
            st, "Model", list(versions), "model", lambda v: "fold {}, seed {}".format(*versions.get(v, ("", "")))
        )
        rows = rows[(rows["fold"] == versions[version][0]) & (rows["seed"] == versions[version][1])]
    return rows


def place(rows: pd.DataFrame) -> tuple[str, str]:
    """Return the subject and the trial of the rows of one trial."""
    return str(rows["subject"].iloc[0]), str(rows["trial"].iloc[0])


def label_word(classes: Sequence[str]) -> str:
    """Return what the classes are: ``emotion``, or ``label`` unless all of them are names of emotions."""
    return "emotion" if all(name.casefold() in EMOTIONS for name in classes) else "label"


def deciding_stage(rows: pd.DataFrame) -> str:
    """Return the stage that is judged and explained: fusion, or the first modality if there is no fusion."""
    stages = list(dict.fromkeys(rows["stage"]))
    return "fusion" if "fusion" in stages else next((m for m in MODALITIES if m in stages), "")


def decision_sentence(rows: pd.DataFrame) -> str:
    """Return the headline: which trial it is, its label, and whether the decision about it is right."""
    row = rows[rows["stage"] == deciding_stage(rows)].iloc[0]
    outcome = "right" if row["correct"] else "wrong"
    return (
        f"Subject {row['subject']}, trial {row['trial']}, label {row['label']}: {theme.label(row['stage'])} predicts "
        f"{row['predicted']} ({theme.percent(row['confidence'])}), {outcome}."
    )
