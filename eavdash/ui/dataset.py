"""The dataset that the pages about recordings and the launch form share: one selection, in the address as ``dataset``.

In: the key of a page's field. Out: the field's value. The selection that was made last counts on every page: in a
field, by a button (:func:`choose`), or by an address that the app did not write itself.
"""

from __future__ import annotations

import streamlit as st

DATASET = "dataset"  # in the session's state, and in the address
_WRITTEN = f"{DATASET}_address"


def choose(path: str) -> None:
    """Select a dataset for all pages; callable from a button."""
    st.session_state[DATASET] = path


def chosen() -> str:
    """Return the path of the selected dataset, or an empty string."""
    asked = st.query_params.get(DATASET)
    if asked is not None and asked != st.session_state.get(_WRITTEN):
        st.session_state[DATASET] = st.session_state[_WRITTEN] = asked
    return str(st.session_state.get(DATASET) or "")


def fill(key: str) -> None:
    """Set a page's field to the selection if that was made elsewhere; called before the field is shown."""
    if (path := chosen()) != st.session_state.get(_seen(key), ""):
        st.session_state[key] = path or None


def keep(key: str, path: str) -> None:
    """Make a field's value the selection of all pages, and write it into the address."""
    st.session_state[DATASET] = st.session_state[_seen(key)] = st.session_state[_WRITTEN] = path
    if path != st.query_params.get(DATASET, ""):
        st.query_params[DATASET] = path


def _seen(key: str) -> str:
    return f"{key}_shared"
