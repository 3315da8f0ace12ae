"""Means over subjects of the baselines, beside the stage whose windows they read.

In: tables of ``tables.scores`` with baselines. Out: a Plotly figure, and the sentence that says what its intervals are.
"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from eavdash.config.choices import STAGES
from eavdash.report import theme
from eavdash.report.figures.answer import metric_name
from eavdash.results.paired import least_subjects, mean_interval
from eavdash.results.statistics import wilson
from eavdash.results.tables import BASELINES, BESIDE
from eavdash.text import plural

#: Pixels of the figure, and of each of its rows.
_FRAME, _ROW = 90, 24


def baseline_means(scores: pd.DataFrame, independent: pd.DataFrame, metric: str = "accuracy") -> go.Figure:
    """Draw a point per stage and baseline: the mean over subjects and its 95 % interval.


    ``independent``: the scores at level trial, whose n is that of the intervals. A stage is a diamond above its
    baselines. Customdata of a point: number of subjects, of trials, lower and upper end of the interval in per cent.
    """
    there = set(scores["stage"])
    order = [name for stage in STAGES for name in (stage, *BESIDE[stage]) if name in there and there & {*BESIDE[stage]}]
    trials = independent.groupby("stage")["n"].sum()
    x = {"title": f"{metric_name(metric)}, %", "range": [0, 105]}
    y = {"type": "category", "autorange": "reversed", "categoryarray": [theme.label(name) for name in order]}
    fig = theme.figure(_FRAME + _ROW * len(order), x, {**y, "categoryorder": "array"}, showlegend=False)
    for name in order:
        values = scores.loc[scores["stage"] == name, metric]
        mean, n = float(values.mean()), int(trials.get(name, 0))
        low = high = mean  # of one or a few subjects only an accuracy has an interval
        if len(values) >= least_subjects():
            low, high = mean_interval(values.tolist())
        elif metric == "accuracy":
            low, high = wilson(mean * n, n)
        low, high = max(0.0, low), min(1.0, high)
        fig.add_trace(
            go.Scatter(
                name=theme.label(name),
                x=[100 * mean],
                y=[theme.label(name)],
                customdata=[[plural(len(values), "subject"), plural(n, "trial"), 100 * low, 100 * high]],
                mode="markers",
                marker={
                    "color": theme.colour(name),
                    "size": 9 if name in BASELINES else 12,
                    "symbol": "circle" if name in BASELINES else "diamond",
                },
                error_x={
                    "type": "data",
                    "array": [100 * (high - mean)],
                    "arrayminus": [100 * (mean - low)],
                    "thickness": 1,
                    "width": 3,
                    "color": theme.GREY,
                },
                hovertemplate=(
                    "%{y}: %{x:.1f} %, 95 % interval %{customdata[2]:.0f}–%{customdata[3]:.0f} %"
                    "<br>%{customdata[0]}, %{customdata[1]}<extra></extra>"
                ),
            )
        )
    return fig


def means_note(scores: pd.DataFrame, metric: str = "accuracy") -> str:
    """Return the sentence about what the points and intervals of :func:`baseline_means` are."""
    subjects = scores["subject"].nunique()
    if metric != "accuracy" and subjects < least_subjects():
        return f"Means over {plural(subjects, 'subject')}, too few for intervals. Diamonds: the stages themselves."
    of = (
        "Student's, over subjects" if subjects >= least_subjects() else "Wilson's, over the test trials of all subjects"
    )
    return f"Means over {plural(subjects, 'subject')} with 95 % intervals ({of}). Diamonds: the stages themselves."
