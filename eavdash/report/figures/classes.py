"""Scores by class, reliability, and learning curves over seeds, as tables and figures.

In: tables of :mod:`eavdash.results.per_class` and :mod:`eavdash.results.learning`.
"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from eavdash.report import theme
from eavdash.results.per_class import Reliability


def class_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return ``class_scores`` as texts."""
    columns = {"precision": "precision", "recall": "recall", "f1": "F1"}
    out = pd.DataFrame({"label": scores["label"], "trials": scores["n"]})
    for name, title in columns.items():
        out[title] = [theme.percent(value, 1) for value in scores[name]]
    return out


def reliability_diagram(found: Reliability, stage: str) -> go.Figure:
    """Draw accuracy against confidence; on the diagonal a stage is as often right as it says."""
    table = found.table
    fig = theme.figure(
        320,
        {"title": "Confidence, %", "range": [0, 100]},
        {"title": "Accuracy, %", "range": [0, 105]},
        showlegend=False,
    )
    fig.add_shape(type="line", x0=0, y0=0, x1=100, y1=100, line={"color": theme.GREY, "width": 1, "dash": "dash"})
    fig.add_trace(
        go.Bar(
            x=50 * (table["low"] + table["high"]),
            y=100 * table["accuracy"],
            width=100 * (table["high"] - table["low"]) - 0.6,
            marker={"color": theme.colour(stage), "opacity": 0.75},
            customdata=table[["n", "confidence"]].assign(confidence=100 * table["confidence"]).to_numpy(float),
            hovertemplate="accuracy %{y:.0f} %, mean confidence %{customdata[1]:.0f} %, n = %{customdata[0]:.0f} trials"
            "<extra></extra>",
        )
    )
    return fig


def by_label(table: pd.DataFrame, chance: float) -> go.Figure:
    """Draw ``recall_by_class``: a group of bars per label, one per stage, with 95 % intervals over subjects."""
    fig = theme.figure(
        340, {"title": "Label", "type": "category"}, {"title": "Accuracy, %", "range": [0, 105]}, barmode="group"
    )
    fig.add_hline(y=100 * chance, line={"color": theme.GREY, "dash": "dash", "width": 1})
    for stage, rows in table.groupby("stage", sort=False):
        mean = 100 * rows["accuracy"]
        arms = {"array": 100 * rows["high"] - mean, "arrayminus": mean - 100 * rows["low"]}
        fig.add_trace(
            go.Bar(
                x=rows["label"].tolist(),
                y=mean,
                name=theme.label(str(stage)),
                marker_color=theme.colour(str(stage)),
                error_y={"type": "data", "symmetric": False, "thickness": 1.5, "width": 3, "color": theme.GREY, **arms},
                customdata=rows[["subjects", "n"]].to_numpy(int),
                hovertemplate="%{x}: %{y:.1f} %, %{customdata[0]} subjects, n = %{customdata[1]} trials",
            )
        )
    return fig


def seed_curves(table: pd.DataFrame, stage: str, quantity: str) -> go.Figure:
    """Draw ``learning.curves``: a line per seed, the mean over the runs of that seed, and the spread of the seeds."""
    scale, percent = (100, ", %") if quantity.endswith("accuracy") else (1, "")
    name = quantity.replace("_", " ")
    title = f"{name[0].upper()}{name[1:]}{percent}"
    fig = theme.figure(320, {"title": "Epoch", "rangemode": "tozero"}, {"title": title, "rangemode": "tozero"})
    spread = table.groupby("epoch")["value"].agg(["min", "max"])
    if table["seed"].nunique() > 1:
        fig.add_trace(
            go.Scatter(
                x=[*spread.index, *spread.index[::-1]],
                y=[*(scale * spread["max"]), *(scale * spread["min"])[::-1]],
                fill="toself",
                mode="lines",
                line={"width": 0, "color": theme.colour(stage)},
                opacity=0.25,
                name="range of the seeds",
                hoverinfo="skip",
            )
        )
    dashes = ("solid", "dash", "dot", "dashdot")
    for number, (seed, rows) in enumerate(table.groupby("seed")):
        fig.add_trace(
            go.Scatter(
                x=rows["epoch"],
                y=scale * rows["value"],
                mode="lines",
                name=f"seed {seed}",
                line={"color": theme.colour(stage), "dash": dashes[number % len(dashes)]},
                customdata=rows["runs"],
                hovertemplate="epoch %{x}: %{y:.1f}, mean of %{customdata} runs",
            )
        )
    return fig
