"""Figures of mean maps over a study: electrodes on a head, electrode x time, mel x time, and the face crop.

In: a map of :class:`eavdash.explain.maps.record.StudyMaps`, in shares of what the modality contributes. Colours are
symmetric about zero: red supports the explained class, blue opposes it. Cells whose difference from the other classes
is significant are framed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from eavdash.report import theme
from eavdash.results.paired import ALPHA
from eavdash.text import p_value, plural

if TYPE_CHECKING:
    from eavdash.explain.maps.record import StudyMaps, ViewTest

TITLES = {"scalp": "EEG: scalp", "eeg": "EEG: electrode and time", "audio": "Audio", "vision": "Vision"}
UNIT = "% of the modality"
#: The same on a head, where an electrode without any attribution is still seen.
_DOTS = [[0, "#0571b0"], [0.5, "#d9d9d9"], [1, "#ca0020"]]
_FRAME = "#E69F00"  # seen on red, on blue, and on both themes
_NAMED = 4  # cells that a sentence names


def modality_of(view: str) -> str:
    """Return the modality of a view."""
    return "eeg" if view == "scalp" else view


def title(found: StudyMaps, view: str) -> str:
    """Return a view's name."""
    return f"{theme.label(view)}: features" if view in found.document.columns else TITLES[view]


def limit(maps: Sequence[np.ndarray]) -> float:
    """Return the magnitude with the full colour in all of some maps."""
    every = np.abs(np.concatenate([m[np.isfinite(m)].ravel() for m in maps] or [np.zeros(1)]))
    return float(np.percentile(every, 99)) if every.size and every.any() else 1.0


def draw(found: StudyMaps, view: str, values: np.ndarray, full: float, framed: np.ndarray | None = None) -> go.Figure:
    """Draw a map of a view; ``full``: the magnitude with the full colour; ``framed``: cells to frame."""
    marks = np.zeros(values.shape, bool) if framed is None else framed
    if view in found.document.columns:
        return _columns(found.document.columns[view], values, full, marks)
    draws = {"scalp": _scalp, "eeg": _eeg, "audio": _audio, "vision": _vision}
    return draws[view](found, values, full, marks)


def cell_names(found: StudyMaps, view: str) -> np.ndarray:
    """Return the name of every cell of a view, shaped like its maps."""
    document = found.document
    shape = found.p[view].shape[1:]
    if view in document.columns:
        return np.array(document.columns[view], dtype=object)
    if view == "scalp":
        return np.array(document.channels, dtype=object)
    out = np.empty(shape, dtype=object)
    for place in np.ndindex(*shape):
        if view == "vision":
            out[place] = f"row {place[0] + 1}, column {place[1] + 1} of the crop"
        else:
            first = document.channels[place[0]] if view == "eeg" else _band(found, place[0], shape[0])
            out[place] = f"{first} at {_span(found, view, place[1], shape[1])}"
    return out


def answer(found: StudyMaps, view: str) -> list[str]:
    """Return a sentence per tested class: where its maps differ from those of the others."""
    names, said = cell_names(found, view), []
    for test in (each for each in found.document.tests if each.view == view):
        p = found.p[view][found.document.classes.index(test.label)]
        if not test.exchanged:
            said.append(f"{test.label}: not tested, {test.too_few}.")
        elif test.cells:
            order = np.argsort(np.where(np.isfinite(p), p, np.inf), axis=None, kind="stable")[: min(test.cells, _NAMED)]
            where = "; ".join(str(names.flat[i]) for i in order) + ("; …" if test.cells > _NAMED else ".")
            said.append(f"{test.label} differs in {test.cells} of {p.size} cells ({p_value(test.p)}): {where}")
        else:
            said.append(f"{test.label}: no cell differs ({p_value(test.p)}).")
    return said


def test_note(tests: Sequence[ViewTest]) -> str:
    """Return what was exchanged in the tests, and over how many people their result holds."""
    kinds = {each.exchanged for each in tests if each.exchanged}
    if not kinds:
        return ""
    corrected = "corrected over all cells (max-statistic) and classes"
    if kinds == {"subjects"}:
        return f"p: permutation test over subjects, {corrected}; it is about people like these."
    count = plural(max(each.subjects for each in tests), "subject")
    return (
        f"p: permutation test over trials within {count}, {corrected}. With so few subjects it is about these alone "
        "and says nothing about other people."
    )


