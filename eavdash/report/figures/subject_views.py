"""Other views of a score per subject and stage: points with mean and interval, tiles, and paired slopes.

In: a table of ``tables.scores``. Out: figures whose points carry subject, stage, a text, the score in per cent and the
run that a click opens as customdata, as the bars do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from eavdash.report import theme
from eavdash.report.figures.answer import interval, metric_name
from eavdash.report.figures.results import stages_of
from eavdash.report.figures.subjects import hole_text
from eavdash.results.scored import STAGE_RANK
from eavdash.results.subjects import standings

_HOVER = "subject %{customdata[0]}, %{customdata[2]}: %{customdata[3]:.1f} %<extra></extra>"


def strips(scores: pd.DataFrame, metric: str) -> go.Figure:
    """Draw a point per subject in one strip per stage, and beside it the mean with its 95 % interval over subjects."""
    stages = stages_of(scores)
    x = {"tickvals": [*range(len(stages))], "ticktext": [theme.label(s) for s in stages], "showgrid": False}
    x |= {"range": [-0.5, len(stages) - 0.5], "zeroline": False}
    fig = theme.figure(440, x, {"title": f"{metric_name(metric)}, %", "range": [0, 105]}, showlegend=False)
    means = {s.stage: s for s in standings(scores, metric)}
    for place, stage in enumerate(stages):
        rows = scores[scores["stage"] == stage]
        jitter = np.random.default_rng(place).uniform(-0.28, 0.16, len(rows))
        fig.add_trace(_points(rows, stage, metric, place + jitter, 4, 0.55))
        mean = means[stage]
        up, down = (mean.high - mean.mean, mean.mean - mean.low) if mean.subjects > 1 else (0.0, 0.0)
        fig.add_trace(
            go.Scatter(
                name=f"{theme.label(stage)}, mean",
                x=[place + 0.32],
                y=[100 * mean.mean],
                mode="markers",
                marker={"color": theme.colour(stage), "size": 11, "symbol": "diamond"},
                error_y={"type": "data", "array": [100 * up], "arrayminus": [100 * down], "color": theme.GREY},
                hovertemplate=f"mean %{{y:.1f}} %<br>{interval(mean)}<extra></extra>",
            )
        )
    return fig


def tiles(scores: pd.DataFrame, metric: str, subjects: Sequence[str], holes: pd.DataFrame) -> go.Figure:
    """Draw a tile per subject (in this order) and stage, coloured by the score; what is missing stays hatched."""
    shown, gone = (t[t["subject"].isin(subjects)] for t in (scores, holes))
    stages = sorted({*shown["stage"], *gone["stage"]}, key=STAGE_RANK.__getitem__)
    base = {stage: len(stages) - 1 - place for place, stage in enumerate(stages)}
    x = {"title": "Subject", "type": "category", "categoryorder": "array", "categoryarray": [*subjects]}
    y = {"tickvals": [b + 0.5 for b in base.values()], "ticktext": [theme.label(s) for s in base], "showgrid": False}
    fig = theme.figure(90 + 56 * max(1, len(stages)), x, {**y, "range": [0, len(stages)]}, bargap=0.04)
    fig.update_layout(barmode="overlay", showlegend=False, coloraxis=_scale(metric))
    for stage in stages:
        rows = shown[shown["stage"] == stage]
        bar = {"x": rows["subject"].tolist(), "y": [0.96] * len(rows), "base": [base[stage] + 0.02] * len(rows)}
        values = (100 * rows[metric]).tolist()
        texts = [f"{v:.0f}" for v in values] if len(subjects) <= 25 else None
        custom = [[name, stage, theme.label(stage), value, ""] for name, value in zip(bar["x"], values, strict=True)]
        colour = {"color": values, "coloraxis": "coloraxis", "line": {"width": 0}}
        more = {"marker": colour, "customdata": custom, "hovertemplate": _HOVER, "textangle": 0}
        more |= {"text": texts, "textposition": "inside", "unselected": {"marker": {"opacity": 0.7}}}
        fig.add_trace(go.Bar(name=theme.label(stage), constraintext="none", **bar, **more))
        _add_missing(fig, stage, gone[gone["stage"] == stage], base[stage], set(bar["x"]))
    return fig


def slopes(scores: pd.DataFrame, metric: str, a: str, b: str) -> go.Figure:
    """Draw a line per subject from stage ``b`` to stage ``a``: in the colour of ``a`` where it is higher, else grey."""
    wide = scores.pivot(index="subject", columns="stage", values=metric).reindex(columns=[b, a]).dropna()
    x = {"tickvals": [0, 1], "ticktext": [theme.label(b), theme.label(a)], "range": [-0.3, 1.3], "showgrid": False}
    x |= {"zeroline": False}
    fig = theme.figure(440, x, {"title": f"{metric_name(metric)}, %", "range": [0, 105]})
    gap = (wide[a] - wide[b]).round(12)
    kinds = {"higher": gap > 0, "lower": gap < 0, "equal": gap == 0}
    styles = {"higher": (theme.colour(a), "solid"), "lower": (theme.GREY, "dash"), "equal": (theme.GREY, "dot")}
    for kind, where in kinds.items():
        ends = 100 * wide[where].to_numpy(float)
        lines = np.column_stack([ends, np.full(len(ends), np.nan)]).ravel()
        colour, dash = styles[kind]
        fig.add_trace(
            go.Scatter(
                name=f"{theme.label(a)} {kind} ({len(ends)})",
                x=np.tile([0.0, 1.0, np.nan], len(ends)),
                y=lines,
                mode="lines",
                hoverinfo="skip",
                opacity=0.7 if len(wide) <= 60 else 0.25,
                line={"color": colour, "width": 1.2, "dash": dash},
            )
        )
    rows = scores[scores["subject"].isin(wide.index)]
    for place, stage in enumerate((b, a)):
        own = rows[rows["stage"] == stage]
        fig.add_trace(_points(own, stage, metric, np.full(len(own), float(place)), 8, 0.9).update(showlegend=False))
    return fig


def _points(rows: pd.DataFrame, stage: str, metric: str, x: np.ndarray, size: int, opacity: float) -> go.Scatter:
    values = (100 * rows[metric]).tolist()
    return go.Scatter(
        name=theme.label(stage),
        x=x,
        y=values,
        mode="markers",
        customdata=[[n, stage, theme.label(stage), v, ""] for n, v in zip(rows["subject"], values, strict=True)],
        marker={"color": theme.colour(stage), "size": size, "opacity": opacity},
        hovertemplate=_HOVER,
    )


def _add_missing(fig: go.Figure, stage: str, rows: pd.DataFrame, base: int, have: set[str]) -> None:
    alone = rows[~rows["subject"].isin(have)]
    if alone.empty:
        return
    fig.add_trace(
        go.Bar(
            name="not there",
            x=alone["subject"].tolist(),
            y=[0.96] * len(alone),
            base=[base + 0.02] * len(alone),
            customdata=[
                [r["subject"], stage, r["state"], hole_text(r["reason"], r["run"]), r["run"]]
                for r in alone.to_dict("records")
            ],
            marker={"color": "rgba(0,0,0,0)", "pattern": {"shape": "/", "fgcolor": theme.GREY, "size": 6}},
            unselected={"marker": {"opacity": 1}},
            hovertemplate=(
                f"subject %{{customdata[0]}}, {theme.label(stage)}: %{{customdata[2]}}"
                "<br>%{customdata[3]}<extra></extra>"
            ),
        )
    )


def _scale(metric: str) -> dict[str, object]:
    bar = {"title": {"text": f"{metric_name(metric)}, %", "side": "right"}, "thickness": 12}
    return {"colorscale": theme.SEQUENTIAL, "cmin": 0, "cmax": 100, "colorbar": bar}
