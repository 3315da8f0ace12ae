"""A page's choices in the address of its tab: a reload or a link opens the same, back and forward work.

In: the page's widgets, whose keys are ``<page>_<name>`` and whose values are text, a number or None, or lists of texts
(``many``). Out: parameters of the address with these values; empty for None. A page that is opened without any of them
keeps its choices.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from typing import Any

import streamlit as st

LONGEST = 300  # characters of a value that is read; the server limits the whole address


def read(page: str, names: Sequence[str], many: Collection[str] = ()) -> bool:
    """Set the widgets from an address that this page did not write itself; called before they are shown.

    Return True if there was one. The page checks the values, which anybody may have typed (:func:`valid`). Widgets
    whose values Streamlit has dropped, as another page was shown, get theirs back.
    """
    asked = {name: st.query_params[name][:LONGEST] for name in names if name in st.query_params}
    written = st.session_state.get(_written(page), {})
    linked = bool(asked) and asked != written
    values = asked or written
    for name in names:
        key = f"{page}_{name}"
        if linked or (name in values and key not in st.session_state):
            text = values.get(name, "")
            st.session_state[key] = next(csv.reader([text]), []) if name in many else text or None
    return linked


def write(page: str, names: Sequence[str]) -> None:
    """Write the choices to the address, in one step of the tab's history; called after the widgets are shown."""
    values = {name: _text(st.session_state.get(f"{page}_{name}"))[:LONGEST] for name in names}
    if values != {name: st.query_params.get(name) for name in names}:
        st.query_params.update(values)
    st.session_state[_written(page)] = values


def valid(key: str, options: Collection[Any], default: Any = None) -> None:
    """Set a widget to ``default`` unless its value is one of the options; called before it is shown."""
    if st.session_state.get(key) not in options:
        st.session_state[key] = default


def valid_switch(key: str) -> None:
    """Set a toggle to what an address says as text; off if it says something else."""
    st.session_state[key] = str(st.session_state.get(key)) == "True"


def _text(value: Any) -> str:
    if not isinstance(value, (list, tuple)):
        return "" if value is None or value is False else str(value)
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(value)
    return line.getvalue()


def _written(page: str) -> str:
    return f"{page}_address"
