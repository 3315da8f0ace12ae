"""References beside the scores of subjects: published values, the chance line, guessing from the time alone.

In: values per subject. Out: Plotly traces, and the lines of the chance level in a figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from eavdash.report import theme
from eavdash.results.paired import ALPHA
from eavdash.results.statistics import chance_line

PAPER = "paper, Table I"


def hollow_bars(stage: str, rows: pd.DataFrame) -> go.Bar:
    """Return the published values of a stage as hollow bars over its bars."""
    level = rows["level"].iloc[0] if len(rows) else ""
    return go.Bar(
        name=f"{theme.label(stage)}, paper",
        x=rows["subject"].tolist(),
        y=(100 * rows["accuracy"]).tolist(),
        offsetgroup=stage,
        marker={"color": "rgba(0,0,0,0)", "line": {"color": theme.GREY, "width": 1.5}},
        unselected={"marker": {"opacity": 1}},
        hovertemplate=f"paper, Table I: {theme.label(stage)} %{{y:.2f}} % per {level}<extra></extra>",
    )


def hollow_marks(stage: str, rows: pd.DataFrame) -> go.Scatter:
    """Return the published values of a stage as marks."""
    level = rows["level"].iloc[0] if len(rows) else ""
    return go.Scatter(
        name=PAPER,
        x=rows["subject"].tolist(),
        y=(100 * rows["accuracy"]).tolist(),
        mode="markers",
        # Light inside, dark around: visible on bars and on both backgrounds.
        marker={"symbol": "diamond", "size": 6, "color": "#FFFFFF", "line": {"color": "#5A5A5A", "width": 1.2}},
        hovertemplate=f"paper, Table I: {theme.label(stage)} %{{y:.2f}} % per {level}<extra></extra>",
    )


def add_chance(
    fig: go.Figure,
    number: int,
    order: Sequence[str],
    trials: Mapping[tuple[str, str], float],
    classes: int,
    majority: Mapping[str, float],
    alpha: float,
    bars: int,
) -> go.Scatter:
    """Add the chance line of each subject, for the smallest n among its stages; return its legend and hover texts."""
    lines: dict[str, float] = {}
    counts: dict[str, float] = {}
    for (name, _), n in trials.items():
        counts[name] = min(n, counts.get(name, n))
    for subject in order:
        if subject in counts:
            lines[subject] = 100 * chance_line(counts[subject], classes, alpha, majority.get(subject, 0.0))
    style = {"color": theme.GREY, "width": 2, "dash": "dash"}
    levels = [(position, lines[subject]) for position, subject in enumerate(order) if subject in lines]
    suffix = str(number + 1) if number else ""
    refs = {"xref": f"x{suffix}", "yref": f"y{suffix}"} if number else {}
    # Neighbours of the same height share a line; adding them one by one takes a third of a second for 42 subjects.
    more: list[dict[str, Any]] = []
    for position, y in levels:
        if more and more[-1]["y0"] == y and more[-1]["x1"] == position - 0.5:
            more[-1]["x1"] = position + 0.5
        else:
            more.append({"type": "line", "x0": position - 0.5, "x1": position + 0.5, "y0": y, "y1": y, "line": style})
    more = [{**line, **refs} for line in more]
    fig.update_layout(shapes=[*fig.layout.shapes, *more])
    one = alpha == ALPHA
    hover = f"chance line at the {100 * alpha:.2g} % level: %{{y:.1f}} %"
    if one and bars >= 1 / ALPHA:
        hover += f"<br>of {bars} bars that only guess, about {bars * ALPHA:.0f} exceed it"
    return ticks("chance line", lines, "line-ew", f"{hover}<extra></extra>")


def ticks(name: str, values: Mapping[str, float], symbol: str, hover: str, size: int = 12) -> go.Scatter:
    """Return marks drawn in lines, one per subject, in per cent."""
    return go.Scatter(
        name=name,
        x=list(values),
        y=list(values.values()),
        mode="markers",
        marker={"symbol": symbol, "size": size, "color": theme.GREY, "line": {"color": theme.GREY, "width": 2}},
        hovertemplate=hover,
    )
