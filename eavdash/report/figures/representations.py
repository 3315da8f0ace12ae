"""Figures of representations: the test trials in two dimensions, and what separates them in each run.

In: places of ``eavdash.results.representations`` merged with decisions. Every point carries subject and trial.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.colors import qualitative

from eavdash.report import theme
from eavdash.results.paired import ALPHA
from eavdash.results.representations import WAYS, Space
from eavdash.text import natural_order, p_value

#: Okabe & Ito's colours, then others that differ; after that they repeat with other symbols.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#7A5C48", "#8A8A8A", *qualitative.Dark24)
_SYMBOLS = ("circle", "diamond", "square", "cross", "triangle-up")
_OUTCOMES = {"right": "#0072B2", "wrong": "#D55E00"}


def scatter(rows: pd.DataFrame, space: Space, way: str, by: str) -> go.Figure:
    """Draw the trials, coloured by a column of ``rows``; numbers get a colour bar."""
    titles = [f"{WAYS[way]} {n}" for n in (1, 2)]
    if way == "pca":
        shares = (*space.variance, 0.0, 0.0)[:2]
        titles = [f"{t} ({theme.percent(s)} of the variance)" for t, s in zip(titles, shares, strict=True)]
    axis = {"zeroline": False, "showticklabels": way == "pca"}
    same = {"scaleanchor": "x"} if way == "pca" else {}  # distances are meant to be seen
    fig = theme.figure(520, {"title": titles[0], **axis}, {"title": titles[1], **axis, **same}, dragmode="lasso")
    if pd.api.types.is_numeric_dtype(rows[by]):
        marker = {"color": 100 * rows[by], "colorscale": theme.SEQUENTIAL, "colorbar": {"ticksuffix": " %"}, "size": 9}
        return fig.add_trace(_points(rows, way, "", marker))
    for number, name in enumerate(natural_order(rows[by].astype(str).tolist())):
        colour = _COLOURS[number % len(_COLOURS)]
        colour = _OUTCOMES.get(name, colour) if by == "outcome" else colour
        symbol = _SYMBOLS[number // len(_COLOURS) % len(_SYMBOLS)]
        marker = {"color": colour, "symbol": "x" if name == "wrong" and by == "outcome" else symbol, "size": 9}
        fig.add_trace(_points(rows[rows[by].astype(str) == name], way, name, marker))
    return fig


def separations(spaces: Sequence[Space], names: dict[str, str]) -> go.Figure:
    """Draw what the label explains above chance in every run, a row each; hollow where it is not significant."""
    runs = [run for run in names if any(each.run == run for each in spaces)]
    height = max(200, 18 * len(runs) + 110)
    rows = {"type": "category", "autorange": "reversed", "dtick": 1, "tickfont": {"size": 10}}
    fig = theme.figure(height, {"title": "Variance that the label explains above chance, %"}, rows)
    for kind in dict.fromkeys(each.space for each in spaces):
        mine = [each for each in spaces if each.space == kind and each.run in names and not each.separation.too_few]
        found = [each.separation for each in mine]
        fig.add_trace(
            go.Scatter(
                name=theme.label(kind),
                x=[100 * (s.label - s.label_chance) for s in found],
                y=[names[each.run] for each in mine],
                mode="markers",
                marker={
                    "color": theme.colour(kind),
                    "size": 9,
                    "symbol": ["circle" if s.label_p < ALPHA else "circle-open" for s in found],
                },
                text=[p_value(s.label_p) for s in found],
                hovertemplate=f"%{{y}}, {theme.label(kind)}: %{{x:.0f}} %, %{{text}}<extra></extra>",
            )
        )
    return fig.add_vline(x=0, line={"color": theme.GREY, "width": 1})


def _points(rows: pd.DataFrame, way: str, name: str, marker: dict[str, object]) -> go.Scatter:
    return go.Scatter(
        name=name,
        x=rows[f"{way}_1"],
        y=rows[f"{way}_2"],
        mode="markers",
        marker=marker,
        customdata=rows[["subject", "trial", "label", "predicted"]].to_numpy(),
        hovertemplate="subject %{customdata[0]}, trial %{customdata[1]}<br>label %{customdata[2]}, decided "
        "%{customdata[3]}<extra></extra>",
        showlegend=bool(name),
    )