def _scalp(found: StudyMaps, values: np.ndarray, full: float, framed: np.ndarray) -> go.Figure:
    known = np.isfinite(found.places).all(axis=1)
    places, names = found.places[known], [n for n, k in zip(found.document.channels, known, strict=True) if k]
    hidden = {"visible": False, "range": [-1.3, 1.3], "fixedrange": True}
    fig = theme.figure(230, hidden, {**hidden, "scaleanchor": "x"}, showlegend=False)
    angle = np.linspace(0, 2 * math.pi, 100)
    line = {"color": theme.GREY, "width": 1.5}
    for x, y in (
        (1.12 * np.cos(angle), 1.12 * np.sin(angle)),
        (np.array([-0.12, 0, 0.12]), np.array([1.11, 1.26, 1.11])),
    ):
        fig.add_trace(go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip"))
    size = 17 if len(names) <= 40 else 10
    marker: dict[str, Any] = {
        "size": size,
        "color": 100 * values[known],
        "cmin": -100 * full,
        "cmax": 100 * full,
        "colorscale": _DOTS,
        "colorbar": _bar(),
        "line": {"width": np.where(framed[known], 3, 0.5), "color": np.where(framed[known], _FRAME, theme.GREY)},
    }
    fig.add_trace(
        go.Scatter(
            x=places[:, 0],
            y=places[:, 1],
            mode="markers+text" if len(names) <= 40 else "markers",
            marker=marker,
            text=names,
            textfont={"size": 7, "color": "#222222"},
            hovertemplate="%{text}: %{marker.color:+.2f} %<extra></extra>",
        )
    )
    return fig


def _eeg(found: StudyMaps, values: np.ndarray, full: float, framed: np.ndarray) -> go.Figure:
    rows = {"autorange": "reversed", "type": "category", "tickfont": {"size": 8}, "dtick": 1, "showgrid": False}
    channels = list(found.document.channels)
    fig = theme.figure(max(230, 10 * len(channels) + 70), _time_axis(), rows, showlegend=False)
    _heat(fig, values, _middles(found, "eeg", values.shape[1]), channels, full, framed, cell_names(found, "eeg"))
    return fig


def _audio(found: StudyMaps, values: np.ndarray, full: float, framed: np.ndarray) -> go.Figure:
    bands = np.arange(len(values))
    axis: dict[str, Any] = {"title": "Mel band"}
    if len(found.hertz) == len(values):
        axis = {"title": "Hz", "tickvals": bands[::5].tolist(), "ticktext": [f"{f:,.0f}" for f in found.hertz[::5]]}
    if len(values) == 1:
        axis = {"visible": False}
    fig = theme.figure(230, _time_axis(), axis, showlegend=False)
    _heat(fig, values, _middles(found, "audio", values.shape[1]), bands, full, framed, cell_names(found, "audio"))
    return fig


def _vision(found: StudyMaps, values: np.ndarray, full: float, framed: np.ndarray) -> go.Figure:
    hidden: dict[str, Any] = {"visible": False, "constrain": "domain"}
    fig = theme.figure(230, hidden, {**hidden, "scaleanchor": "x", "autorange": "reversed"}, showlegend=False)
    height, width = values.shape
    if found.face.size:
        grey = found.face.mean(axis=-1)
        x, y = (
            (np.arange(n) + 0.5) * cells / n - 0.5 for n, cells in ((grey.shape[1], width), (grey.shape[0], height))
        )
        fig.add_trace(go.Heatmap(z=grey, x=x, y=y, colorscale="Greys_r", showscale=False, hoverinfo="skip"))
    _heat(fig, values, np.arange(width), np.arange(height), full, framed, cell_names(found, "vision"))
    return fig


def _columns(names: Sequence[str], values: np.ndarray, full: float, framed: np.ndarray) -> go.Figure:
    order = np.argsort(-np.abs(values), kind="stable")[:20]
    rows = {"autorange": "reversed", "type": "category", "tickfont": {"size": 9}}
    bound = 110 * max(full, float(np.abs(values[order]).max(initial=0.0)))
    fig = theme.figure(
        max(230, 16 * len(order) + 60), {"title": UNIT, "range": [-bound, bound]}, rows, showlegend=False
    )
    edge = {"width": np.where(framed[order], 2, 0), "color": _FRAME}
    colours = np.where(values[order] > 0, "#ca0020", "#0571b0")
    bars = go.Bar(
        x=100 * values[order],
        y=[names[i] for i in order],
        orientation="h",
        marker={"color": colours, "line": edge},
        hovertemplate="%{y}: %{x:+.2f} %<extra></extra>",
    )
    return fig.add_trace(bars)


def _heat(
    fig: go.Figure, values: np.ndarray, x: Any, y: Any, full: float, framed: np.ndarray, names: np.ndarray
) -> None:
    fig.add_trace(
        go.Heatmap(
            z=100 * values,
            x=x,
            y=y,
            zmin=-100 * full,
            zmax=100 * full,
            colorscale=theme.ATTRIBUTIONS,
            colorbar=_bar(),
            text=names,
            hovertemplate="%{text}: %{z:+.2f} %<extra></extra>",
        )
    )
    rows, columns = np.nonzero(framed)
    if len(rows):
        marker = {"symbol": "square-open", "size": 7, "line": {"width": 2}, "color": _FRAME}
        marks = go.Scatter(x=np.asarray(x)[columns], y=np.asarray(y)[rows], mode="markers", marker=marker)
        fig.add_trace(marks.update(hoverinfo="skip", showlegend=False))


def significant(found: StudyMaps, view: str, label: str) -> np.ndarray:
    """Return True for the cells in which a class differs from the others."""
    return np.asarray(found.p[view][found.document.classes.index(label)] < ALPHA)


def _bar() -> dict[str, Any]:
    return {"thickness": 6, "len": 0.9, "tickfont": {"size": 9}, "nticks": 5, "ticksuffix": " %"}


def _time_axis() -> dict[str, Any]:
    return {"title": "s of the window", "showgrid": False}


def _middles(found: StudyMaps, view: str, count: int) -> np.ndarray:
    return np.asarray((np.arange(count) + 0.5) * found.document.seconds[view] / count)


def _span(found: StudyMaps, view: str, step: int, count: int) -> str:
    each = found.document.seconds[view] / count
    return f"{step * each:.1f}–{(step + 1) * each:.1f} s"


def _band(found: StudyMaps, row: int, count: int) -> str:
    if count == 1:
        return "sound"
    return f"{found.hertz[row]:,.0f} Hz" if len(found.hertz) == count else f"mel cell {row + 1}"
