"""Figures as pictures (PNG, SVG) without a browser or a network: Plotly's bars, lines, points and maps by Matplotlib.

In: a figure of :mod:`eavdash.report.figures`, its texts escaped, and what is to be burnt into its picture. Out: bytes.
Bars, scatter and heat maps are drawn, on one pair of axes or several; that is all that these figures consist of.
Positions, error bars, colours, categories and reference lines are those of the figure; hover texts are not in a
picture.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from eavdash.report import theme
from eavdash.report.figures.plain import plain_text
from eavdash.report.picture_fonts import styled

_MARKERS = {"circle": "o", "diamond": "D", "diamond-open": "D", "x-thin-open": "x", "line-ew": "_", "line-ew-open": "_"}
_DASHES = {"dash": "--", "dot": ":", "solid": "-"}
_DPI = 130
_PIXELS = 100  # of a Plotly figure to the inch
_WIDTH = 11.0  # inches


def picture(figure: go.Figure, form: str, title: str = "", caption: str = "", stamp: str = "") -> bytes:
    """Return a figure as ``png`` or ``svg``, with its title, a caption below, and a stamp across it.

    The stamp marks simulated recordings and maps that are not to be believed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = textwrap.wrap(caption, 195)
    height = max(2.6, (figure.layout.height or 400) / _PIXELS) + 0.75 + 0.18 * len(lines)
    # A fixed salt makes the same figure the same file; texts stay texts, which can be read and found.
    with styled({"svg.hashsalt": "eavdash", "svg.fonttype": "none", "font.size": 8, "text.parse_math": False}):
        fig = Figure(figsize=(_WIDTH, height), dpi=_DPI)
        FigureCanvasAgg(fig)
        bottom, top = (0.75 + 0.18 * len(lines)) / height, 1 - 0.7 / height
        grid = _axes_pairs(figure)
        for names in grid:
            _draw(fig, figure, names, (0.08, bottom, 0.9, top - bottom))
        _legend(fig, 1 - 0.32 / height)
        fig.text(0.01, 1 - 0.12 / height, title, va="top", fontsize=11, fontweight="bold", color="#222222")
        fig.text(0.01, 0.06 / height, "\n".join(lines), va="bottom", fontsize=7, color="#444444")
        if stamp:
            across: dict[str, Any] = {
                "ha": "center",
                "va": "center",
                "rotation": 18,
                "fontsize": 34,
                "fontweight": "bold",
            }
            fig.text(0.52, (bottom + top) / 2, stamp, color="#888888", alpha=0.28, zorder=100, **across)
        buffer = io.BytesIO()
        fig.savefig(buffer, format=form, facecolor="white", metadata={"Date": None} if form == "svg" else None)
    return buffer.getvalue()


def _axes_pairs(figure: go.Figure) -> list[tuple[str, str]]:
    """Return the pairs of axes that traces are drawn on, such as ("xaxis2", "yaxis")."""
    return list(dict.fromkeys(_pair(trace) for trace in figure.data if hasattr(trace, "xaxis"))) or [("xaxis", "yaxis")]


def _pair(trace: Any) -> tuple[str, str]:
    return f"xaxis{(trace.xaxis or 'x')[1:]}", f"yaxis{(trace.yaxis or 'y')[1:]}"


def _draw(fig: Any, figure: go.Figure, names: tuple[str, str], box: tuple[float, float, float, float]) -> None:
    """Draw the traces of one pair of axes, in its part of the box (left, bottom, width, height)."""
    x, y = (figure.layout[name] for name in names)
    (x0, x1), (y0, y1) = (tuple(axis.domain or (0, 1)) for axis in (x, y))
    left, bottom, width, height = box
    axes = fig.add_axes((left + x0 * width, bottom + y0 * height, (x1 - x0) * width, (y1 - y0) * height))
    places = [_Places(axis) for axis in (x, y)]
    mine = [trace for trace in figure.data if hasattr(trace, "xaxis") and _pair(trace) == names]
    for trace in mine:
        for place, values in zip(places, (trace.x, trace.y), strict=True):
            place.learn(values)
    _bars(axes, figure, [t for t in mine if isinstance(t, go.Bar)], places)
    for trace in mine:
        if isinstance(trace, go.Scatter):
            _scatter(axes, trace, places)
        elif isinstance(trace, go.Heatmap):
            _heatmap(axes, trace, places)
    for shape in figure.layout.shapes:
        if ((shape.xref or "x"), (shape.yref or "y")) == tuple(name[0] + name[5:] for name in names):
            dash = _DASHES.get(shape.line.dash or "solid", "-")
            ends = places[0].of([shape.x0, shape.x1]), places[1].of([shape.y0, shape.y1])
            axes.plot(*ends, dash, color=shape.line.color or theme.GREY, linewidth=1)
    _finish(axes, (x, y), places)


class _Places:
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


def _bars(axes: Any, figure: go.Figure, traces: Sequence[go.Bar], places: Sequence[_Places]) -> None:
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


