"""Colours and words that are the same on every page, and the layout that every figure starts from.

The colours are those of Okabe & Ito, which colour-blind readers can tell apart. They are used for nothing else than
their stage; chance and references are grey, published values are hollow. Text and grid colours come from Streamlit's
theme, so that figures follow light and dark.
"""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

COLOURS = {
    "vision": "#0072B2",
    "audio": "#E69F00",
    "eeg": "#009E73",
    "fusion": "#D55E00",
    "fusion:best": "#7A5C48",
    "fusion:mean": "#F0A57A",
    "fusion:calibrated": "#E8C3AC",
    "fusion:concat": "#B8896F",
    "fusion:paper": "#9C4A12",
    "majority": "#9A9A9A",
}
GREY = "#8A8A8A"
LABELS = {
    "vision": "Vision",
    "audio": "Audio",
    "eeg": "EEG",
    "fusion": "Fusion",
    "fusion:best": "Best single modality",
    "fusion:mean": "Mean of softmaxes",
    "fusion:calibrated": "Calibrated mean",
    "fusion:concat": "Concatenation",
    "fusion:paper": "Published layer",
    "majority": "Majority class",
}
#: Readable on light and dark ground; the state is always written out as well.
STATE_COLOURS = {
    "done": "#2E8B6B",
    "running": "#0072B2",
    "queued": "#8A8A8A",
    "blocked": "#8A8A8A",
    "failed": "#C8442C",
    "damaged": "#C8442C",
    "cancelled": "#8A8A8A",
    "not responding": "#B8860B",
}
#: Attributions: blue speaks against the class, red for it.
DIVERGING = "RdBu_r"
SEQUENTIAL = "Cividis"
#: Plotly's buttons cover small charts and reach for the network in one case: only the picture export stays.
CHART_CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["zoom2d", "pan2d", "select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
}
#: Said wherever attention shares are shown.
SHARES = (
    "Attention shares are the weights of the modalities' own decisions in the fused one: with m of them, indifference "
    "would give each 1/m. A weight alone does not show what swayed the decision; see the attributions."
)


def label(stage: str) -> str:
    """A stage's name as pages write it."""
    return LABELS.get(stage, stage)


def colour(stage: str) -> str:
    """A stage's colour."""
    return COLOURS.get(stage, GREY)


def figure(height: int = 360, **layout: Any) -> go.Figure:
    """An empty figure: legend below, room made for the axes' labels, no title (pages write those)."""
    fig = go.Figure()
    fig.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 16, "b": 8},
        # Anchored to the figure, not to the plot: whatever length the axis labels have, they do not meet.
        legend={
            "orientation": "h",
            "yref": "container",
            "yanchor": "bottom",
            "y": 0,
            "x": 0,
            "title": None,
            "traceorder": "normal",
        },
        xaxis={"automargin": True},
        yaxis={"automargin": True},
        **layout,
    )
    return fig


def plural(number: int, word: str) -> str:
    """``1 trial``, ``1,200 trials``."""
    return f"{number:,} {word}{'s' * (number != 1)}"


def percent(value: float, digits: int = 0) -> str:
    """A fraction as ``63 %``; a dash where there is none."""
    return "–" if value != value else f"{100 * value:.{digits}f} %"


def p_value(p: float) -> str:
    """A p value as it is written: never as 0.000."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
