"""Two components of the page of runs: the grid whose cells are chosen by a click, and the word when a study ends.

In: what :func:`eavdash.ui.figures.training.grid` makes of the runs shown. Out: the names of the runs that were
clicked, into the session state of another widget. Nothing is fetched; both draw only what Python sends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

__all__ = ["grid", "notice"]


def grid(data: dict[str, Any], selected: Sequence[str], key: str, on_choice: Callable[[list[str]], None]) -> None:
    """Draw the grid with the ``selected`` runs marked; ``on_choice`` is told all that are after a click."""

    def told() -> None:
        on_choice([str(name) for name in _choice(key).get("runs") or []])

    # The number of the last click that is known here: the grid waits for it before it believes ``selected``.
    turn = int(_choice(key).get("turn") or 0)
    _grid(data={**data, "selected": [*selected], "turn": turn}, key=key, on_choice_change=told)


def notice(study: str, over: bool, words: str, key: str) -> None:
    """A switch for this browser: show a desktop notification with ``words`` when the study ends; gone once it has.

    The browser asks for permission; the page need not be in front, but it must be open.
    """
    _notice(data={"study": study, "over": over, "words": words}, key=key)


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
