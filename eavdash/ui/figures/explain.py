"""Figures of explanations: probabilities, attributions over frames, spectrogram and scalp.

In: rows of ``eavdash.results.tables`` and arrays of ``eavdash.explain.trial``. Attributions are drawn as they are,
symmetric about zero: red speaks for the explained class, blue against it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from eavdash.ui import theme

#: Attributions of single pixels are too fine to see: they are drawn as means over this many cells.
FRAME_CELLS = (16, 16)  # height, width
AUDIO_CELLS = (100, 32)  # time, mel
EEG_STEPS = 125
_COLUMNS = 600  # a spectrogram's time steps that reach the browser


def probabilities(rows: pd.DataFrame, classes: Sequence[str]) -> go.Figure:
    """Grouped bars: probability per class and stage; ``rows``: one row of ``tables.trials`` per stage."""
    fig = theme.figure(320, barmode="group")
    for row in rows.to_dict("records"):
        stage = str(row["stage"])
        fig.add_trace(
            go.Bar(
                name=theme.label(stage),
                x=list(classes),
                y=[100 * float(row[f"p_{c}"]) for c in classes],
                marker_color=theme.colour(stage),
                hovertemplate=f"{theme.label(stage)}, %{{x}}: %{{y:.1f}} %<extra></extra>",
            )
        )
    fig.update_xaxes(type="category")
    fig.update_yaxes(title="Probability, %", range=[0, 105])
    return fig


def receipt_lines(receipts: Mapping[str, Any], window: int) -> list[str]:
    """What checks an explanation: completeness of this window, what absence means, how well it was reproduced."""
    found = receipts["completeness"][window]
    lines = [
        f"Completeness gap of this window: {found['gap']:.3g} logits ({100 * found['relative_gap']:.2g} % of what is "
        f"explained; 0 when the attributions add up exactly), {receipts['steps']} steps, for {receipts['target']}.",
        "Against: " + ", ".join(f"{theme.label(m)} {what}" for m, what in receipts["baselines"].items()) + ".",
    ]
    if receipts.get("reproduction") is not None:
        lines.append(f"Largest difference from the probabilities of the test: {receipts['reproduction']:.2g}.")
    return lines


def window_span(window: Mapping[str, Any]) -> tuple[float, float]:
    """Start and stop of a window in seconds."""
    return float(window["start"]), float(window["stop"])


def window_name(window: Mapping[str, Any]) -> str:
    """``0–5 s: Anger``."""
    start, stop = window_span(window)
    return f"{start:g}–{stop:g} s: {window['predicted']}"


def frame_overlays(frames: np.ndarray, heat: np.ndarray, scale: float, enlarge: int = 160) -> np.ndarray:
    """Frames (F, size, size, 3) uint8 with the cells of their attributions (F, H, W) over them, >= ``enlarge`` pixels.

    ``scale``: the attribution that gets the full colour, the same for every window so that they can be compared.
    """
    frames, heat = np.asarray(frames), cell_means(heat, *FRAME_CELLS)
    factor = max(1, -(-enlarge // frames.shape[1]))
    big = frames.repeat(factor, axis=1).repeat(factor, axis=2).astype(float)
    rows = np.arange(big.shape[1]) * heat.shape[1] // big.shape[1]
    columns = np.arange(big.shape[2]) * heat.shape[2] // big.shape[2]
    strength = np.clip(heat[:, rows][:, :, columns] / (scale or 1.0), -1, 1)[..., None]
    red, blue = np.array([202.0, 0, 32]), np.array([5.0, 113, 176])
    grey = big.mean(axis=-1, keepdims=True) * np.ones(3)  # colours of the heat must not mix with those of the face
    alpha = 0.75 * np.abs(strength)
    return np.asarray((1 - alpha) * grey + alpha * np.where(strength > 0, red, blue)).astype(np.uint8)


def logmel_overlay(logmel: np.ndarray, heat: np.ndarray, start: float, stop: float) -> go.Figure:
    """A log-mel spectrogram (time, mel) in grey with its attributions of the same shape over it."""
    fig = theme.figure(280)
    base, mels = cell_means(logmel, _COLUMNS, 10**6), np.shape(heat)[1]
    heat = cell_means(heat, *AUDIO_CELLS)
    scale = colour_limit(heat)
    fig.add_trace(
        go.Heatmap(
            z=base.T, x=_centres(start, stop, len(base)), colorscale="Greys_r", showscale=False, hoverinfo="skip"
        )
    )
    fig.add_trace(
        go.Heatmap(
            z=heat.T,
            x=_centres(start, stop, len(heat)),
            y=_centres(-0.5, mels - 0.5, heat.shape[1]),
            zmin=-scale,
            zmax=scale,
            colorscale=[[0, "rgba(5,113,176,0.95)"], [0.5, "rgba(160,160,160,0)"], [1, "rgba(202,0,32,0.95)"]],
            colorbar={"thickness": 8, "exponentformat": "e"},
            hovertemplate="%{x:.2f} s, mel %{y}: %{z:.2g}<extra></extra>",
        )
    )
    fig.update_xaxes(title="Time, s")
    fig.update_yaxes(title="Mel band")
    return fig


def eeg_heat(heat: np.ndarray, channels: Sequence[str], start: float, stop: float) -> go.Figure:
    """Attributions (channel, time) of the EEG."""
    heat = cell_means(heat, 10**6, EEG_STEPS)
    scale = colour_limit(heat)
    fig = theme.figure(max(260, 14 * len(channels) + 80))
    fig.add_trace(
        go.Heatmap(
            z=heat,
            x=_centres(start, stop, heat.shape[1]),
            y=list(channels),
            zmin=-scale,
            zmax=scale,
            colorscale=theme.DIVERGING,
            colorbar={"thickness": 8, "exponentformat": "e"},
            hovertemplate="%{y} %{x:.2f} s: %{z:.2g}<extra></extra>",
        )
    )
    fig.update_xaxes(title="Time, s")
    fig.update_yaxes(autorange="reversed", type="category", dtick=1, tickfont={"size": 10})
    return fig


def scalp(values: np.ndarray, channels: Sequence[str]) -> bytes | str:
    """A scalp map (PNG) of one value per channel, by ``mne.viz.plot_topomap``; a sentence where none can be drawn.

    Electrodes at the positions of the standard 10-05 system; others are left out.
    """
    import mne
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from eavdash.data.eeg.electrodes import MONTAGE

    positions = mne.channels.make_standard_montage(MONTAGE).get_positions()["ch_pos"]
    there = [i for i, name in enumerate(channels) if name in positions]
    if len(there) < 4:
        return f"No scalp map: {len(there)} of {len(channels)} channels have a standard position, and it needs 4."
    names = [channels[i] for i in there]
    info = mne.create_info(names, 100.0, "eeg")
    info.set_montage(MONTAGE, verbose="error")
    data = np.asarray(values, float)[there]
    scale = float(np.abs(data).max()) or 1.0
    fig = Figure(figsize=(3.4, 3.2), dpi=140)
    FigureCanvasAgg(fig)
    axes = fig.subplots()
    image, _ = mne.viz.plot_topomap(data, info, axes=axes, show=False, cmap="RdBu_r", vlim=(-scale, scale))
    bar = fig.colorbar(image, ax=axes, shrink=0.6)
    bar.ax.tick_params(labelsize=7)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", facecolor="white", bbox_inches="tight")
    return buffer.getvalue()


def cell_means(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Means over at most ``rows`` x ``columns`` equal cells of the last two axes."""
    out = np.asarray(values, float)
    for axis, count in ((-2, rows), (-1, columns)):
        length = out.shape[axis]
        edges = np.linspace(0, length, min(count, length) + 1).astype(int)
        shape = [1] * out.ndim
        shape[axis] = -1
        out = np.add.reduceat(out, edges[:-1], axis=axis) / np.diff(edges).reshape(shape)
    return out


def _centres(start: float, stop: float, count: int) -> np.ndarray:
    return start + (np.arange(count) + 0.5) * (stop - start) / count


def colour_limit(heat: np.ndarray) -> float:
    """What gets the full colour: nearly the largest magnitude, so that one outlier does not whiten the rest."""
    return float(np.percentile(np.abs(heat), 99.5)) or float(np.abs(heat).max()) or 1.0
