"""Bars of a score per subject and stage, optionally with the published values, and hatched where one is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from eavdash.report import theme
from eavdash.report.figures.answer import metric_name
from eavdash.report.figures.results import AVERAGE, averages, stages_of
from eavdash.results.metrics import METRICS
from eavdash.results.paired import ALPHA
from eavdash.results.scored import STAGE_RANK
from eavdash.results.statistics import chance_line, wilson
from eavdash.text import natural_order, plural, shortened

#: Bars beside each other that are still wide enough to be clicked at a width of 1440 pixels (42 subjects x 4 stages).
BARS_PER_ROW = 172
#: With more subjects than this, points are drawn instead of bars (:mod:`eavdash.report.figures.subject_views`).
MOST_SUBJECTS = 60
_ROW, _LEGEND = 300, 140  # pixels


def subject_bars(
    scores: pd.DataFrame,
    independent: pd.DataFrame,
    classes: int,
    majority: Mapping[str, float],
    paper: pd.DataFrame | None = None,
    subjects: Sequence[str] = (),
    time_only: Mapping[str, float] | None = None,
    corrected: bool = False,
    metric: str = "accuracy",
    holes: pd.DataFrame | None = None,
    spread: Mapping[tuple[str, str], str] | None = None,
) -> go.Figure:
    """Draw grouped bars per subject and stage, then the average if there are several subjects.

    ``scores``: from ``tables.scores`` at any level. ``independent``: subject, stage and n, the effective number of
    trials (:mod:`eavdash.results.groups`), which determines the Wilson intervals and the chance line: windows and
    frames of one trial are not independent, and often the trials of one group are not either. ``paper``: Table I,
    drawn hollow. ``majority``: share of the most frequent label by subject. ``subjects``: those to draw, in this
    order. ``time_only``: accuracy of guessing from the trial's position, by subject. ``corrected``: the chance line of
    all bars together (Bonferroni). Intervals, chance and time-only belong to accuracy; another ``metric`` has none of
    them. ``holes``: what is missing (:func:`eavdash.results.subjects.holes`), drawn hatched with its state.
    ``spread``: the values of seeds and folds by subject and stage, on hover.

    A bar's customdata: subject, stage, n, lower and upper end of the interval, the run that a click opens. More bars
    than :data:`BARS_PER_ROW` go into several rows.
    """
    shown = scores[scores["subject"].isin(subjects)] if subjects else scores
    stages = stages_of(scores)
    if holes is not None:
        stages = sorted({*stages, *holes["stage"]}, key=STAGE_RANK.__getitem__)
    trials = {(r["subject"], r["stage"]): float(r["n"]) for r in independent.to_dict("records")}
    order = [*subjects] or natural_order(shown["subject"].tolist())
    mean = averages(shown, metric)
    names = [*order, *[AVERAGE] * (len(mean) > 0)]
    is_accuracy = metric == "accuracy"
    count = max(1, math.ceil(len(names) * len(stages) / BARS_PER_ROW))
    size = math.ceil(len(names) / count) if names else 1
    rows = [names[at : at + size] for at in range(0, len(names), size)] or [[]]
    fig = theme.figure(_ROW * len(rows) + _LEGEND, {}, {}, barmode="group", bargap=0.14, bargroupgap=0.02)
    alpha = ALPHA / (max(1, len(shown)) if corrected else 1)
    for number, part in enumerate(rows):
        _add_axes(fig, number, len(rows), part, metric)
        drawn: list[go.Bar | go.Scatter] = []
        for stage in stages:
            rows_of = shown[(shown["stage"] == stage) & shown["subject"].isin(part)]
            drawn.append(_bars(stage, rows_of, trials, mean if AVERAGE in part else mean[:0], metric, spread or {}))
            if holes is not None:
                drawn += _holes(stage, holes[(holes["stage"] == stage) & holes["subject"].isin(part)], rows_of)
        if paper is not None:
            for stage in [s for s in stages if s in set(paper["stage"])]:
                drawn.append(_hollow(stage, paper[(paper["stage"] == stage) & paper["subject"].isin(part)]))
        if is_accuracy:
            people = [name for name in part if name != AVERAGE]
            drawn.append(_add_chance(fig, number, people, trials, classes, majority, alpha, len(shown)))
            if time_only:
                there = {s: 100 * time_only[s] for s in people if s in time_only}
                hover = "guessing from the trial's position in the session: %{y:.1f} %<extra></extra>"
                drawn.append(_ticks("time alone", there, "line-ew-open", hover))
        for trace in drawn:
            suffix = str(number + 1) if number else ""
            trace.update(xaxis=f"x{suffix}", yaxis=f"y{suffix}")
            if len(rows) > 1:
                trace.update(legendgroup=trace.name, showlegend=not number)
        fig.add_traces(drawn)
    return fig


def _add_axes(fig: go.Figure, number: int, rows: int, names: Sequence[str], metric: str) -> None:
    suffix = str(number + 1) if number else ""
    gap = 0.1 / rows if rows > 1 else 0.0
    bottom = (rows - 1 - number) / rows
    x: dict[str, Any] = {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": [*names],
        "anchor": f"y{suffix}",
    }
    x |= {"range": [-0.5, len(names) - 0.5]}
    y = {"range": [0, 105], "tickvals": [0, 20, 40, 60, 80, 100], "anchor": f"x{suffix}"}
    title = f"{metric_name(metric)}, %"
    fig.update_layout(
        {
            f"xaxis{suffix}": {"automargin": True, **x, **({"title": "Subject"} if number == rows - 1 else {})},
            f"yaxis{suffix}": {"automargin": True, "title": title, "domain": [bottom + gap, bottom + 1 / rows], **y},
        }
    )


def _holes(stage: str, rows: pd.DataFrame, scores: pd.DataFrame) -> list[go.Bar]:
    """Return hatched bars of what is missing; of a subject with a part of its runs, a narrow cap above its bar."""
    if rows.empty:
        return []
    have = set(scores["subject"])
    whole = [name not in have for name in rows["subject"]]
    texts = rows["state"].tolist()
    said = [
        f"{state}, {done} of {plural(planned, 'run')} done" if planned else state
        for state, done, planned in zip(texts, rows["done"], rows["planned"], strict=True)
    ]
    custom = [
        [name, stage, text, hole_text(reason, run), run]
        for name, text, reason, run in zip(rows["subject"], said, rows["reason"], rows["run"], strict=True)
    ]
    return [
        go.Bar(
            name="not there, or not all runs",
            legendgroup="holes",
            showlegend=False,
            x=rows["subject"].tolist(),
            y=[100 if alone else 4 for alone in whole],
            base=[0 if alone else 100 for alone in whole],
            offsetgroup=stage,
            customdata=custom,
            text=[text if alone and len(rows) <= 15 else "" for text, alone in zip(texts, whole, strict=True)],
            textangle=-90,
            textposition="inside",
            insidetextanchor="start",
            constraintext="none",
            textfont={"color": theme.GREY, "size": 12},
            marker={
                "color": "rgba(138,138,138,0.08)",
                "line": {"color": theme.GREY, "width": 1},
                "pattern": {"shape": "/", "fgcolor": theme.colour(stage), "size": 6, "solidity": 0.2},
            },
            unselected={"marker": {"opacity": 1}},
            hovertemplate=(
                f"subject %{{customdata[0]}}, {theme.label(stage)}: %{{customdata[2]}}"
                "<br>%{customdata[3]}<extra></extra>"
            ),
        )
    ]


def hole_text(reason: str, run: str) -> str:
    """Return what a hole says beside its state: why, and what a click does."""
    return "\n".join(filter(None, [shortened(reason), "click to open the run" if run else ""]))


def _bars(
    stage: str,
    rows: pd.DataFrame,
    trials: Mapping[tuple[str, str], float],
    mean: pd.DataFrame,
    metric: str,
    spreads: Mapping[tuple[str, str], str],
) -> go.Bar:
    bars = []  # name, value, distance to the interval's upper and lower end, customdata
    for row in rows.to_dict("records"):
        name, value = row["subject"], row[metric]
        if metric == "accuracy":
            n = trials.get((name, stage), 0)
            low, high = wilson(value * n, n)
            few = f", counting as {n:.1f}" if n < row["n"] - 0.05 and row["level"] == "trial" else ""
            custom = [name, stage, f"n = {row['n']}{few}", f"95 % interval {100 * low:.0f}–{100 * high:.0f} %", ""]
        else:
            low = high = value
            custom = [name, stage, f"n = {row['n']}", METRICS[metric], ""]
        custom[3] += f"\n{said}" if (said := spreads.get((name, stage), "")) else ""
        bars.append((name, value, high - value, value - low, custom))
    for row in mean[mean["stage"] == stage].to_dict("records"):
        spread = 0.0 if row["sd"] != row["sd"] else float(row["sd"])
        custom = [AVERAGE, stage, f"{row['subjects']} subjects", f"± {100 * spread:.1f} (sd over subjects)", ""]
        bars.append((AVERAGE, float(row[metric]), spread, spread, custom))
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
    # Adding the shapes one by one takes a third of a second for 42 subjects.
    more = [
        {"type": "line", "x0": position - 0.5, "x1": position + 0.5, "y0": y, "y1": y, "line": style, **refs}
        for position, y in levels
    ]
    fig.update_layout(shapes=[*fig.layout.shapes, *more])
    one = alpha == ALPHA
    hover = f"chance line at the {100 * alpha:.2g} % level: %{{y:.1f}} %"
    if one and bars >= 1 / ALPHA:
        hover += f"<br>of {bars} bars that only guess, about {bars * ALPHA:.0f} exceed it"
    return _ticks("chance line", lines, "line-ew", f"{hover}<extra></extra>")


def _ticks(name: str, values: Mapping[str, float], symbol: str, hover: str) -> go.Scatter:
    """Return short horizontal marks, one per subject, in per cent."""
    return go.Scatter(
        name=name,
        x=list(values),
        y=list(values.values()),
        mode="markers",
        marker={"symbol": symbol, "size": 12, "color": theme.GREY, "line": {"color": theme.GREY, "width": 2}},
        hovertemplate=hover,
    )
