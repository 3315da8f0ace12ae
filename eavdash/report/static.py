"""Figures as pictures (PNG, SVG, PDF) without a browser or a network: Plotly's figures drawn by Matplotlib.

In: a figure of :mod:`eavdash.report.figures`, its texts escaped, and what is to be burnt into its picture. Out: bytes.
Bars, scatter and heat maps are drawn, on one pair of axes or several; that is all that these figures consist of.
Positions, error bars, colours, categories and reference lines are those of the figure; hover texts are not in a
picture. Margins are measured, so that no label is cut off.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from eavdash.report import static_marks, theme
from eavdash.report.figures.plain import plain_text
from eavdash.report.picture_fonts import styled
from eavdash.report.static_marks import DASHES, Places

#: Millimetres of a journal's one and two columns.
COLUMNS = {"one column": 89, "two columns": 183}
_DPI, _PAPER_DPI = 130, 600
_PIXELS = 100  # of a Plotly figure to the inch
_WIDTH = 11.0  # inches
_INCH = 25.4  # millimetres
_PAD = 0.06  # inches around everything
_METADATA = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def picture(
    figure: go.Figure, form: str, title: str = "", caption: str = "", stamp: str = "", column: int = 0
) -> bytes:
    """Return a figure as ``png``, ``svg`` or ``pdf``, with its title, a caption below, and a stamp across it.

    The stamp marks simulated recordings and maps that are not to be believed. ``column``: the width in millimetres, for
    a paper, whose text has title and caption; 0: a wide picture that stands alone.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [] if column else textwrap.wrap(caption, 195)
    width = column / _INCH if column else _WIDTH
    below = 0.1 + 0.18 * len(lines) if lines else _PAD
    above = _PAD if column else 0.7
    tall = (figure.layout.height or 400) / _PIXELS
    height = max(1.9, 0.62 * tall) if column else max(2.6, tall) + above + below
    # A fixed salt makes the same figure the same file; texts stay texts, which can be read and found.
    style: Any = {"svg.hashsalt": "eavdash", "svg.fonttype": "none", "pdf.fonttype": 42, "text.parse_math": False}
    style |= {"font.size": 6.5 if column else 8, "lines.linewidth": 1.0, "axes.linewidth": 0.6}
    dpi = _PAPER_DPI if column else _DPI
    with styled(style):
        fig = Figure(figsize=(width, height), dpi=dpi)
        FigureCanvasAgg(fig)
        pairs = _axes_pairs(figure)
        drawn = [(_draw(fig, figure, (x, y)), figure.layout[x], figure.layout[y]) for x, y in pairs]
        for place, (axes, _, _) in enumerate(drawn):  # axes that several panels share are named once
            if pairs[place][1] in {y for _, y in pairs[:place]}:
                axes.tick_params(axis="y", labelleft=False)
        shown = figure.layout.showlegend is not False
        legend = shown and _legend(fig, 1 - (0.05 if column else 0.32) / height, 6 if column else 7)
        if legend:
            above = max(above, height - legend.get_window_extent().y0 / dpi + _PAD)
        _fit(fig, drawn, (_PAD, below, width - _PAD, height - above))
        if not column:
            fig.text(0.01, 1 - 0.12 / height, title, va="top", fontsize=11, fontweight="bold", color="#222222")
            fig.text(0.01, 0.06 / height, "\n".join(lines), va="bottom", fontsize=7, color="#444444")
        if stamp:
            across: dict[str, Any] = {"ha": "center", "va": "center", "rotation": 18, "fontweight": "bold"}
            across |= {"fontsize": 3.1 * width, "color": "#888888", "alpha": 0.28, "zorder": 100}
            fig.text(0.52, (below + height - above) / 2 / height, stamp, **across)
        buffer = io.BytesIO()
        fig.savefig(buffer, format=form, facecolor="white", metadata=_METADATA.get(form))
    return buffer.getvalue()


def _axes_pairs(figure: go.Figure) -> list[tuple[str, str]]:
    """Return the pairs of axes that traces are drawn on, such as ("xaxis2", "yaxis")."""
    return list(dict.fromkeys(_pair(trace) for trace in figure.data if hasattr(trace, "xaxis"))) or [("xaxis", "yaxis")]


def _pair(trace: Any) -> tuple[str, str]:
    return f"xaxis{(trace.xaxis or 'x')[1:]}", f"yaxis{(trace.yaxis or 'y')[1:]}"


def _fit(fig: Any, drawn: Sequence[tuple[Any, Any, Any]], room: tuple[float, float, float, float]) -> None:
    """Place all axes so that they fill the room (left, bottom, right, top; inches) with their labels."""
    size = fig.get_size_inches()
    left, bottom, right, top = room[0] / size[0], room[1] / size[1], room[2] / size[0], room[3] / size[1]
    box = [left, bottom, right, top]
    for _ in range(3):  # ticks can change with the room that there is
        for axes, x, y in drawn:
            (x0, x1), (y0, y1) = (tuple(axis.domain or (0, 1)) for axis in (x, y))
            w, h = max(box[2] - box[0], 0.05), max(box[3] - box[1], 0.05)
            axes.set_position((box[0] + x0 * w, box[1] + y0 * h, (x1 - x0) * w, (y1 - y0) * h))
        fig.canvas.draw()
        around = [axes.get_tightbbox().transformed(fig.transFigure.inverted()) for axes, _, _ in drawn]
        box[0] += left - min(b.x0 for b in around)
        box[1] += bottom - min(b.y0 for b in around)
        box[2] += right - max(b.x1 for b in around)
        box[3] += top - max(b.y1 for b in around)


