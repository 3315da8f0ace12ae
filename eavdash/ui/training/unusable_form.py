"""The launch form's widgets for trials whose recordings cannot be used, as ``train --strict --leave-out --keep``.

In: the session's widgets (keys ``training_launch_*``). Out: an :class:`~eavdash.studies.unusable.Unusable`.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from eavdash.config.choices import UNUSABLE
from eavdash.store.documents import LeftOut
from eavdash.studies.unusable import Unusable, kinds
from eavdash.ui.draft import kept


def defaults(record: LeftOut | None = None) -> dict[str, Any]:
    """Return the widgets' values, those of a study if its record is given, by the last part of their keys."""
    chosen = record or LeftOut()
    return {"strict": False, "leave_out": list(chosen.leave_out), "keep": list(chosen.keep)}


def form(page: str) -> Unusable:
    """Show the choices and return them."""
    words = kinds()

    def choose(column: Any, title: str, option: str) -> tuple[str, ...]:
        chosen = column.multiselect(
            title,
            list(words),
            format_func=lambda kind: f"{kind}: {words[kind]}",
            placeholder="None",
            help=_help(option),
            **kept(page, option.strip("-").replace("-", "_")),
        )
        return tuple(chosen)

    with st.expander("Trials that cannot be used", key=f"{page}_unusable"):
        st.caption("They are left out by name, unless something else is chosen here.")
        strict = st.checkbox("Refuse the study if there is one", help=_help("--strict"), **kept(page, "strict"))
        left, right = st.columns(2)
        leave_out = choose(left, "Also leave out trials with", "--leave-out")
        keep = choose(right, "Keep trials, without that recording, with", "--keep")
    return Unusable(strict, leave_out, keep)


def _help(option: str) -> str:
    text = UNUSABLE[option]
    return f"{text[0].upper()}{text[1:]}; `{option}` of `eavdash train`."
