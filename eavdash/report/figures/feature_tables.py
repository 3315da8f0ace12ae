"""Figures of tables of features: their columns over time, and attributions by column and time.

In: arrays of ``eavdash.data.preview`` and of explanations. Of many columns only some are drawn, which the pages say.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from eavdash.report import theme

LINES = 24  # columns in a figure of lines
ROWS = 40  # columns in a heat map
_STEPS = 1000  # rows that are sent to the browser


def feature_lines(
    columns: Sequence[str], times: np.ndarray, values: np.ndarray, modality: str, small: bool = False
) -> go.Figure:
    """Draw the first columns over time (s), one below the other, each from its least to its largest value.

    ``values`` (row, column), NaN where not recorded, which leaves gaps; ``small``: a preview without axes.
    """
    count = min(LINES, len(columns))
    keep = np.unique(np.linspace(0, len(times) - 1, min(len(times), _STEPS)).astype(int))
    shown = np.asarray(values, float)[keep, :count]
    low, high = (
        np.array([f(c[np.isfinite(c)], initial=i) for c in shown.T]) for f, i in ((np.min, np.inf), (np.max, -np.inf))
    )
    span = np.where(high > low, high - low, 1.0)
    scaled = 0.8 * (shown - np.where(np.isfinite(low), low, 0.0)) / span
    ticks: dict[str, object] = {"tickmode": "array", "tickvals": [-n + 0.4 for n in range(count)]}
    ticks |= {"ticktext": list(columns[:count]), "showgrid": False, "zeroline": False, "tickfont": {"size": 10}}
    hidden = {"visible": False}
    fig = theme.figure(
        130 if small else max(180, 22 * count + 80),
        hidden if small else {"title": "Time, s"},
        hidden if small else ticks,
        showlegend=False,
    )
    if small:
        fig.update_layout(margin={"l": 0, "r": 0, "t": 0, "b": 0})
    for n in range(count):
        fig.add_trace(
            go.Scatter(
                x=np.asarray(times)[keep],
                y=scaled[:, n] - n,
                name=columns[n],
                customdata=shown[:, n],
                mode="lines",
                line={"color": theme.colour(modality), "width": 1},
                hovertemplate="%{fullData.name} at %{x:.2f} s: %{customdata:.3g}<extra></extra>",
            )
        )
    return fig


def strongest(heat: np.ndarray) -> np.ndarray:
    """Return the places of the columns of ``heat`` (time, column) with the largest attributions, in their order."""
    return np.sort(np.argsort(-np.abs(heat).sum(axis=0), kind="stable")[:ROWS])
