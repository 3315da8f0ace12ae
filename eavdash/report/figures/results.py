"""Tables and figures of the results: accuracy per subject and stage, averages, confusion.

In: tables of ``eavdash.results``. Accuracies are fractions and are shown in per cent.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from eavdash.config.choices import STAGES
from eavdash.report import theme
from eavdash.results.tables import BASELINES, attention_columns, summarise
from eavdash.text import natural_order

AVERAGE = "average"
CORRECTED_HELP = (
    "Of many bars that only guess, about 5 % exceed an uncorrected chance line. The corrected line is exceeded by any "
    "of "
    "them in 5 % of studies (Bonferroni)."
)


def score_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return subjects x stages with texts ``63 % (n = 20)`` and a last row of mean ± standard deviation."""
    stages = list(dict.fromkeys(scores.sort_values("stage", key=stage_rank)["stage"]))
    text = [f"{theme.percent(a)} (n = {n})" for a, n in zip(scores["accuracy"], scores["n"], strict=True)]
    wide = scores.assign(text=text).pivot(index="subject", columns="stage", values="text")
    wide = wide.reindex(index=list(natural_order(scores["subject"])), columns=stages).fillna("–")
    mean = {row["stage"]: row for row in averages(scores).to_dict("records")}
    if mean:
        wide.loc[AVERAGE] = [_average(mean[s]) if s in mean else "–" for s in stages]
    return wide.reset_index().rename(columns={s: theme.label(s) for s in stages}).rename_axis(columns=None)


def averages(scores: pd.DataFrame) -> pd.DataFrame:
    """Return ``summarise`` for the stages with scores of several subjects."""
    mean = summarise(scores)
    return mean[mean["subjects"] > 1]


def column_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return values x stages with texts ``63 ± 8 % (n = 120)``, from scores split by a column."""
    column = str(scores.columns[3])  # after study, subject and stage
    stages = list(dict.fromkeys(scores.sort_values("stage", key=stage_rank)["stage"]))
    rows = []
    for value in natural_order(scores[column]):
        row = {column: value}
        for stage in stages:
            cell = scores.loc[(scores[column] == value) & (scores["stage"] == stage), ["accuracy", "n"]]
            spread = f" ± {100 * cell['accuracy'].std():.0f}" if len(cell) > 1 else ""
            text = f"{100 * cell['accuracy'].mean():.0f}{spread} % (n = {int(cell['n'].sum())})"
            row[theme.label(stage)] = text if len(cell) else "–"
        rows.append(row)
    return pd.DataFrame(rows, columns=[column, *map(theme.label, stages)])


def subject_order(scores: pd.DataFrame, by: str, subjects: Sequence[str] = ()) -> list[str]:
    """Return the subjects (all, or the given ones) in natural order, or from the best to the worst in a stage."""
    names = list(natural_order(subjects or scores["subject"]))
    if by == "subject":
        return names
    best = {r["subject"]: r["accuracy"] for r in scores[scores["stage"] == by].to_dict("records")}
    return sorted(names, key=lambda s: -best.get(s, -1.0))


def legend_note(level: str, independent: pd.DataFrame) -> str:
    """Return the legend of :func:`subject_bars` at a level."""
    counts = sorted(set(independent["n"]))
    n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    note = f"n = {n} test trials per subject and stage. Whiskers: 95 % Wilson interval"
    note += "; of the average, ± 1 standard deviation over subjects" if independent["subject"].nunique() > 1 else ""
    note += (
        ". Dashed line: accuracies above it are better than guessing at the 5 % level; open mark: guessing from the "
        "trial's "
        "position alone. Trials of one group that are decided alike count as fewer"
    )
    if level != "trial":
        note += f"; {level}s of one trial never count as independent"
    return f"{note}."


def clicked_subject(points: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the subject of a clicked bar; None for the average."""
    return next((str(p["x"]) for p in points if str(p.get("x")) != AVERAGE), None)


def trial_table(trials: pd.DataFrame, subject: str) -> pd.DataFrame:
    """Return a subject's test trials with predictions by stage and attention shares in per cent.

    One row per trial, and per fold and seed if there are several.
    """
    mine = trials[trials["subject"] == subject]
    extra = [c for c in ("fold", "seed") if trials[c].nunique() > 1]
    keys = ["trial", *extra, "label"]
    stages = list(dict.fromkeys(mine.sort_values("stage", key=stage_rank)["stage"]))
    wide = mine.pivot(index=keys, columns="stage", values="predicted")[stages].rename(columns=theme.label)
    for column in attention_columns(mine):
        share = mine[mine["stage"] == "fusion"].set_index(keys)[column]
        wide[f"attention {theme.label(column.removeprefix('attention_'))}, %"] = (100 * share).round(0)
    wide = wide.rename_axis(columns=None).reset_index()
    rank = {name: position for position, name in enumerate(natural_order(wide["trial"].tolist()))}
    return wide.sort_values("trial", key=lambda c: c.map(rank), kind="stable").reset_index(drop=True)


def confusion_matrix(counts: pd.DataFrame, stage: str) -> go.Figure:
    """Draw labels against predictions: each row's share as colour, share and count as text."""
    values = counts.to_numpy(float)
    share = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    text = [
        [f"{100 * s:.0f} %\n{int(c)}" for s, c in zip(*row, strict=True)] for row in zip(share, values, strict=True)
    ]
    x = {"title": "Predicted", "type": "category", "showgrid": False}
    y = {"title": "Label", "type": "category", "showgrid": False, "autorange": "reversed"}
    fig = theme.figure(340, x, y)
    fig.add_trace(
        go.Heatmap(
            z=100 * share,
            x=[str(c) for c in counts.columns],
            y=[str(c) for c in counts.index],
            text=text,
            texttemplate="%{text}",
            zmin=0,
            zmax=100,
            # Opaque, also in the dark theme: Plotly chooses the text's colour by that of the cell.
            colorscale=[[0, "#f2f2f2"], [1, theme.colour(stage)]],
            showscale=False,
            hovertemplate="%{y} predicted as %{x}: %{text}<extra></extra>",
        )
    )
    return fig


def stage_rank(column: pd.Series) -> pd.Series:
    """Return the position of each stage in the display order."""
    return column.map({stage: position for position, stage in enumerate((*STAGES, *BASELINES))})


def _average(row: Mapping[Hashable, Any]) -> str:
    spread = "" if row["sd"] != row["sd"] else f" ± {100 * row['sd']:.0f}"
    return f"{100 * row['accuracy']:.0f}{spread} % ({int(row['subjects'])} subjects)"