def _scatter(axes: Any, trace: go.Scatter, places: Sequence[_Places]) -> None:
    x, y = places[0].of(trace.x), places[1].of(trace.y)
    mode = trace.mode or "lines"
    line = trace.line.color or trace.marker.color
    colour = line if isinstance(line, str) else theme.GREY
    label = _label(trace)
    opacity = trace.opacity if trace.opacity is not None else (trace.marker.opacity or 1.0)
    if "lines" in mode:
        style = _DASHES.get(trace.line.dash or "solid", "-")
        axes.plot(
            x, y, style, color=trace.line.color or colour, linewidth=trace.line.width or 1.2, label=label, alpha=opacity
        )
    if "markers" in mode:
        symbol = trace.marker.symbol if isinstance(trace.marker.symbol, str) else "circle"
        marker = _MARKERS.get(symbol, "o")
        faces = _colours(trace.marker, len(x))
        kind = {"marker": marker, "s": float(trace.marker.size or 6) ** 2 * 0.5, "alpha": opacity, "zorder": 4}
        if marker in "_x":
            axes.scatter(x, y, color=trace.marker.line.color or faces, label=label, **kind)
        elif symbol.endswith("open"):
            axes.scatter(x, y, facecolors="none", edgecolors=faces, label=label, **kind)
        else:
            axes.scatter(x, y, color=faces, linewidths=0, label=None if "lines" in mode else label, **kind)
    for errors, at in ((trace.error_x, "xerr"), (trace.error_y, "yerr")):
        if errors.array is not None:
            down, up = _arms(errors)
            span = [np.maximum(np.nan_to_num(down), 0), np.maximum(np.nan_to_num(up), 0)]
            axes.errorbar(x, y, fmt="none", ecolor="#555555", elinewidth=0.9, capsize=2, **{at: span})


def _arms(errors: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the lengths of error bars, downwards and upwards."""
    up = np.array(errors.array, float)
    return np.array(errors.arrayminus, float) if errors.arrayminus is not None else up, up


def _heatmap(axes: Any, trace: go.Heatmap, places: Sequence[_Places]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    values = np.array(trace.z, float)
    colours: Any = trace.colorscale
    given: Any = "cividis"
    if colours is not None and not isinstance(colours, str):
        given = LinearSegmentedColormap.from_list("", [(float(at), _hex(colour)) for at, colour in colours])
    x, y = (
        p.of(v) if v is not None else np.arange(n, dtype=float)
        for p, v, n in zip(places, (trace.x, trace.y), values.shape[::-1], strict=True)
    )
    axes.pcolormesh(x, y, values, cmap=given, vmin=trace.zmin, vmax=trace.zmax, shading="nearest")
    if trace.texttemplate and values.size <= 400:
        low, high = trace.zmin if trace.zmin is not None else np.nanmin(values), trace.zmax or np.nanmax(values)
        for row, at_y in enumerate(y):
            for column, at_x in enumerate(x):
                text = trace.text[row][column] if trace.text is not None else f"{values[row, column]:.0f} %"
                strong = (values[row, column] - low) / ((high - low) or 1) > 0.6
                ink = "white" if strong else "#222222"
                axes.text(at_x, at_y, plain_text(text), ha="center", va="center", color=ink, fontsize=8)


def _finish(axes: Any, layouts: Sequence[Any], places: Sequence[_Places]) -> None:
    for name, axis, place in zip("xy", layouts, places, strict=True):
        getattr(axes, f"set_{name}label")(plain_text(axis.title.text or ""))
        set_limits = getattr(axes, f"set_{name}lim")
        set_ticks = getattr(axes, f"set_{name}ticks")
        if axis.range is not None:
            set_limits(*(float(end) for end in axis.range))
        elif place.text and place.categories:
            ends = (-0.5, len(place.categories) - 0.5)
            set_limits(*(ends[::-1] if axis.autorange == "reversed" else ends))
        elif axis.autorange == "reversed":
            set_limits(*getattr(axes, f"get_{name}lim")()[::-1])
        if axis.tickvals is not None:
            labels = axis.ticktext if axis.ticktext is not None else axis.tickvals
            set_ticks([float(v) for v in axis.tickvals], [plain_text(text) for text in labels])
        elif place.text and place.categories:
            set_ticks(range(len(place.categories)), [plain_text(text) for text in place.categories])
            if name == "x" and sum(map(len, place.categories)) > 110:
                axes.tick_params(axis="x", rotation=90)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(fig: Any, top: float) -> None:
    handles: dict[str, Any] = {}
    for axes in fig.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if len(handles) > 1:
        where = {"loc": "upper right", "bbox_to_anchor": (0.99, top), "ncols": min(6, len(handles))}
        fig.legend(handles.values(), handles.keys(), fontsize=7, frameon=False, **where)


def _label(trace: Any) -> str | None:
    return plain_text(trace.name) if trace.name and trace.showlegend is not False else None


def _colours(marker: Any, count: int) -> Any:
    """Return one colour, or one per mark."""
    given = marker.color
    if given is None:
        return theme.GREY
    if isinstance(given, str):
        return _hex(given)
    if all(isinstance(each, str) for each in given):
        return [_hex(each) for each in given]
    from matplotlib import colormaps

    values = np.array([_number(each) for each in given])
    return [colormaps["cividis"](float(v) / 100) for v in values[:count]]


def _hex(colour: str) -> Any:
    """Return a colour as Matplotlib reads it: Plotly's rgba(…) has numbers from 0 to 255."""
    if not colour.startswith("rgb"):
        return colour
    numbers = [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")]
    return (*(n / 255 for n in numbers[:3]), *numbers[3:])
