"""A page's choices in the address of its tab: a reload or a link opens the same, back and forward work.

In: the page's widgets, whose keys are ``<page>_<name>`` and whose values are text or None. Out: parameters of the
address with these values; empty for None. A page that is opened without any of them keeps its choices.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

LONGEST = 300  # characters of a value that is read; the server limits the whole address


def read(page: str, names: Sequence[str]) -> bool:
    """Set the widgets from an address that this page did not write itself; called before they are shown.

    Return True if there was one. The page checks the values, which anybody may have typed.
    """
    asked = {name: st.query_params[name][:LONGEST] for name in names if name in st.query_params}
    linked = bool(asked) and asked != st.session_state.get(_written(page))
    if linked:
        for name in names:
            st.session_state[f"{page}_{name}"] = asked.get(name) or None
    return linked


def write(page: str, names: Sequence[str]) -> None:
    """Write the choices to the address, in one step of the tab's history; called after the widgets are shown."""
    values = {name: str(st.session_state.get(f"{page}_{name}") or "")[:LONGEST] for name in names}
    if values != {name: st.query_params.get(name) for name in names}:
        st.query_params.update(values)
    st.session_state[_written(page)] = values


def _written(page: str) -> str:
    return f"{page}_address"
