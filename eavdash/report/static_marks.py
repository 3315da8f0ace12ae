"""The marks of a figure by Matplotlib: Plotly's bars, points, lines and maps, with their colours and colour bars.

In: traces of a figure of :mod:`eavdash.report.figures`, and Matplotlib's axes. Out: the marks on these axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from eavdash.report import theme
from eavdash.report.figures.plain import plain_text

_MARKERS = {
    "circle": "o",
    "diamond": "D",
    "diamond-open": "D",
    "square-open": "s",
    "x-thin-open": "x",
    "line-ew": "_",
}
DASHES = {"dash": "--", "dot": ":", "solid": "-"}


class Places:
    """Numbers of the values of one axis: themselves, or the places of categories."""

    def __init__(self, axis: Any) -> None:
        self.categories: list[str] = [str(v) for v in axis.categoryarray or ()]
        self.text = axis.type == "category" or bool(self.categories)
        if axis.categoryarray is not None and axis.categoryorder != "array":
            self.categories = []

    def learn(self, values: Any) -> None:
        """Add the categories among values."""
        found = [] if values is None else list(values)
        if any(isinstance(v, str) for v in found):
            self.text = True
        if self.text:
            known = set(self.categories)
            self.categories += [v for v in dict.fromkeys(map(str, found)) if v not in known]

    def of(self, values: Any) -> np.ndarray:
        """Return the numbers of values."""
        found = [] if values is None else list(values)
        if not self.text:
            return np.array([np.nan if v is None else float(v) for v in found])
        at = {name: float(place) for place, name in enumerate(self.categories)}
        return np.array([at.get(v, np.nan) if isinstance(v, str) else at.get(str(v), _number(v)) for v in found])


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def bars(axes: Any, figure: go.Figure, traces: Sequence[go.Bar], places: Sequence[Places]) -> None:
    grouped = (figure.layout.barmode or "group") == "group"
    slots = list(dict.fromkeys(t.offsetgroup or f"trace {n}" for n, t in enumerate(traces)))
    room = 1 - (figure.layout.bargap if figure.layout.bargap is not None else 0.2)
    stacked: dict[float, float] = {}
    for number, trace in enumerate(traces):
        across = trace.orientation == "h"
        at = places[1 if across else 0].of(trace.y if across else trace.x)
        size = np.array([0.0 if v is None else float(v) for v in (trace.x if across else trace.y)])
        base = np.zeros(len(size)) if trace.base is None else np.broadcast_to(np.array(trace.base, float), size.shape)
        width = room
        if grouped:
            width = room / max(1, len(slots))
            slot = slots.index(trace.offsetgroup or f"trace {number}")
            at = at - room / 2 + width * (slot + 0.5)
        elif figure.layout.barmode == "stack":
            base = np.array([stacked.get(float(a), 0.0) for a in at])
            stacked |= {float(a): float(b + s) for a, b, s in zip(at, base, size, strict=True)}
        colour = _colours(trace.marker, len(size))
        hatch = "///" if trace.marker.pattern.shape else None
        edge = theme.GREY if hatch or trace.marker.line.color else "none"
        kind = {"color": colour, "edgecolor": edge, "hatch": hatch, "label": _label(trace), "linewidth": 0.6}
        draw = axes.barh if across else axes.bar
        draw(at, size, width * 0.96, base, **kind)
        if trace.error_y.array is not None and not across:
            top = base + size
            down, up = _arms(trace.error_y)
            axes.errorbar(
                at, top, [np.maximum(down, 0), np.maximum(up, 0)], fmt="none", ecolor="#555555", elinewidth=0.7
            )
        texts = [] if trace.text is None or isinstance(trace.text, str) else list(trace.text)
        for place, start, length, text in zip(at, base, size, texts, strict=False):
            if text:
                spot = (start + length, place) if across else (place, start + length / 2)
                axes.text(*spot, f" {plain_text(text)}", va="center", ha="left" if across else "center", fontsize=7)


def scatter(axes: Any, trace: go.Scatter, places: Sequence[Places]) -> None:
    x, y = places[0].of(trace.x), places[1].of(trace.y)
    mode = trace.mode or "lines"
    line = trace.line.color or trace.marker.color
    colour = line if isinstance(line, str) else theme.GREY
    label = _label(trace)
    opacity = trace.opacity if trace.opacity is not None else (trace.marker.opacity or 1.0)
    if "lines" in mode:
        style = DASHES.get(trace.line.dash or "solid", "-")
        axes.plot(
            x, y, style, color=trace.line.color or colour, linewidth=trace.line.width or 1.2, label=label, alpha=opacity
        )
    if "markers" in mode:
        symbols = trace.marker.symbol or "circle"
        symbol = symbols if isinstance(symbols, str) else symbols[0] if len(symbols) else "circle"
        marker = _MARKERS.get(symbol, "o")
        faces = _colours(trace.marker, len(x))
        kind = {
            "marker": marker,
            "s": _areas(axes, trace.marker.size),
            "alpha": opacity,
            "zorder": 4,
        }
        if marker in "_x":
            axes.scatter(x, y, color=trace.marker.line.color or faces, label=label, **kind)
        elif symbol.endswith("open"):
            axes.scatter(x, y, facecolors="none", edgecolors=faces, label=label, **kind)
        else:
            edge = trace.marker.line.color if isinstance(trace.marker.line.color, str) else "none"
            kind |= {"edgecolors": edge, "linewidths": 0.8 if edge != "none" else 0}
            axes.scatter(x, y, color=faces, label=None if "lines" in mode else label, **kind)
        if trace.marker.colorbar.to_plotly_json():
            from matplotlib.cm import ScalarMappable
            from matplotlib.colors import Normalize

            low, high = trace.marker.cmin, trace.marker.cmax
            known = _numbers(trace.marker.color)
            ends = Normalize(np.nanmin(known) if low is None else low, np.nanmax(known) if high is None else high)
            bar_of_colours(axes, ScalarMappable(ends, _colour_map(trace.marker.colorscale)), trace.marker.colorbar)
    if "text" in mode:
        for at_x, at_y, text in zip(x, y, trace.text, strict=True):
            axes.text(at_x, at_y, plain_text(text), ha="center", va="center", fontsize=5, zorder=5)
    for errors, at in ((trace.error_x, "xerr"), (trace.error_y, "yerr")):
        if errors.array is not None:
            down, up = _arms(errors)
            span = [np.maximum(np.nan_to_num(down), 0), np.maximum(np.nan_to_num(up), 0)]
            axes.errorbar(x, y, fmt="none", ecolor="#555555", elinewidth=0.9, capsize=2, **{at: span})


def _arms(errors: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the lengths of error bars, downwards and upwards."""
    up = np.array(errors.array, float)
    return np.array(errors.arrayminus, float) if errors.arrayminus is not None else up, up


