"""Choices of which one is always made: a list and a segmented control whose values an address may have set.

In: the options, and the widget's key. Out: the chosen option. The value is set before the widget is shown, so that an
address or another page can choose it: Streamlit would show the old value otherwise, as a browser does not take over a
default once the user has chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from eavdash.ui import address
from eavdash.ui.draft import kept


def choose(
    page: str,
    container: Any,
    title: str,
    options: Sequence[str],
    name: str,
    label: Callable[[str], str] = str,
    **more: Any,
) -> Any:
    """Show a selectbox, kept in the session, whose value is always one of ``options``.

    None: of no options, or with ``index=None``.
    """
    default = options[0] if options and more.get("index", 0) is not None else None
    address.valid(f"{page}_{name}", options, default)
    return container.selectbox(title, options, format_func=label, **kept(page, name), **more)


def segments(title: str, options: Sequence[Any], key: str, label: Callable[[Any], str] = str, **more: Any) -> Any:
    """Show a segmented control in which one option, at first ``default`` or the first one, is always selected.

    Return that option. ``more``: of the widget; with the arguments of :func:`kept` its value stays in the session.
    """
    default, container = more.pop("default", options[0]), more.pop("container", st)
    address.valid(key, options, default)
    return container.segmented_control(title, options, format_func=label, required=True, key=key, **more)