def _draw(fig: Any, figure: go.Figure, names: tuple[str, str]) -> Any:
    """Draw the traces of one pair of axes and return Matplotlib's axes."""
    x, y = (figure.layout[name] for name in names)
    axes = fig.add_axes((0.1, 0.1, 0.8, 0.8), label="".join(names))
    places = [Places(axis) for axis in (x, y)]
    mine = [trace for trace in figure.data if hasattr(trace, "xaxis") and _pair(trace) == names]
    for trace in mine:
        for place, values in zip(places, (trace.x, trace.y), strict=True):
            place.learn(values)
    static_marks.bars(axes, figure, [t for t in mine if isinstance(t, go.Bar)], places)
    for trace in mine:
        if isinstance(trace, go.Scatter):
            static_marks.scatter(axes, trace, places)
        elif isinstance(trace, go.Heatmap):
            static_marks.heatmap(axes, trace, places)
    _finish(axes, (x, y), places)
    own = (f"x{names[0][5:]}", f"y{names[1][5:]}")
    for shape in figure.layout.shapes:
        if shape.type == "line" and _refers(shape, own):
            dash = DASHES.get(shape.line.dash or "solid", "-")
            ends = _ends(places[0], shape.xref, shape.x0, shape.x1), _ends(places[1], shape.yref, shape.y0, shape.y1)
            axes.plot(*ends, dash, color=shape.line.color or theme.GREY, linewidth=1, transform=_transform(axes, shape))
    for note in figure.layout.annotations:
        if _refers(note, own) or (own == ("x", "y") and "paper" in (note.xref, note.yref)):
            at = [
                _ends(place, ref, v)[0]
                for place, ref, v in zip(places, (note.xref, note.yref), (note.x, note.y), strict=True)
            ]
            where: dict[str, Any] = {"ha": note.xanchor or "center", "va": note.yanchor or "center"}
            where["va"] = {"middle": "center"}.get(where["va"], where["va"])
            where |= {"rotation": -float(note.textangle or 0), "fontsize": 6, "color": "#444444"}
            axes.text(*at, plain_text(note.text or ""), transform=_transform(axes, note), **where)
    return axes


def _refers(each: Any, own: tuple[str, str]) -> bool:
    """Return True if a shape or a text is placed on these axes, or on a side of them."""
    refs = [(ref or name).removesuffix(" domain") for ref, name in zip((each.xref, each.yref), "xy", strict=True)]
    return all(ref in (name, "paper") for ref, name in zip(refs, own, strict=True)) and refs != ["paper", "paper"]


def _ends(place: Places, ref: str | None, *values: Any) -> Any:
    return [float(v) for v in values] if _relative(ref) else place.of(values)


def _relative(ref: str | None) -> bool:
    return ref == "paper" or str(ref).endswith(" domain")


def _transform(axes: Any, each: Any) -> Any:
    from matplotlib.transforms import blended_transform_factory

    kinds = [axes.transAxes if _relative(ref) else axes.transData for ref in (each.xref, each.yref)]
    return blended_transform_factory(*kinds)


def _finish(axes: Any, layouts: Sequence[Any], places: Sequence[Places]) -> None:
    for name, axis, place in zip("xy", layouts, places, strict=True):
        if axis.visible is False:
            getattr(axes, f"{name}axis").set_visible(False)
            axes.spines[["left" if name == "y" else "bottom"]].set_visible(False)
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
            if name == "x" and sum(map(len, place.categories)) > 10 * axes.figure.get_size_inches()[0]:
                axes.tick_params(axis="x", rotation=90)
                _thin(axes)
        if axis.showticklabels is False:
            axes.tick_params(axis=name, labelbottom=False, labelleft=False)
        if axis.scaleanchor:
            axes.set_aspect("equal", adjustable="box")
    axes.tick_params(length=2, width=0.6)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _thin(axes: Any) -> None:
    """Leave out names of categories that would overlap, never the last one."""
    labels = axes.get_xticklabels()
    room = int(9 * axes.figure.get_size_inches()[0])  # names to the inch, side by side
    step = -(-len(labels) // room)
    for place, label in enumerate(labels):
        label.set_visible(place == len(labels) - 1 or (place % step == 0 and place < len(labels) - step))


def _legend(fig: Any, top: float, size: float) -> Any:
    """Draw the legend at the top, in as many columns as there is room for; return it, or None."""
    handles: dict[str, Any] = {}
    for axes in fig.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if len(handles) < 2:
        return None
    for columns in range(min(6, len(handles)), 0, -1):
        where = {"loc": "upper right", "bbox_to_anchor": (0.99, top), "ncols": columns, "borderaxespad": 0.0}
        made = fig.legend(handles.values(), handles.keys(), fontsize=size, frameon=False, **where)
        if columns == 1 or made.get_window_extent().width <= 0.97 * fig.bbox.width:
            return made
        made.remove()
    return None
