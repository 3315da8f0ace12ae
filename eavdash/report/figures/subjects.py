"""A score per subject and stage as bars or sorted dots, with the published values, and hatched where one is missing.

Few subjects are groups of bars; of many, each stage has a panel of its own, so that bars stay wide enough to be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from eavdash.report import theme
from eavdash.report.figures.answer import metric_name
from eavdash.report.figures.references import PAPER, add_chance, hollow_bars, hollow_marks, ticks
from eavdash.report.figures.results import AVERAGE, averages, stages_of
from eavdash.results.metrics import METRICS
from eavdash.results.paired import ALPHA
from eavdash.results.scored import STAGE_RANK
from eavdash.results.statistics import wilson
from eavdash.text import natural_order, plural, shortened

#: More bars than these (10 subjects x 4 stages and their average) are too narrow beside each other: each stage has a
#: panel of its own.
BARS_IN_A_PANEL = 44
#: With more subjects than this, points are drawn instead of bars (:mod:`eavdash.report.figures.subject_views`).
MOST_SUBJECTS = 60
_ROW, _PANEL, _DOTS, _LEGEND = 300, 140, 190, 140  # pixels


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
    dots: bool = False,
) -> go.Figure:
    """Draw a bar per subject and stage, then the average if there are several subjects.

    ``scores``: from ``tables.scores`` at any level. ``independent``: subject, stage and n, the effective number of
    trials (:mod:`eavdash.results.groups`), which determines the Wilson intervals and the chance line: windows and
    frames of one trial are not independent, and often the trials of one group are not either. ``paper``: Table I,
    drawn hollow. ``majority``: share of the most frequent label by subject. ``subjects``: those to draw, in this
    order. ``time_only``: accuracy of guessing from the trial's position, by subject. ``corrected``: the chance line of
    all bars together (Bonferroni). Intervals, chance and time-only belong to accuracy; another ``metric`` has none of
    them. ``holes``: what is missing (:func:`eavdash.results.subjects.holes`), drawn hatched with its state.
    ``spread``: the values of seeds and folds by subject and stage, on hover. ``dots``: a panel per stage with dots
    instead of bars, in the order of that stage's scores.

    A mark's customdata: subject, stage, n, lower and upper end of the interval, the run that a click opens. More than
    :data:`BARS_IN_A_PANEL` bars have a panel per stage.
    """
    shown = scores[scores["subject"].isin(subjects)] if subjects else scores
    stages = stages_of(scores)
    if holes is not None:
        stages = sorted({*stages, *holes["stage"]}, key=STAGE_RANK.__getitem__)
    trials = {(r["subject"], r["stage"]): float(r["n"]) for r in independent.to_dict("records")}
    order = [*subjects] or natural_order(shown["subject"].tolist())
    mean = averages(shown, metric)
    last = [AVERAGE] * (len(mean) > 0)
    is_accuracy = metric == "accuracy"
    split = dots or (len(order) + len(last)) * len(stages) > BARS_IN_A_PANEL
    panels = [[stage] for stage in stages] if split else [stages]
    row = _DOTS if dots else _PANEL if split else _ROW
    fig = theme.figure(row * max(1, len(panels)) + _LEGEND, {}, {}, barmode="group", bargap=0.14, bargroupgap=0.02)
    alpha = ALPHA / (max(1, len(shown)) if corrected else 1)
    for number, inside in enumerate(panels):
        people = _sorted(order, shown, inside[0], metric) if dots else order
        title = f"{theme.label(inside[0]) if split else metric_name(metric)}, %"
        _add_axes(fig, number, len(panels), [*people, *last], title, named=dots)
        drawn: list[go.Bar | go.Scatter] = []
        for stage in inside:
            rows_of = shown[shown["stage"] == stage]
            bars = _bars(stage, rows_of, trials, mean, metric, spread or {})
            drawn.append(_dots(bars) if dots else bars)
            if holes is not None:
                drawn += _holes(stage, holes[(holes["stage"] == stage) & holes["subject"].isin(order)], rows_of)
            if paper is not None and stage in set(paper["stage"]):
                values = paper[(paper["stage"] == stage) & paper["subject"].isin(order)]
                drawn.append(hollow_marks(stage, values) if split else hollow_bars(stage, values))
        if is_accuracy:
            drawn.append(add_chance(fig, number, people, trials, classes, majority, alpha, len(shown)))
            if time_only:
                there = {s: 100 * time_only[s] for s in people if s in time_only}
                hover = "guessing from the trial's position in the session: %{y:.1f} %<extra></extra>"
                drawn.append(ticks("time alone", there, "x-thin-open", hover, size=7))
        for trace in drawn:
            suffix = str(number + 1) if number else ""
            trace.update(xaxis=f"x{suffix}", yaxis=f"y{suffix}")
            if split:  # the panels name the stages
                alike = trace.name in ("chance line", "time alone", PAPER)
                trace.update(legendgroup=trace.name, showlegend=alike and not number)
        fig.add_traces(drawn)
    return fig


def _sorted(order: Sequence[str], scores: pd.DataFrame, stage: str, metric: str) -> list[str]:
    """Return the subjects from the highest score of a stage to the lowest; those without one last."""
    values = scores[scores["stage"] == stage].set_index("subject")[metric].to_dict()
    return sorted(order, key=lambda name: -values.get(name, -1.0))


def _add_axes(fig: go.Figure, number: int, panels: int, names: Sequence[str], title: str, named: bool) -> None:
    """Add a panel's axes; ``named``: each panel names its subjects, otherwise only the last."""
    suffix = str(number + 1) if number else ""
    gap = (0.16 if named else 0.06) / panels if panels > 1 else 0.0
    bottom = (panels - 1 - number) / panels
    x: dict[str, Any] = {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": [*names],
        "anchor": f"y{suffix}",
        "range": [-0.5, len(names) - 0.5],
        "showticklabels": named or number == panels - 1,
    }
    ticks = [0, 20, 40, 60, 80, 100] if panels == 1 else [0, 50, 100]
    y = {"range": [0, 105], "tickvals": ticks, "anchor": f"x{suffix}"}
    fig.update_layout(
        {
            f"xaxis{suffix}": {"automargin": True, **x, **({"title": "Subject"} if number == panels - 1 else {})},
            f"yaxis{suffix}": {"automargin": True, "title": title, "domain": [bottom + gap, bottom + 1 / panels], **y},
        }
    )


def _dots(bars: go.Bar) -> go.Scatter:
    """Return the same marks as dots with their intervals; the average is a diamond."""
    return go.Scatter(
        name=bars.name,
        x=bars.x,
        y=bars.y,
        customdata=bars.customdata,
        mode="markers",
        marker={
            "color": bars.marker.color,
            "opacity": 1,  # of several sizes it would be less
            "size": [11 if name == AVERAGE else 7 for name in bars.x or ()],
            "symbol": ["diamond" if name == AVERAGE else "circle" for name in bars.x or ()],
        },
        error_y=bars.error_y.to_plotly_json(),
        unselected={"marker": {"opacity": 0.55}},
        hovertemplate=bars.hovertemplate,
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
