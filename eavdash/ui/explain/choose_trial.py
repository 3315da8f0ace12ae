"""The selection of one test trial by subject, outcome and emotion, and the sentence about its decision.

In: a table of ``tables.trials``. Out: the rows of one trial, fold and seed, one per stage.
"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from eavdash.config.choices import MODALITIES
from eavdash.text import natural_order
from eavdash.ui import actions, theme
from eavdash.ui.draft import kept

OUTCOMES = ("all", "right", "wrong")


def choose_trial(trials: pd.DataFrame) -> pd.DataFrame:
    """Show the widgets and return the rows of the selected trial; empty if no trial matches.

    The outcome is that of fusion, or of the first modality if there is no fusion. Another page can select subject and
    trial in the session state under :data:`eavdash.ui.actions.TARGET`.
    """
    subjects = natural_order(trials["subject"].tolist())
    target = st.session_state.pop(actions.TARGET, None)
    if target and target[0] in subjects:
        st.session_state["explain_trial_subject"], st.session_state["explain_trial_trial"] = target
        st.session_state["explain_trial_outcome"], st.session_state["explain_trial_emotion"] = "all", None
    first, second, third, fourth = st.columns([1.2, 1.3, 1.5, 2], vertical_alignment="bottom")
    subject = first.selectbox("Subject", subjects, **kept("explain_trial", "subject"))
    st.session_state.setdefault("explain_trial_outcome", "all")
    outcome = second.selectbox("Decision", OUTCOMES, **kept("explain_trial", "outcome"))
    emotion = third.selectbox(
        "Emotion",
        natural_order(trials["label"].tolist()),
        index=None,
        placeholder="All",
        **kept("explain_trial", "emotion"),
    )
    mine = trials[trials["subject"] == subject]
    stage = deciding_stage(mine)
    matches = mine[(mine["stage"] == stage) & ((mine["label"] == emotion) if emotion else True)]
    if outcome != "all":
        matches = matches[matches["correct"] == (outcome == "right")]
    names = natural_order(matches["trial"].tolist())
    if st.session_state.get("explain_trial_trial") not in names:
        st.session_state.pop("explain_trial_trial", None)
    labels = dict(zip(matches["trial"], matches["label"], strict=True))
    trial = fourth.selectbox(
        f"Trial ({len(names)} match)",
        names,
        format_func=lambda t: f"{t} ({labels.get(t, '')})",
        **kept("explain_trial", "trial"),
    )
    rows: pd.DataFrame = mine[mine["trial"] == trial]
    versions = list(dict.fromkeys(zip(rows["fold"].tolist(), rows["seed"].tolist(), strict=True)))
    if len(versions) > 1:
        fold, seed = st.selectbox(
            "Model", versions, format_func=lambda v: f"fold {v[0]}, seed {v[1]}", key="explain_trial_version"
        )
        rows = rows[(rows["fold"] == fold) & (rows["seed"] == seed)]
    return rows


def deciding_stage(rows: pd.DataFrame) -> str:
    """Return the stage that is judged and explained: fusion, or the first modality if there is no fusion."""
    stages = list(dict.fromkeys(rows["stage"]))
    return "fusion" if "fusion" in stages else next((m for m in MODALITIES if m in stages), "")


def decision_sentence(rows: pd.DataFrame) -> str:
    """Return a sentence about the trial's decision."""
    row = rows[rows["stage"] == deciding_stage(rows)].iloc[0]
    outcome = "right" if row["correct"] else f"wrong: the label is {row['label']}"
    return f"{theme.label(row['stage'])} predicts {row['predicted']} ({theme.percent(row['confidence'])}), {outcome}."
