"""Figures of recordings: label balance, waveform, spectrogram, EEG traces.

In: tables of ``eavdash.data.health`` and bounded arrays of ``eavdash.data.preview``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from eavdash.config import COLUMN
from eavdash.ui import theme

if TYPE_CHECKING:
    from eavdash.data.health import Finding


def label_balance(labels: pd.DataFrame) -> go.Figure:
    """Trials per label, subjects stacked; ``labels``: a column subject, then one per label."""
    names = [str(c) for c in labels.columns if c != "subject"]
    fig = theme.figure(300, barmode="stack", showlegend=False)
    for row in labels.to_dict("records"):
        fig.add_trace(
            go.Bar(
                x=names,
                y=[row[name] for name in names],
                marker={"color": theme.GREY, "line": {"color": "rgba(255,255,255,0.8)", "width": 0.5}},
                hovertemplate=f"subject {row['subject']}: %{{y}} trials of %{{x}}<extra></extra>",
            )
        )
    fig.update_xaxes(type="category")
    fig.update_yaxes(title="Trials")
    return fig


def health_table(table: pd.DataFrame) -> pd.DataFrame:
    """The report's counts with columns that people read."""
    names = {m: label for m, label in theme.LABELS.items() if m in table.columns}
    names |= {f"missing_{m}": f"{label} missing" for m, label in names.items()}
    return table.rename(columns=names)


def fullest(rows: pd.DataFrame) -> int:
    """The place of the first trial with the most recordings: on EAV a speaking one, which has sound."""
    return int((rows[list(COLUMN.values())] != "").sum(axis=1).to_numpy().argmax()) if len(rows) else 0


def severities(findings: Sequence[Finding]) -> str:
    """``2 errors, 1 warning, 3 notes``."""
    names = {"error": "error", "warning": "warning", "info": "note"}
    counts = {word: sum(f.severity == severity for f in findings) for severity, word in names.items()}
    return ", ".join(f"{n} {word}{'s' * (n != 1)}" for word, n in counts.items())


def findings_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """The findings as a table, worst first."""
    columns = ["severity", "subject", "modality", "message", "remedy"]
    return pd.DataFrame([[getattr(f, c) for c in columns] for f in findings], columns=columns)


def facts(row: Mapping[Any, Any]) -> str:
    """A trial's columns in a line: label, group and whatever else its table holds; files and times left out."""
    left_out = {"subject", "trial", "eeg", "audio", "video", "start", "stop"}
    return " · ".join(f"{key} {value}" for key, value in row.items() if key not in left_out and str(value))


def waveform(times: np.ndarray, low: np.ndarray, high: np.ndarray) -> go.Figure:
    """The envelope of a sound: ``low`` and ``high`` (time,) at ``times`` (seconds)."""
    fig = theme.figure(150, showlegend=False)
    line = {"color": theme.colour("audio"), "width": 1}
    fig.add_trace(go.Scatter(x=times, y=low, mode="lines", line=line, hoverinfo="skip"))
    fig.add_trace(
        go.Scatter(x=times, y=high, mode="lines", line=line, fill="tonexty", hovertemplate="%{x:.2f} s<extra></extra>")
    )
    fig.update_xaxes(title="Time, s")
    fig.update_yaxes(title="Amplitude")
    return fig


def spectrogram(logmel: np.ndarray, times: np.ndarray) -> go.Figure:
    """Log-mel energies (time, mel) at ``times`` (seconds)."""
    fig = theme.figure(240)
    fig.add_trace(
        go.Heatmap(
            z=np.asarray(logmel).T,
            x=times,
            colorscale=theme.SEQUENTIAL,
            showscale=False,
            hovertemplate="%{x:.2f} s, mel %{y}<extra></extra>",
        )
    )
    fig.update_xaxes(title="Time, s")
    fig.update_yaxes(title="Mel band")
    return fig


def eeg_traces(traces: np.ndarray, times: np.ndarray, channels: Sequence[str]) -> go.Figure:
    """Channels below one another: ``traces`` (channel, time) in µV."""
    traces = np.asarray(traces, float)
    spread = float(np.nanpercentile(np.abs(traces), 99)) or 1.0
    step = 2 * spread
    fig = theme.figure(max(240, 22 * len(channels) + 90), showlegend=False)
    for i, (name, trace) in enumerate(zip(channels, traces, strict=True)):
        fig.add_trace(
            go.Scatter(
                x=times,
                y=trace - i * step,
                mode="lines",
                line={"color": theme.colour("eeg"), "width": 1},
                customdata=trace,
                hovertemplate=f"{name} %{{x:.2f}} s: %{{customdata:.1f}} µV<extra></extra>",
            )
        )
    fig.update_yaxes(
        tickvals=[-i * step for i in range(len(channels))], ticktext=list(channels), showgrid=False, zeroline=False
    )
    fig.update_xaxes(title=f"Time, s (channels {step:.0f} µV apart)")
    return fig