def heatmap(axes: Any, trace: go.Heatmap, places: Sequence[Places]) -> None:
    values = np.array(trace.z, float)
    given = _colour_map(trace.colorscale)
    x, y = (
        p.of(v) if v is not None else np.arange(n, dtype=float)
        for p, v, n in zip(places, (trace.x, trace.y), values.shape[::-1], strict=True)
    )
    made = axes.pcolormesh(x, y, values, cmap=given, vmin=trace.zmin, vmax=trace.zmax, shading="nearest")
    made.set_rasterized(values.size > 2000)  # or a vector file has as many rectangles
    if trace.showscale is not False:
        bar_of_colours(axes, made, trace.colorbar)
    if trace.texttemplate and values.size <= 400:
        low, high = trace.zmin if trace.zmin is not None else np.nanmin(values), trace.zmax or np.nanmax(values)
        for row, at_y in enumerate(y):
            for column, at_x in enumerate(x):
                text = trace.text[row][column] if trace.text is not None else f"{values[row, column]:.0f} %"
                strong = (values[row, column] - low) / ((high - low) or 1) > 0.6
                ink = "white" if strong else "#222222"
                axes.text(at_x, at_y, plain_text(text), ha="center", va="center", color=ink)


def _label(trace: Any) -> str | None:
    return plain_text(trace.name) if trace.name and trace.showlegend is not False else None


def _colours(marker: Any, count: int) -> Any:
    """Return one colour, or one per mark."""
    given = marker.color
    if given is None:
        return theme.GREY
    if isinstance(given, str):
        return rgba(given)
    if all(isinstance(each, str) for each in given):
        return [rgba(each) for each in given]
    values = _numbers(given)[:count]
    low = 0.0 if marker.cmin is None else float(marker.cmin)
    high = 100.0 if marker.cmax is None else float(marker.cmax)
    return [_colour_map(marker.colorscale)((float(v) - low) / ((high - low) or 1.0)) for v in values]


def rgba(colour: str) -> Any:
    """Return a colour as Matplotlib reads it: Plotly's rgba(…) has numbers from 0 to 255."""
    if not colour.startswith("rgb"):
        return colour
    numbers = [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")]
    return (*(n / 255 for n in numbers[:3]), *numbers[3:])


def bar_of_colours(axes: Any, mapped: Any, layout: Any) -> None:
    """Draw the bar that explains the colours beside a pair of axes, with its title and unit."""
    beside = axes.inset_axes((1.02, 0.0, 0.025, 1.0))
    bar = axes.figure.colorbar(mapped, cax=beside)
    bar.outline.set_linewidth(0.4)
    beside.tick_params(labelsize=6, width=0.4, length=2)
    title = plain_text((layout.title.text if layout is not None else None) or "")
    suffix = plain_text((layout.ticksuffix if layout is not None else None) or "").strip()
    bar.set_label(title or suffix, size=6.5)


def _colour_map(colours: Any) -> Any:
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    if colours is None or isinstance(colours, str):
        return colormaps["cividis"]
    scale = [(float(at), rgba(colour)) for at, colour in colours]
    return LinearSegmentedColormap.from_list("", scale)


def _areas(axes: Any, sizes: Any) -> np.ndarray:
    """Return the areas of points; those of a picture at the width of a column are small."""
    shrunk = min(1.0, (axes.figure.get_size_inches()[0] / 8) ** 1.2)
    areas: np.ndarray = np.asarray(6 if sizes is None else sizes, float) ** 2 * 0.5 * shrunk
    return areas


def _numbers(given: Any) -> np.ndarray:
    return np.array([_number(each) for each in given], float)
