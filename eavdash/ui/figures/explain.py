"""Figures of explanations: probabilities, attributions over frames, spectrogram and scalp.

In: rows of ``eavdash.results.tables`` and arrays of ``eavdash.explain.trial``. The colours of attributions are
symmetric about zero: red supports the explained class, blue opposes it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from eavdash.ui import theme

if TYPE_CHECKING:
    from eavdash.explain.explanation import ExplainedWindow, Receipts

#: Attributions are drawn as means over this many cells, as those of single pixels are too fine to see.
FRAME_CELLS = (16, 16)  # height, width
AUDIO_CELLS = (100, 32)  # time, mel
EEG_STEPS = 125
_COLUMNS = 600  # time steps of a spectrogram that are sent to the browser


def probabilities(rows: pd.DataFrame, classes: Sequence[str]) -> go.Figure:
    """Draw grouped bars of the probability per class and stage; ``rows``: one row of ``tables.trials`` per stage."""
    fig = theme.figure(320, {"type": "category"}, {"title": "Probability, %", "range": [0, 105]}, barmode="group")
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
    return fig


def receipt_lines(receipts: Receipts, window: int) -> list[str]:
    """Return the checks of an explanation: completeness of this window, baselines, and reproduction of the test."""
    window_gap = receipts.completeness[window]
    lines = [
        f"Completeness gap of this window: {window_gap['gap']:.3g} logits ({100 * window_gap['relative_gap']:.2g} % of "
        f"the explained difference; 0 if the attributions add up exactly), {receipts.steps} steps, for "
        f"{receipts.target}.",
        "Baselines: " + ", ".join(f"{theme.label(m)} {text}" for m, text in receipts.baselines.items()) + ".",
    ]
    if receipts.scaled_as_others:
        named = ", ".join(map(theme.label, receipts.scaled_as_others))
        lines.append(f"Scaled by the statistics of the people trained on, as there are none of this person: {named}.")
    if receipts.reproduction is not None:
        lines.append(f"Largest difference from the test's probabilities: {receipts.reproduction:.2g}.")
    return lines


def window_span(window: ExplainedWindow) -> tuple[float, float]:
    """Return start and stop of a window in seconds."""
    return window.start, window.stop


def window_name(window: ExplainedWindow) -> str:
    """Return a window's label, such as ``0–5 s: Anger``."""
    start, stop = window_span(window)
    return f"{start:g}–{stop:g} s: {window.predicted}"


def frame_overlays(frames: np.ndarray, heat: np.ndarray, scale: float, enlarge: int = 160) -> np.ndarray:
    """Overlay frames (F, size, size, 3) uint8 with their attributions (F, H, W); the result has >= ``enlarge`` pixels.

    ``scale``: the attribution with the full colour, the same for every window so that they can be compared.
    """
    frames, heat = np.asarray(frames), cell_means(heat, *FRAME_CELLS)
    factor = max(1, -(-enlarge // frames.shape[1]))
    enlarged = frames.repeat(factor, axis=1).repeat(factor, axis=2).astype(float)
    rows = np.arange(enlarged.shape[1]) * heat.shape[1] // enlarged.shape[1]
    columns = np.arange(enlarged.shape[2]) * heat.shape[2] // enlarged.shape[2]
    strength = np.clip(heat[:, rows][:, :, columns] / (scale or 1.0), -1, 1)[..., None]
    red, blue = np.array([202.0, 0, 32]), np.array([5.0, 113, 176])
    grey = enlarged.mean(axis=-1, keepdims=True) * np.ones(3)  # the overlay's colours must not mix with the face's
    alpha = 0.75 * np.abs(strength)
    return np.asarray((1 - alpha) * grey + alpha * np.where(strength > 0, red, blue)).astype(np.uint8)


def logmel_overlay(
    logmel: np.ndarray, heat: np.ndarray, start: float, stop: float, hertz: Sequence[float] = ()
) -> go.Figure:
    """Draw a log-mel spectrogram (time, mel) in grey, overlaid with its attributions of the same shape.

    ``hertz``: the centre of each mel band, for the labels of the axis; without it bands are counted.
    """
    axis: dict[str, Any] = {"title": "Mel band"}
    base, mels = cell_means(logmel, _COLUMNS, 10**6), np.shape(heat)[1]
    heat = cell_means(heat, *(AUDIO_CELLS if not hertz else (AUDIO_CELLS[0], mels)))
    if hertz:
        shown = range(0, mels, 6)
        labels = [f"{hertz[n]:,.0f}" for n in shown]
        axis = {"title": "Frequency, Hz", "tickvals": list(shown), "ticktext": labels}
    fig = theme.figure(280, {"title": "Time, s"}, axis)
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
            text=[[f"{band:,.0f} Hz"] * len(heat) for band in hertz] or None,
            hovertemplate=f"%{{x:.2f}} s, {'%{text}' if hertz else 'mel %{y}'}: %{{z:.2g}}<extra></extra>",
        )
    )
    return fig


def wave_heat(wave: np.ndarray, heat: np.ndarray, start: float, stop: float) -> go.Figure:
    """Draw the attributions of samples (time,), summed over small cells, as a line above the loudness of the sound."""
    cells = min(AUDIO_CELLS[0], len(wave))
    size = len(wave) / cells
    line = cell_means(heat[None], 1, cells)[0] * size
    loud = np.sqrt(cell_means(np.square(wave, dtype=float)[None], 1, cells)[0])
    limit = colour_limit(line)
    fig = theme.figure(280, {"title": "Time, s"}, {"title": "Attribution, logits"})
    x = _centres(start, stop, cells)
    scaled = limit * loud / (float(loud.max()) or 1.0)
    fig.add_trace(go.Scatter(x=x, y=scaled, mode="lines", line={"color": "#bbbbbb"}, name="loudness", hoverinfo="skip"))
    fig.add_trace(go.Scatter(x=x, y=line, mode="lines", name="attribution", hovertemplate="%{x:.2f} s: %{y:.2g}"))
    return fig


def eeg_heat(heat: np.ndarray, channels: Sequence[str], start: float, stop: float) -> go.Figure:
    """Draw the attributions (channel, time) of the EEG, or of a table of features (column, time)."""
    heat = cell_means(heat, 10**6, EEG_STEPS)
    scale = colour_limit(heat)
    rows = {"autorange": "reversed", "type": "category", "dtick": 1, "tickfont": {"size": 10}}
    fig = theme.figure(max(260, 14 * len(channels) + 80), {"title": "Time, s"}, rows)
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
    return fig


def scalp(values: np.ndarray, channels: Sequence[str]) -> bytes | str:
    """Draw a scalp map (PNG) of one value per channel with ``mne.viz.plot_topomap``; a sentence if that is impossible.

    Electrodes are at the positions of their system, 10-05 or a maker's; other channels are left out.
    """
    import mne
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from eavdash.data.eeg.electrodes import montage, system_of

    system = montage(system_of(channels))
    positions = system.get_positions()["ch_pos"]
    known = [i for i, name in enumerate(channels) if name in positions]
    if len(known) < 4:
        return f"No scalp map: it needs 4 channels with a standard position, found {len(known)} of {len(channels)}."
    names = [channels[i] for i in known]
    info = mne.create_info(names, 100.0, "eeg")
    info.set_montage(system, verbose="error")
    data = np.asarray(values, float)[known]
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
    """Return means over at most ``rows`` x ``columns`` equal cells of the last two axes."""
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
    """Return the magnitude with the full colour: the 99.5th percentile, so that outliers do not whiten the rest."""
    return float(np.percentile(np.abs(heat), 99.5)) or float(np.abs(heat).max()) or 1.0
