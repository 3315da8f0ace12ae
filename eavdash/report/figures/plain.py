"""Names in figures: every text of a figure, as Plotly shows it as it was written.

In: a figure whose texts (values, names of traces, titles) are as in the tables, with ``\\n`` for a line end. Out: the
same figure with the texts escaped. Templates are ours and stay: a name belongs into ``customdata``, never into one.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from eavdash.text import figure_text

_TEMPLATES = ("hovertemplate", "texttemplate", "template")


def escape(figure: go.Figure) -> go.Figure:
    """Escape all texts of ``figure``, in place, and return it."""
    for part in (*figure.data, figure.layout):
        found = part.to_plotly_json()
        changed = {key: new for key, value in found.items() if (new := _escaped(key, value)) is not value}
        if changed:
            part.update(changed, overwrite=True)
    return figure


def unescape(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point of a figure's selection with its texts as they were before :func:`escape`."""
    return {key: _unescaped(value) for key, value in point.items()}


def _escaped(key: str, value: Any) -> Any:
    """Return ``value`` itself if nothing is to be escaped in it."""
    if key in _TEMPLATES:
        return value
    if isinstance(value, str):
        new = figure_text(value)
        return value if new == value else new
    if isinstance(value, Mapping):
        entries = {k: _escaped(k, v) for k, v in value.items()}
        return value if all(entries[k] is value[k] for k in value) else entries
    if isinstance(value, (list, tuple)) or getattr(getattr(value, "dtype", None), "kind", None) in ("O", "U", "T"):
        items = [_escaped(key, v) for v in value]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items
    return value


def plain_text(text: object) -> str:
    """Return an escaped text, or another value as text, as it was before :func:`escape`."""
    return html.unescape(str(text).replace("<br>", "\n"))


def _unescaped(value: Any) -> Any:
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, (list, tuple)):
        return [_unescaped(v) for v in value]
    return value
