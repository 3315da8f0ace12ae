"""Figures of a dataset's health (label balance, durations, faces) and small previews of a new dataset's first trial.

In: the tables of ``eavdash.health.HealthReport`` and bounded arrays of ``eavdash.data.preview``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from eavdash.config.choices import MODALITIES
from eavdash.report import theme

if TYPE_CHECKING:
    from eavdash.data.preview import VideoPreview

_SMALL = 130  # pixels, height of a preview
_SMALL_CHANNELS = 8
_SUBJECTS = {"type": "category", "title": "Subject"}  # an axis


def label_balance(labels: pd.DataFrame) -> go.Figure:
    """Draw the trials per label, subjects stacked; ``labels``: a column subject, then one per label."""
    names = [str(c) for c in labels.columns if c != "subject"]
    fig = theme.figure(300, {"type": "category"}, {"title": "Trials"}, barmode="stack", showlegend=False)
    for row in labels.to_dict("records"):
        fig.add_trace(
            go.Bar(
                x=names,
                y=[row[name] for name in names],
                marker={"color": theme.GREY, "line": {"color": "rgba(255,255,255,0.8)", "width": 0.5}},
                customdata=[str(row["subject"])] * len(names),
                hovertemplate="subject %{customdata}: %{y} trials of %{x}<extra></extra>",
            )
        )
    return fig


def durations(recordings: pd.DataFrame) -> go.Figure:
    """Draw the median duration in seconds per subject and modality, with a bar from minimum to maximum."""
    y = {"title": "Duration, s", "rangemode": "tozero"}
    fig = theme.figure(300, _SUBJECTS, y, scattermode="group", scattergap=0.3)
    fig.update_layout(margin_b=64)
    for modality in MODALITIES:
        rows = recordings[(recordings["modality"] == modality) & recordings["duration"].notna()]
        if rows.empty:
            continue
        by = rows.groupby("subject", sort=False)["duration"].agg(["min", "median", "max", "size"])
        fig.add_trace(
            go.Scatter(
                x=[str(s) for s in by.index],
                y=by["median"],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": by["max"] - by["median"],
                    "arrayminus": by["median"] - by["min"],
                    "width": 0,
                },
                mode="markers",
                name=theme.label(modality),
                offsetgroup=modality,
                marker={"color": theme.colour(modality), "size": 8},
                customdata=by[["min", "max", "size"]],
                hovertemplate="subject %{x}: %{y:.2f} s (%{customdata[0]:.2f} to %{customdata[1]:.2f} s, "
                "%{customdata[2]} recordings)",
            )
        )
    return fig


def faces(recordings: pd.DataFrame) -> go.Figure | None:
    """Draw each subject's share of checked frames with a detected face; None if no frame was checked."""
    rows = recordings[(recordings["modality"] == "vision") & (recordings["faces_looked"] > 0)]
    if rows.empty:
        return None
    by = rows.groupby("subject", sort=False)[["faces_found", "faces_looked"]].sum()
    fig = theme.figure(300, _SUBJECTS, {"title": "Frames with a face, %", "range": [0, 100]}, showlegend=False)
    fig.add_trace(
        go.Bar(
            x=[str(s) for s in by.index],
            y=100 * by["faces_found"] / by["faces_looked"],
            marker={"color": theme.colour("vision")},
            customdata=by,
            hovertemplate="subject %{x}: %{y:.0f} % (%{customdata[0]} of %{customdata[1]} frames)<extra></extra>",
        )
    )
    return fig


def video_summary(video: VideoPreview) -> str:
    """Return duration, size and rate of a clip in one line."""
    info = video.info
    size = f"{info.width} x {info.height}"
    return (
        f"Picture, {size}" if info.still else f"Video, {video.duration:.1f} s, {size}, {info.frames_per_second:.3g} Hz"
    )


def small_wave(low: np.ndarray, high: np.ndarray) -> go.Figure:
    """Draw an audio envelope without axes: ``low`` and ``high`` (time,) of equal bins."""
    fig = _small()
    line = {"color": theme.colour("audio"), "width": 1}
    fig.add_trace(go.Scatter(y=low, mode="lines", line=line, hoverinfo="skip"))
    fig.add_trace(go.Scatter(y=high, mode="lines", line=line, fill="tonexty", hoverinfo="skip"))
    return fig


def small_eeg(microvolt: np.ndarray) -> go.Figure:
    """Draw a few evenly spaced channels (channel, time) in µV, one below the other, without axes."""
    chosen = np.unique(np.linspace(0, len(microvolt) - 1, min(_SMALL_CHANNELS, len(microvolt))).astype(int))
    step = max(1, microvolt.shape[1] // 1000)
    traces = np.asarray(microvolt, float)[chosen, ::step]
    spacing = 2 * (float(np.nanpercentile(np.abs(traces), 99)) or 1.0)
    fig = _small()
    line = {"color": theme.colour("eeg"), "width": 1}
    for i, trace in enumerate(traces):
        fig.add_trace(go.Scatter(y=trace - i * spacing, mode="lines", line=line, hoverinfo="skip"))
    return fig


def _small() -> go.Figure:
    fig = theme.figure(_SMALL, {"visible": False}, {"visible": False}, showlegend=False)
    return fig.update_layout(margin={"l": 0, "r": 0, "t": 0, "b": 0})
