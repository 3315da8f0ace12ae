"""Figures of explanations: probabilities, attributions over frames, spectrogram, sound and channels.

In: rows of ``eavdash.results.tables`` and maps of :mod:`eavdash.report.figures.window_maps`. The colours of
attributions are symmetric about zero: red supports the explained class, blue opposes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from eavdash.explain.spectrum import BANDS, in_bands
from eavdash.report import theme
from eavdash.report.figures.window_maps import AUDIO_CELLS, EEG_STEPS, FRAME_CELLS, WindowMap, cell_means

if TYPE_CHECKING:
    from eavdash.explain.explanation import ExplainedWindow

HERTZ_CELLS = 100  # of a map by frequency
_COLUMNS = 600  # time steps of a spectrogram that are sent to the browser
_HERTZ = (250, 500, 1000, 2000, 4000, 8000)  # labels of a mel axis
_GREY = np.array([138, 138, 138], np.uint8)


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


def window_name(window: ExplainedWindow) -> str:
    """Return a window's label, such as ``0–5 s: Anger``."""
    return f"{window.start:g}–{window.stop:g} s: {window.predicted}"


def frame_overlays(
    frames: np.ndarray, heat: np.ndarray, scale: float, enlarge: int = 160, framed: bool = False
) -> np.ndarray:
    """Overlay frames (F, size, size, 3) uint8 with their attributions (F, H, W); the result has >= ``enlarge`` pixels.

    ``scale``: the attribution with the full colour, the same for every window so that they can be compared.
    ``framed``: with a grey border, for maps that are not to be believed.
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
    out = np.asarray((1 - alpha) * grey + alpha * np.where(strength > 0, red, blue)).astype(np.uint8)
    if framed:
        width = max(1, out.shape[1] // 20)
        for side in (np.s_[:, :width], np.s_[:, -width:], np.s_[:, :, :width], np.s_[:, :, -width:]):
            out[side] = _GREY
    return out


def colour_bar(scale: float, unit: str) -> go.Figure:
    """Draw the colour bar of pictures, lying."""
    fig = theme.figure(90, {"visible": False}, {"visible": False}, showlegend=False)
    fig.update_layout(margin={"t": 0, "b": 0})
    bar = {
        "orientation": "h",
        "thickness": 8,
        "len": 1,
        "y": 0,
        "yanchor": "bottom",
        "title": {"text": unit, "side": "top"},
    }
    fig.add_trace(
        go.Scatter(
            x=[None],
            y=[None],
            mode="markers",
            marker={"color": [0], "cmin": -scale, "cmax": scale, "colorscale": theme.ATTRIBUTIONS, "colorbar": bar},
            hoverinfo="skip",
        )
    )
    return fig


def logmel_overlay(shown: WindowMap, scale: float, unit: str, hertz: Sequence[float] | np.ndarray = ()) -> go.Figure:
    """Draw a log-mel spectrogram (time, mel) in grey, overlaid with its attributions.

    ``hertz``: the centre of each mel band, for the labels of the axis; without it bands are counted.
    """
    base, mels = cell_means(shown.values, _COLUMNS, 10**6), shown.heat.shape[1]
    heat = cell_means(shown.heat, *AUDIO_CELLS)
    bands = _centres(mels, heat.shape[1])
    axis: dict[str, Any] = {"title": "Mel band"}
    named = [f"mel band {band:.0f}" for band in bands]
    if len(hertz):
        ticks = [f for f in _HERTZ if hertz[0] <= f <= hertz[-1]]
        places = np.interp(ticks, hertz, np.arange(mels))
        axis = {"title": "Frequency, Hz", "tickvals": places.tolist(), "ticktext": [f"{f:,}" for f in ticks]}
        named = [f"{f:,.0f} Hz" for f in np.interp(bands, np.arange(mels), hertz)]
    fig = theme.figure(280, {"title": "Time, s"}, axis)
    x = _cell_times(shown.times, len(base))
    fig.add_trace(go.Heatmap(z=base.T, x=x, colorscale="Greys_r", showscale=False, hoverinfo="skip"))
    text, hover = [[name] * len(heat) for name in named], "%{x:.2f} s, %{text}: %{z:.2g}<extra></extra>"
    x = _cell_times(shown.times, len(heat))
    return fig.add_trace(_heat(heat.T, scale, unit, x=x, y=bands, text=text, hovertemplate=hover))


def wave_heat(shown: WindowMap, scale: float, unit: str) -> go.Figure:
    """Draw the attributions of samples (time, 1), averaged over small cells, above the loudness of the sound."""
    line = cell_means(shown.heat, AUDIO_CELLS[0], 1)[:, 0]
    loud = np.sqrt(cell_means(np.square(shown.values, dtype=float), AUDIO_CELLS[0], 1)[:, 0])
    fig = theme.figure(280, {"title": "Time, s"}, {"title": unit, "range": [-1.1 * scale, 1.1 * scale]})
    x = _cell_times(shown.times, len(line))
    scaled = scale * loud / (float(loud.max()) or 1.0)
    fig.add_trace(go.Scatter(x=x, y=scaled, mode="lines", line={"color": "#bbbbbb"}, name="loudness", hoverinfo="skip"))
    fig.add_trace(go.Scatter(x=x, y=line, mode="lines", name="attribution", hovertemplate="%{x:.2f} s: %{y:.2g}"))
    return fig


def row_heat(shown: WindowMap, rows: Sequence[str], scale: float, unit: str) -> go.Figure:
    """Draw the attributions (time, row) of the EEG's channels, or of the columns of a table of features."""
    heat = cell_means(shown.heat, EEG_STEPS, 10**6)
    fig = _named_rows(max(260, 14 * len(rows) + 80), "Time, s")
    x, hover = _cell_times(shown.times, len(heat)), "%{y} %{x:.2f} s: %{z:.2g}<extra></extra>"
    return fig.add_trace(_heat(heat.T, scale, unit, x=x, y=list(rows), hovertemplate=hover))


