"""The launch form in the address of its tab: a reload or a link opens the same form, back and forward work.

In: the form's widgets. Out: parameters of the address, only for what differs from the preset and from an empty form:
``set=key=value`` for each setting and ``sweep=key=a,b`` for each with several values. ``preset`` is always there.
An address may hold anything: the fields show what is wrong with a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from eavdash.text import listing, markdown, parts
from eavdash.ui.training import copy_settings, execution_form, form_state
from eavdash.ui.training.form_state import FIELDS, PAGE, TABS, Start

#: The widgets that are no settings, with their values in an empty form; their type is that of the address' text.
SIMPLE: dict[str, Any] = {
    "name": "",
    "subjects": [],
    "folds": "all",
    "seeds": "0",
    "tab": TABS[0],
    "strict": False,
    "leave_out": [],
    "keep": [],
    **execution_form.EMPTY,
}
LONGEST = 2_000  # characters of a value that is read or written
MOST = 6_000  # characters of all settings, more than those of the whole schema
#: The parameters that only this page has; a link has at least one.
_OWN = {"preset", "name", "set", "sweep"}
_WRITTEN, _UNREAD, _FRESH = f"{PAGE}_address", f"{PAGE}_address_unread", f"{PAGE}_address_fresh"
NAMED = 3  # sentences about what could not be read


def read() -> None:
    """Set the form from an address that the page did not write itself; called before the form is shown."""
    asked = {name: st.query_params.get_all(name) for name in ("preset", "set", "sweep", *SIMPLE)}
    asked = {name: values for name, values in asked.items() if any(values)}
    if not _OWN & asked.keys() or asked == st.session_state.get(_WRITTEN):
        return
    state = st.session_state
    name = asked.get("preset", ["quick"])[-1][:LONGEST]
    if name.startswith(copy_settings.PREFIX):
        state[copy_settings.SOURCE] = name
    state[f"{PAGE}_preset"] = name
    copy_settings.apply_preset()
    for each, empty in SIMPLE.items():
        state[f"{PAGE}_{each}"] = _value(asked[each][-1][:LONGEST], empty) if each in asked else empty
    unread = [problem for text in asked.get("set", []) if (problem := form_state.apply(text[:LONGEST]))]
    swept = [text[:LONGEST].partition("=") for text in asked.get("sweep", [])]
    unread += [form_state.apply(f"{key}=") for key, _, _ in swept if key not in FIELDS]
    state[_UNREAD], state[_FRESH] = unread, True
    state[f"{PAGE}_swept"] = list(dict.fromkeys(key for key, _, _ in swept if key in FIELDS))
    for key, _, values in swept:
        state[f"{PAGE}_values_{key}"] = values


def show_unread() -> None:
    """Say what of the address is not in the form, until the form is changed: a link may be of another version."""
    unread = st.session_state.get(_UNREAD, [])
    if not unread:
        return
    more = f" {len(unread) - NAMED} more." if len(unread) > NAMED else ""
    st.warning(f"Not taken over from the address: {' '.join(map(markdown, unread[:NAMED]))}{more}")


def write(start: Start, sweeps: Sequence[str]) -> None:
    """Write the form to the address, in one step of the tab's history; called after the form is shown."""
    state = st.session_state
    values: dict[str, list[str]] = {"preset": [str(state.get(f"{PAGE}_preset"))]}
    settings = [f"{key}={form_state.text(key)}" for key in FIELDS if form_state.changed(key, start)]
    if sum(map(len, settings)) <= MOST:
        values["set"] = settings
    values["sweep"] = [text for text in sweeps if len(text) <= LONGEST]
    for name, empty in SIMPLE.items():
        value = state.get(f"{PAGE}_{name}", empty)
        if (value or empty) != empty:
            text = listing(value) if isinstance(value, list) else str(value)
            values[name] = [text] if len(text) <= LONGEST else []
    values = {name: texts for name, texts in values.items() if texts}
    before = {name: st.query_params.get_all(name) for name in ("preset", "set", "sweep", *SIMPLE)}
    if values != {name: texts for name, texts in before.items() if texts}:
        for name in [name for name, texts in before.items() if texts and name not in values]:
            del st.query_params[name]
        st.query_params.update(values)
    if state.get(_WRITTEN) != values and not state.pop(_FRESH, False):
        state.pop(_UNREAD, None)
    state[_WRITTEN] = values


def _value(text: str, empty: Any) -> Any:
    """Return the value that a text of the address stands for, of the type of the empty form's."""
    if isinstance(empty, list):
        return list(parts(text))
    if isinstance(empty, bool):
        return text == "True"
    try:
        return float(text) if empty is None else type(empty)(text)
    except ValueError:
        return empty
