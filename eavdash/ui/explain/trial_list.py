"""A list of test trials; selecting one opens it on the page One trial."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from eavdash.ui import actions, widgets

_COLUMNS = {
    "subject": "Subject",
    "trial": "Trial",
    "label": "Label",
    "predicted": "Decided",
    "p_label": "Probability of the label",
    "surprise": "Surprise, bits",
    "distance": "Distance",
    "all": "Distance, all recordings",
}
_NUMBERS = ("p_label", "surprise", "distance", "all")


def trial_list(rows: pd.DataFrame, key: str) -> None:
    """Show rows with ``subject`` and ``trial``; numbers have two digits."""
    columns = {name: st.column_config.Column(title) for name, title in _COLUMNS.items()}
    columns |= {name: st.column_config.NumberColumn(_COLUMNS[name], format="%.2f") for name in _NUMBERS}
    more: dict[str, Any] = {"on_select": "rerun", "selection_mode": "single-row"}
    event = st.dataframe(rows, hide_index=True, column_config=columns, key=key, **more)
    for row in widgets.selected_rows(event)[:1]:
        chosen = rows.iloc[row]
        st.session_state[actions.TARGET] = str(chosen["subject"]), str(chosen["trial"])
        widgets.open_page(widgets.EXPLAIN)
