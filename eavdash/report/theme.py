"""Colours and labels of all pages, and the base layout of all figures.

The colours are those of Okabe & Ito, which colour-blind readers can distinguish. Each is used only for its stage;
chance and references are grey, published values are hollow. Text and grid colours come from Streamlit's theme, so that
figures follow light and dark mode.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    "fusion:transformer": "#8F3B76",
    "fusion:concat": "#B8896F",
    "fusion:paper": "#9C4A12",
    "fusion:attention": "#C97B4A",
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
    "fusion:attention": "Attention",
    "fusion:transformer": "Transformer",
    "majority": "Majority class",
}
#: Baselines beside an encoder: their names, and how much white is mixed into the encoder's colour.
BESIDE = {
    "linear": ("frozen features", 0.3),
    "tangent": ("tangent space", 0.45),
    "bandpower": ("band power", 0.6),
    "logmel": ("log-mel", 0.6),
    "crops": ("crops", 0.6),
    "time": ("time alone", 0.75),
    "majority": ("majority class", 0.85),
}
#: Readable on light and dark backgrounds; the state is always shown as text too.
STATE_COLOURS = {
    "done": "#2E8B6B",
    "running": "#0072B2",
    "queued": "#8A8A8A",
    "waiting": "#8A8A8A",
    "blocked": "#8A8A8A",
    "failed": "#C8442C",
    "damaged": "#C8442C",
    "cancelled": "#8A8A8A",
    "not responding": "#B8860B",
}
SEQUENTIAL = "Cividis"
#: Blue opposes, red supports. Clear at 0, so that a light page stays light there, a dark one dark, and what is below
#: visible.
ATTRIBUTIONS = [[0, "rgba(5,113,176,0.95)"], [0.5, "rgba(160,160,160,0)"], [1, "rgba(202,0,32,0.95)"]]
#: Plotly's buttons cover small charts, one uses the network, and its picture lacks the study's caveats: none stays.
CHART_CONFIG: dict[str, Any] = {"displaylogo": False, "displayModeBar": False}
#: Shown with all attention shares.
SHARES = (
    "Attention shares are the weights of the encoders' opinions in the fused decision; with m modalities, equal "
    "weights are 1/m. A weight alone does not show what the decision depends on; see the attributions."
)


def label(stage: str) -> str:
    """Return a stage's display name."""
    encoder, _, name = stage.partition(":")
    if stage not in LABELS and encoder in LABELS and name in BESIDE:
        return f"{LABELS[encoder]}: {BESIDE[name][0]}"
    return LABELS.get(stage, stage)


def colour(stage: str) -> str:
    """Return a stage's colour."""
    encoder, _, name = stage.partition(":")
    if stage not in COLOURS and encoder in COLOURS and name in BESIDE:
        white = BESIDE[name][1]
        parts = (int(COLOURS[encoder][at : at + 2], 16) for at in (1, 3, 5))
        return "#" + "".join(f"{round(part + white * (255 - part)):02X}" for part in parts)
    return COLOURS.get(stage, GREY)


def figure(height: int, x: Mapping[str, Any], y: Mapping[str, Any], **layout: Any) -> go.Figure:
    """Return an empty figure with the legend below, automatic margins and the properties of its axes.

    Pages write the titles.
    """
    fig = go.Figure()
    fig.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 16, "b": 8},
        # Anchored to the figure, not to the plot, so that long axis labels do not overlap the legend.
        legend={
            "orientation": "h",
            "yref": "container",
            "yanchor": "bottom",
            "y": 0,
            "x": 0,
            "title": None,
            "traceorder": "normal",
        },
        xaxis={"automargin": True, **x},
        yaxis={"automargin": True, **y},
        **layout,
    )
    return fig


def signed(value: float) -> str:
    """Return a value in log-probability with its sign: ``+0.42``."""
    return f"{value:+.2f}".replace("-", "−")


def percent(value: float, digits: int = 0) -> str:
    """Return a fraction in per cent, such as ``63 %``, which no line breaks in two; a dash for NaN."""
    return "–" if value != value else f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"
