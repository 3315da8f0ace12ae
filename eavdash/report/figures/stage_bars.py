"""Small bars of the mean accuracy per stage, for a glance at a study.

In: standings of stages. Out: a figure; the page beside it names the study.
"""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from eavdash.report import theme
from eavdash.results.subjects import Standing


def stage_bars(found: Sequence[Standing], guessing: float) -> go.Figure:
    """Return a bar per stage with its value; ``guessing``: the dotted line, a share of right decisions.

    The axis leaves room for "100 %" beside a full bar on a phone.
    """
    fig = theme.figure(
        44 + 26 * len(found), {"range": [0, 120], "visible": False}, {"autorange": "reversed"}, showlegend=False
    )
    fig.add_bar(
        x=[100 * s.mean for s in found],
        y=[theme.label(s.stage) for s in found],
        orientation="h",
        marker_color=[theme.colour(s.stage) for s in found],
        text=[theme.percent(s.mean) for s in found],
        textposition="outside",
        cliponaxis=False,
        width=0.7,
        hovertemplate="%{y}: %{x:.1f} %<extra></extra>",
    )
    fig.add_vline(x=100 * guessing, line={"dash": "dot", "width": 1.5, "color": theme.GREY})
    return fig


def stage_bars_alt(found: Sequence[Standing]) -> str:
    """Return the bars as a sentence."""
    return "Mean accuracy: " + ", ".join(f"{theme.label(s.stage)} {theme.percent(s.mean)}" for s in found) + "."
