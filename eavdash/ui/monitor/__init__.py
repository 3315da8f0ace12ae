"""Two Streamlit components of the page Runs: the grid of runs, and the notification when a study ends.

In: the data of :func:`eavdash.report.figures.training.grid`. Out: the names of the selected runs, passed to a callback.
Nothing is fetched; both draw only what Python sends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

__all__ = ["grid", "notice"]


def grid(data: dict[str, Any], selected: Sequence[str], key: str, on_choice: Callable[[list[str]], None]) -> None:
    """Draw the grid with the ``selected`` runs marked; a click calls ``on_choice`` with all selected runs."""

    def changed() -> None:
        on_choice([str(name) for name in _choice(key).get("runs") or []])

    # The number of the last click that Python has seen; the grid ignores a ``selected`` from before its last click.
    turn = int(_choice(key).get("turn") or 0)
    _grid(data={**data, "selected": [*selected], "turn": turn}, key=key, on_choice_change=changed)


def notice(study: str, ended: bool, text: str, key: str) -> None:
    """Show a button for a desktop notification with ``text`` when the study ends; hidden once it has ended.

    The browser asks for permission; the page must be open, but may be in the background.
    """
    _notice(data={"study": study, "over": ended, "words": text}, key=key)


def _choice(key: str) -> dict[str, Any]:
    return (st.session_state.get(key) or {}).get("choice") or {}


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


_grid = st.components.v2.component(
    "eavdash_runs", html='<div class="runs"></div>', css=_read("grid.css"), js=_read("grid.js")
)
_notice = st.components.v2.component(
    "eavdash_notice",
    html='<div class="notice"><button type="button"></button><span></span></div>',
    css=_read("notice.css"),
    js=_read("notice.js"),
)
