"""The template of a trial table, and the form that says which of a table's columns is which.

In: the entries of the form that adds a dataset. Out: pairs of a trial table's column and the file's name for it.
"""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from eavdash.ui.data.candidate import DatasetForm, header

PER_LINE = 3  # fields


def template(page: str) -> None:
    """Show the button that downloads a table to fill in."""
    from eavdash.data.formats.columns import TEMPLATE

    st.download_button(
        "Download a template",
        TEMPLATE,
        "trials.csv",
        "text/csv",
        help="A table with three trials: two with one long EEG file and a clip each, and one with files of its own.",
        on_click="ignore",
        key=f"{page}_template",
    )


def with_columns(form: DatasetForm, page: str) -> DatasetForm:
    """Show the choice of columns, if it is wanted, and return the entries with it."""
    from eavdash.data.formats.columns import CLOCK_COLUMNS, OPTIONAL, RECORDINGS, REQUIRED, usual

    wanted = st.toggle(
        "Its columns have other names",
        help="Choose which column is which. The list then keeps a copy of the table with the usual names.",
        key=f"{page}_mapping",
    )
    if not wanted:
        return form
    names = header(form)
    if not names:
        st.caption("Enter or upload a table first; one without any of the usual columns has to be uploaded.")
        return form
    own = {usual(name): name for name in reversed(names)}
    chosen: list[tuple[str, str]] = []
    fields = (*REQUIRED, *RECORDINGS, *OPTIONAL, *CLOCK_COLUMNS)
    for first in range(0, len(fields), PER_LINE):
        for column, name in zip(st.columns(PER_LINE), fields[first : first + PER_LINE], strict=True):
            # The key has the file's columns: another file starts from its own names.
            taken = column.selectbox(
                name,
                names,
                index=names.index(own[name]) if name in own else None,
                placeholder="not in the table",
                key=f"{page}_column_{name}_{hash(names)}",
            )
            if taken is not None:
                chosen.append((name, taken))
    return replace(form, columns=tuple(pair for pair in chosen if pair[0] != pair[1]))
