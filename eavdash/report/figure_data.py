"""The data of a figure as a table, for those who want to draw it themselves.

In: a figure of :mod:`eavdash.report.figures`, its texts escaped. Out: a tidy frame, a row per mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from eavdash.report.figures.plain import plain_text


def data(figure: go.Figure, about: Mapping[str, object]) -> pd.DataFrame:
    """Return the data of a figure as a tidy table: a row per mark, with the columns ``about`` at its end.

    Columns: trace, x, y, value (of heat maps), low and high (ends of an error bar).
    """
    rows: list[dict[str, Any]] = []
    for trace in figure.data:
        name = plain_text(trace.name or "")
        if isinstance(trace, go.Heatmap):
            ys, xs = (range(n) if v is None else v for v, n in zip((trace.y, trace.x), np.shape(trace.z), strict=True))
            rows += [
                {"trace": name, "x": _cell(x), "y": _cell(y), "value": _cell(trace.z[j][i])}
                for j, y in enumerate(ys)
                for i, x in enumerate(xs)
            ]
            continue
        if trace.x is None or trace.y is None:
            continue
        for i, (x, y) in enumerate(zip(trace.x, trace.y, strict=False)):
            row = {"trace": name, "x": _cell(x), "y": _cell(y)}
            errors, at = (trace.error_x, x) if trace.error_x.array is not None else (trace.error_y, y)
            if errors.array is not None and at is not None:
                minus = errors.arrayminus if errors.arrayminus is not None else errors.array
                row |= {"low": float(at) - float(minus[i]), "high": float(at) + float(errors.array[i])}
            rows.append(row)
    found = pd.DataFrame(rows).reindex(columns=["trace", "x", "y", "value", "low", "high"])
    return found.dropna(axis=1, how="all").assign(**dict(about))  # type: ignore[arg-type]  # single values


def for_people(figure: go.Figure) -> pd.DataFrame:
    """Return the same table with the axes' titles as the names of its columns."""
    found = data(figure, {}).rename(columns={"trace": "series"})
    if "series" in found and found["series"].eq("").all():
        found = found.drop(columns="series")
    titles = {name: plain_text(figure.layout[f"{name}axis"].title.text or "") for name in "xy"}
    if titles["x"] == titles["y"]:
        titles = {name: f"{title} ({name})" if title else "" for name, title in titles.items()}
    return found.rename(columns={name: title for name, title in titles.items() if title}).round(4)


def _cell(value: Any) -> Any:
    return plain_text(value) if isinstance(value, str) else (value.item() if hasattr(value, "item") else value)
