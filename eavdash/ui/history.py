"""The tab's history: each step of it is a page with its choices, so that Back and Forward lead to what was seen.

Streamlit makes a step of the history of everything that is written into the address. A page that writes its choices
when it is opened would so be two steps, and Back would open it again; and what a page writes before the browser has
opened it would be a step of the page before. The component corrects this in the browser (history.js).
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_component = st.components.v2.component(
    "eavdash_history", js=Path(__file__).with_name("history.js").read_text(encoding="utf-8")
)


def correct() -> None:
    """Correct the steps that are made from now on; called on every page."""
    _component(key="history")