def frequency_heat(
    spectrum: np.ndarray, hertz: np.ndarray, channels: Sequence[str], scale: float, unit: str
) -> go.Figure:
    """Draw the EEG's attributions by electrode and frequency, per area (channel, frequency), with the sum of each band.

    ``hertz`` (frequency,): of the columns.
    """
    heat, columns = cell_means(spectrum, 10**6, HERTZ_CELLS), cell_means(np.asarray(hertz, float)[None], 1, HERTZ_CELLS)
    fig = _named_rows(max(280, 14 * len(channels) + 100), "Frequency, Hz")
    hover = "%{y} %{x:.1f} Hz: %{z:.2g}<extra></extra>"
    fig.add_trace(_heat(heat, scale, unit, x=columns[0], y=list(channels), hovertemplate=hover))
    for name, sums in in_bands(spectrum / spectrum.size, np.asarray(hertz)).items():
        start = BANDS[name]
        if start > 0:
            fig.add_vline(start, line={"color": theme.GREY, "width": 1, "dash": "dot"})
        text = f"{name} {theme.signed(float(sums.sum()))}"
        at = {"x": start, "y": 1, "yref": "paper", "xanchor": "left", "yanchor": "bottom", "textangle": -30}
        fig.add_annotation(text=text, showarrow=False, font={"size": 10}, **at)
    fig.update_layout(margin={"t": 60})
    return fig


def mark_failed(fig: go.Figure, note: str) -> go.Figure:
    """Frame a figure in grey under a title that says why it is not to be believed; exported pictures have both."""
    if note:
        fig.update_layout(
            title={"text": note, "font": {"size": 12, "color": theme.GREY}, "x": 0, "xanchor": "left"},
            margin={"t": 44},
        )
        whole = {"xref": "paper", "yref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 1}
        fig.add_shape(type="rect", **whole, line={"color": theme.GREY, "width": 4}, fillcolor="rgba(0,0,0,0)")
    return fig


def _named_rows(height: int, title: str) -> go.Figure:
    """Return an empty figure whose rows have names, the first at the top; ``title``: of the horizontal axis."""
    axis = {"autorange": "reversed", "type": "category", "dtick": 1, "tickfont": {"size": 10}, "showgrid": False}
    return theme.figure(height, {"title": title, "showgrid": False}, axis)


def _heat(values: np.ndarray, scale: float, unit: str, **more: Any) -> go.Heatmap:
    """Return attributions (row, column) as colours, with the bar that explains them."""
    bar = {"thickness": 8, "title": {"text": unit, "side": "right"}, "exponentformat": "power"}
    return go.Heatmap(z=values, zmin=-scale, zmax=scale, colorscale=theme.ATTRIBUTIONS, colorbar=bar, **more)


def _centres(length: int, count: int) -> np.ndarray:
    """Return the means of the indices of ``count`` equal cells, as :func:`cell_means` makes them."""
    return np.asarray(cell_means(np.arange(length)[None], 1, count)[0])


def _cell_times(times: np.ndarray, count: int) -> np.ndarray:
    """Return the mean time of each of ``count`` equal cells."""
    return np.asarray(cell_means(times[None], 1, count)[0])
