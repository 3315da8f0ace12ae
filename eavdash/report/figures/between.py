"""Two studies side by side, and the steps from published to honest scoring, as tables, sentences and figures.

In: a :class:`~eavdash.results.between.Between` and steps of :mod:`eavdash.results.optimism`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from eavdash.report import theme
from eavdash.report.figures.inference import signed
from eavdash.results.between import Between
from eavdash.results.optimism import Step
from eavdash.results.paired import ALPHA, least_subjects
from eavdash.text import p_value, plural


def between_table(found: Between) -> pd.DataFrame:
    """Return a row per stage, as texts."""
    rows = []
    for stage, c in found.rows.items():
        few = c.subjects < least_subjects()
        rows.append(
            {
                "stage": theme.label(stage),
                "subjects": c.subjects,
                "trials": c.trials,
                c.a: theme.percent(c.mean_a, 1),
                c.b: theme.percent(c.mean_b, 1),
                "difference": f"{signed(c.difference)} points",
                "95 % interval": "too few" if few or math.isnan(c.low) else f"{signed(c.low)} to {signed(c.high)}",
                "better / worse": f"{c.better} / {c.worse}",
                "p (Holm)": "too few" if few else "–" if found.why_not else p_value(c.p_holm),
                "effect": "too few" if few else f"{c.effect:+.2f}",
            }
        )
    return pd.DataFrame(rows)


def answer(found: Between, stage: str) -> str:
    """Return a sentence on one stage."""
    c = found.rows[stage]
    how = f"{signed(c.difference)} points over {plural(c.subjects, 'subject')} and {plural(c.trials, 'common trial')}"
    if found.why_not:
        return f"{theme.label(stage)}: {c.a} minus {c.b} is {how}. {found.why_not}"
    if c.subjects < least_subjects():
        return f"{theme.label(stage)}: {c.a} minus {c.b} is {how}; too few subjects to tell."
    told = f"{how}, 95 % interval {signed(c.low)} to {signed(c.high)}, {p_value(c.p_holm)} after Holm"
    if c.p_holm >= ALPHA:
        return f"{theme.label(stage)}: no difference between {c.a} and {c.b} can be told ({told})."
    return f"{theme.label(stage)}: {c.a} is {'better' if c.difference > 0 else 'worse'} than {c.b} ({told})."


def step_table(steps: Sequence[Step]) -> pd.DataFrame:
    """Return the steps as texts."""
    return pd.DataFrame(
        [
            {
                "scored": step.name,
                "accuracy": theme.percent(step.accuracy, 1),
                "change": "" if number == 0 else f"{signed(step.change)} points",
                "why": step.why,
            }
            for number, step in enumerate(steps)
        ]
    )


def waterfall(steps: Sequence[Step], stage: str) -> go.Figure:
    """Draw the steps: the first and the last score as bars, the changes between them."""
    names = [step.name for step in steps]
    fig = theme.figure(
        320, {"type": "category"}, {"title": "Accuracy, %", "range": [0, 105]}, showlegend=False, barmode="overlay"
    )
    before = 0.0
    for number, step in enumerate(steps):
        whole = number in (0, len(steps) - 1)
        base, height = (0.0, step.accuracy) if whole else (before, step.change)
        fig.add_trace(
            go.Bar(
                x=[names[number]],
                y=[100 * height],
                base=[100 * base],
                marker_color=theme.colour(stage) if whole else theme.GREY,
                text=[theme.percent(step.accuracy, 1) if whole else f"{signed(step.change)} points"],
                textposition="outside",
                cliponaxis=False,
                hovertemplate="%{x}<extra></extra>",
            )
        )
        before = step.accuracy
    return fig
