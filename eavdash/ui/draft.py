"""Drafts of forms, for the same tab after a reload: Streamlit starts a new session then.

In: the form's widgets, whose keys :func:`kept` gave. Out: their values in the new session. They stay in this process's
memory under a random name that the tab's address carries; a tab that is opened without it has an empty form.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import streamlit as st

PARAMETER = "draft"  # of the address
DRAFTS = 100  # in memory; the least recently used ones are dropped
_KEYS: dict[str, set[str]] = {}  # of the widgets, by page


def kept(page: str, name: str) -> dict[str, Any]:
    """Return the key arguments of a page's widget whose value is kept while other pages are shown."""
    key = f"{page}_{name}"
    _KEYS.setdefault(page, set()).add(key)
    return {"key": key, "persist_state": "session"}


def keep(page: str, also: Sequence[str] = ()) -> None:
    """Fill a page's form after a reload of the tab; otherwise remember its values, and those of the keys ``also``.

    Called before the form is shown: Streamlit then has the values that were typed last.
    """
    state, drafts, own = st.session_state, _drafts(), f"{page}_{PARAMETER}"
    if own not in state:
        asked = st.query_params.get(PARAMETER, "")
        for key, value in drafts.get(asked, {}).items():
            state.setdefault(key, value)
        state[own] = asked if asked in drafts else secrets.token_urlsafe(9)
    name = state[own]
    drafts[name] = {key: state[key] for key in (*_KEYS.get(page, ()), *also) if key in state}
    drafts.move_to_end(name)
    while len(drafts) > DRAFTS:
        drafts.popitem(last=False)
    st.query_params[PARAMETER] = name


@st.cache_resource
def _drafts() -> OrderedDict[str, dict[str, Any]]:
    return OrderedDict()
