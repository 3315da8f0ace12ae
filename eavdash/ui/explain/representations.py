"""The page Representations' widgets: the test trials as the models see them, and what separates them.

In: what ``eavdash representations`` keeps with the study and its runs. Out: a sentence, a chart whose points can be
selected, and the list of the selected trials, which opens them. What is missing is computed by a task.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from eavdash.config.choices import MODALITIES, STAGES
from eavdash.errors import IntegrityError
from eavdash.report import theme
from eavdash.report.figures import representations as figures
from eavdash.results.decision import first_decisions
from eavdash.results.representations import DIMENSIONS, LEAST_TRIALS, UMAP_EXTRA, WAYS, Representations, has_umap
from eavdash.results.separation import verdict
from eavdash.results.tables import attention_columns
from eavdash.store import StudyDir, checkpoints_root
from eavdash.text import markdown, natural_order, plural
from eavdash.ui import cached_maps, choosing, tasks, widgets
from eavdash.ui.explain.choose_trial import label_word
from eavdash.ui.explain.trial_list import trial_list

PAGE = "explain_representations"
NAMES = ("run", "space", "way", "by")  # of the widgets, also in the address
ALL = "all"  # the decisions of all runs, as the widget's value
_SCOPES = {
    True: "The decisions of all runs: the centred logarithms of the class probabilities. Their axes are the classes, "
    "which mean the same in every run, so that subjects can be compared.",
    False: "Every run has encoders of its own, whose axes mean something else in every run: places and distances hold "
    "within this run only.",
}
_SPACES = {
    "tokens": "A point is the mean of the encoder's tokens over a trial.",
    "fusion": "A point is what the last layer of the fusion sees, averaged over a trial.",
    "decisions": "A point is the decision on a trial.",
}
_WAYS = {
    "pca": "Principal components keep distances as far as two dimensions can.",
    "tsne": "t-SNE keeps neighbours; distances between groups, their sizes and the axes mean nothing.",
    "umap": "UMAP keeps neighbours; distances between groups, their sizes and the axes mean little.",
}
_ETA = (
    "Variance: partial η² of subject and label, each after the other, in all dimensions (permutational analysis of "
    "variance; chance is its mean under permutations)."
)
_choose = partial(choosing.choose, PAGE)


def offer(study: StudyDir) -> Representations | None:
    """Show what is missing and the task that computes it; return what is there."""
    command = ["representations", study.name]
    lacking: tuple[str, ...] = ()
    try:
        found = cached_maps.separated(study)
    except IntegrityError as error:
        widgets.show_error(error, PAGE)
        found = None
    else:
        lacking = cached_maps.without(study)
    if found is None:
        st.info("No representations yet. They come from the cached features of the encoders, in seconds per run.")
    elif lacking:
        names = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
        st.info(markdown(f"Missing, or of earlier weights: {names}."))
    if found is None or lacking:
        args = (command, f"Representations of {study.name}", study.name)
        st.button("Compute the representations", type="primary", on_click=tasks.start, args=args, key=f"{PAGE}_compute")
    tasks.panel(checkpoints_root(), study.name, command, key=f"{PAGE}_task")
    for problem in (found.problems if found else {}).values():
        st.error(markdown(problem))
    return found


def show(study: StudyDir, found: Representations, trials: pd.DataFrame) -> None:
    """Show what separates the trials in a space, the trials, and the selected ones."""
    names = _run_names(trials, found)
    columns = st.columns([1.6, 1, 1, 1.4], vertical_alignment="bottom")
    scope = _choose(columns[0], "Trials of", [ALL, *names], "run", lambda run: names.get(run, "all runs: decisions"))
    run = "" if scope == ALL else scope
    spaces = {each.space: each for each in found.spaces if each.run == run}
    order = [stage for stage in reversed(STAGES) if stage in spaces]
    space = spaces[_choose(columns[1], "Seen by", order, "space", theme.label)]
    ways = [way for way in WAYS if way in space.ways]
    word = label_word(natural_order(trials["label"].tolist()))
    st.markdown(f"**{markdown(verdict(space.separation, word))}**")
    if not ways:
        st.info(f"Too few trials to draw ({space.separation.trials} of at least {LEAST_TRIALS}).")
        return
    way = _choose(columns[2], "In two dimensions by", ways, "way", WAYS.__getitem__)
    with widgets.show_errors():
        places = cached_maps.places(study, run)
    rows = _with_decisions(places[places["space"] == space.space], trials, space.space)
    shares = [m for m in MODALITIES if f"share_{m}" in rows]
    titles = {"label": word.capitalize(), "subject": "Subject", "outcome": "Right or wrong"}
    titles |= {f"share_{m}": f"Attention share of {theme.label(m)}" for m in shares}
    by = _choose(columns[3], "Colour", list(titles), "by", titles.__getitem__)
    chart = figures.scatter(rows, space, way, by)
    alt = f"Test trials in two dimensions by {WAYS[way]}, coloured by {titles[by].lower()}."
    event = widgets.chart(chart, f"{PAGE}_chart", alt, on_select="rerun", selection_mode=("points", "lasso", "box"))
    kind = "fusion" if space.space == "fusion" else "tokens"
    kept_part = (
        f" {theme.percent(space.kept)} of it is in the {DIMENSIONS} components used." if space.kept < 0.995 else ""
    )
    said = (_SPACES[kind if run else "decisions"], _SCOPES[not run], _WAYS[way], f"{_ETA}{kept_part}")
    st.caption(" ".join(said))
    if not has_umap():
        st.caption(f"UMAP needs an extra: `{UMAP_EXTRA}`.")
    _selected(rows, widgets.selected_points(event))
    _runs(found, names)


def _selected(rows: pd.DataFrame, points: Sequence[dict[str, Any]]) -> None:
    """Show the trials of the selected points."""
    chosen = {tuple(str(value) for value in point["customdata"][:2]) for point in points}
    if not chosen:
        st.caption("Draw around points, or click one, to list their trials.")
        return
    mine = rows[[key in chosen for key in zip(rows["subject"], rows["trial"], strict=True)]]
    st.subheader(f"{plural(len(mine), 'trial')} selected", anchor=False)
    counts = mine["label"].value_counts()
    st.caption(markdown(", ".join(f"{name} {count}" for name, count in counts.items()) + ". Select a row to open it."))
    trial_list(mine[["subject", "trial", "label", "predicted", "p_label"]], f"{PAGE}_trials")


def _runs(found: Representations, names: dict[str, str]) -> None:
    """Show what the label explains in every run."""
    if not names:
        return
    with st.expander("All runs", key=f"{PAGE}_all"):
        chart = figures.separations([each for each in found.spaces if each.run], names)
        widgets.chart(chart, f"{PAGE}_separations", "Variance that the label explains above chance, per run.")
        st.caption(
            "Hollow: not more than chance, p ≥ 0.05. Runs are compared by what the label explains, not by places."
        )
        rows = [
            {
                "trials of": names.get(each.run, "all runs: decisions"),
                "seen by": theme.label(each.space),
                **each.separation.only(*_FIGURES),
            }
            for each in found.spaces
            if each.run in ("", *names)
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True, key=f"{PAGE}_table")


_FIGURES = ("trials", "subjects", "label", "label_chance", "label_p", "subject", "subject_chance", "subject_p")


def _run_names(trials: pd.DataFrame, found: Representations) -> dict[str, str]:
    """Return the names of the runs that have spaces, in the order of their subjects."""
    here = {each.run for each in found.spaces if each.run}
    rows = trials[trials["run"].isin(here)]
    subjects = rows.groupby("run", sort=False)["subject"].unique()
    names = {str(run): f"subject {who[0]}" if len(who) == 1 else str(run) for run, who in subjects.items()}
    twice = [name for name in names.values() if list(names.values()).count(name) > 1]
    return {run: f"{name} ({run})" if name in twice else name for run, name in names.items()}


def _with_decisions(places: pd.DataFrame, trials: pd.DataFrame, stage: str) -> pd.DataFrame:
    """Return the places with label, decision, outcome and the attention shares of the fusion."""
    tested = set(trials["stage"])
    decided = first_decisions(trials, stage if stage in tested else "")
    decided = decided.assign(
        outcome=np.where(decided["correct"], "right", "wrong"),
        p_label=[float(row[f"p_{row['label']}"]) for row in decided.to_dict("records")],
    )
    keys = ["subject", "trial"]
    rows = places.merge(decided[[*keys, "label", "predicted", "outcome", "p_label"]], on=keys)
    fused = first_decisions(trials, "fusion")
    shares = attention_columns(fused)
    named = fused[[*keys, *shares]].rename(columns={c: c.replace("attention_", "share_") for c in shares})
    return rows.merge(named, on=keys, how="left") if shares else rows
