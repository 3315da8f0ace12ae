"""Bars of accuracy per subject and stage, optionally with the published values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from eavdash.report import theme
from eavdash.report.figures.results import AVERAGE, averages, stage_rank
from eavdash.results.paired import ALPHA
from eavdash.results.statistics import chance_line, wilson
from eavdash.text import natural_order


def subject_bars(
    scores: pd.DataFrame,
    independent: pd.DataFrame,
    classes: int,
    majority: Mapping[str, float],
    paper: pd.DataFrame | None = None,
    subjects: Sequence[str] = (),
    time_only: Mapping[str, float] | None = None,
    corrected: bool = False,
) -> go.Figure:
    """Draw grouped bars per subject and stage, then the average if there are several subjects.

    ``scores``: from ``tables.scores`` at any level. ``independent``: subject, stage and n, the effective number of
    trials (:mod:`eavdash.results.groups`), which determines the Wilson intervals and the chance line: windows and
    frames of one trial are not independent, and often the trials of one group are not either. ``paper``: Table I,
    drawn hollow. ``majority``: share of the most frequent label by subject. ``subjects``: those to draw, in this
    order. ``time_only``: accuracy of guessing from the trial's position, by subject. ``corrected``: the chance line of
    all bars together (Bonferroni). A bar's customdata: subject, stage, n, lower and upper end of the interval.
    """
    shown = scores[scores["subject"].isin(subjects)] if subjects else scores
    stages = list(dict.fromkeys(scores.sort_values("stage", key=stage_rank)["stage"]))
    trials = {(r["subject"], r["stage"]): float(r["n"]) for r in independent.to_dict("records")}
    order = [*subjects] or natural_order(shown["subject"].tolist())
    mean = averages(shown)
    names = [*order, *[AVERAGE] * (len(mean) > 0)]
    x = {"title": "Subject", "type": "category", "categoryorder": "array", "categoryarray": names}
    y = {"title": "Accuracy, %", "range": [0, 105], "tickvals": [0, 20, 40, 60, 80, 100]}
    fig = theme.figure(440, x, y, barmode="group", bargap=0.22, bargroupgap=0.04)
    for stage in stages:
        fig.add_trace(_bars(stage, shown[shown["stage"] == stage], trials, mean))
    if paper is not None:
        for stage in [s for s in stages if s in set(paper["stage"])]:
            fig.add_trace(_hollow(stage, paper[(paper["stage"] == stage) & paper["subject"].isin(order)]))
    alpha = ALPHA / (max(1, len(shown)) if corrected else 1)
    _add_chance(fig, order, trials, classes, majority, alpha, len(shown))
    if time_only:
        fig.add_trace(
            _ticks(
                "time alone",
                {s: 100 * time_only[s] for s in order if s in time_only},
                "line-ew-open",
                "guessing from the trial's position in the session: %{y:.1f} %<extra></extra>",
            )
        )
    return fig


def _bars(stage: str, rows: pd.DataFrame, trials: dict[tuple[str, str], float], mean: pd.DataFrame) -> go.Bar:
    bars = []  # name, accuracy, distance to the interval's upper and lower end, customdata
    for row in rows.to_dict("records"):
        name, value, n = row["subject"], row["accuracy"], trials.get((row["subject"], stage), 0)
        low, high = wilson(value * n, n)
        few = f", counting as {n:.1f}" if n < row["n"] - 0.05 and row["level"] == "trial" else ""
        custom = [name, stage, f"n = {row['n']}{few}", f"95 % interval {100 * low:.0f}–{100 * high:.0f} %"]
        bars.append((name, value, high - value, value - low, custom))
    for row in mean[mean["stage"] == stage].to_dict("records"):
        spread = 0.0 if row["sd"] != row["sd"] else float(row["sd"])
        custom = [AVERAGE, stage, f"{row['subjects']} subjects", f"± {100 * spread:.1f} (sd over subjects)"]
        bars.append((AVERAGE, float(row["accuracy"]), spread, spread, custom))
    names, values, up, down, customs = zip(*bars, strict=True) if bars else ((),) * 5
    return go.Bar(
        name=theme.label(stage),
        x=names,
        y=[100 * v for v in values],
        customdata=customs,
        offsetgroup=stage,
        marker={"color": theme.colour(stage)},
        error_y={
            "type": "data",
            "array": [100 * v for v in up],
            "arrayminus": [100 * v for v in down],
            "thickness": 1,
            "width": 2,
            "color": theme.GREY,
        },
        # A click dims the other bars instead of hiding them.
        unselected={"marker": {"opacity": 0.55}},
        hovertemplate=(
            f"subject %{{customdata[0]}}, {theme.label(stage)}: %{{y:.1f}} %, %{{customdata[2]}}"
            "<br>%{customdata[3]}<extra></extra>"
        ),
    )


def _hollow(stage: str, rows: pd.DataFrame) -> go.Bar:
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


def _add_chance(
    fig: go.Figure,
    order: Sequence[str],
    trials: Mapping[tuple[str, str], float],
    classes: int,
    majority: Mapping[str, float],
    alpha: float,
    bars: int,
) -> None:
    """Add the chance line of each subject, for the smallest n among its stages."""
    lines: dict[str, float] = {}
    for subject in order:
        counts = [n for (name, _), n in trials.items() if name == subject]
        if counts:
            lines[subject] = 100 * chance_line(min(counts), classes, alpha, majority.get(subject, 0.0))
    style = {"color": theme.GREY, "width": 2, "dash": "dash"}
    levels = [(position, lines[subject]) for position, subject in enumerate(order) if subject in lines]
    # Adding the shapes one by one takes a third of a second for 42 subjects.
    fig.update_layout(
        shapes=[
            {"type": "line", "x0": position - 0.5, "x1": position + 0.5, "y0": y, "y1": y, "line": style}
            for position, y in levels
        ]
    )
    one = alpha == ALPHA
    hover = f"chance line at the {100 * alpha:.2g} % level: %{{y:.1f}} %"
    if one and bars >= 1 / ALPHA:
        hover += f"<br>of {bars} bars that only guess, about {bars * ALPHA:.0f} exceed it"
    fig.add_trace(_ticks("chance line", lines, "line-ew", f"{hover}<extra></extra>"))


def _ticks(name: str, values: Mapping[str, float], symbol: str, hover: str) -> go.Scatter:
    """Return short horizontal marks, one per subject, in per cent."""
    return go.Scatter(
        name=name,
        x=list(values),
        y=list(values.values()),
        mode="markers",
        marker={"symbol": symbol, "size": 12, "line": {"color": theme.GREY, "width": 2}},
        hovertemplate=hover,
    )
