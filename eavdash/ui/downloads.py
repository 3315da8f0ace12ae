"""Downloads of figures and tables that keep the study's caveats, and the button that makes the report.

In: a figure with the description that its page shows, or a table. Out: its numbers as a table, which a keyboard and a
screen reader reach; PNG, SVG and CSV, PDF at the width of a paper's column, or CSV, JSON and LaTeX, with the study,
protocol, marks and "simulated" in them. A file is made when it is asked for, never while a page is drawn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from eavdash.report import figure_data
from eavdash.report.caveats import Caveats, of_study
from eavdash.store import StudyDir
from eavdash.text import csv_for_people, json_text, markdown, shortened, visible
from eavdash.ui import tasks
from eavdash.ui.fragment import fragment

_TYPES = {
    "png": "image/png",
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
    "csv": "text/csv",
    "json": "application/json",
    "tex": "text/x-tex",
}
#: Rows of a table that is part of the page; longer ones are drawn as one scrolls.
READ_ALOUD = 300


@fragment()
def figure_menu(figure: go.Figure, key: str, alt: str, study: StudyDir | None, files: bool = True) -> None:
    """Show the ways to a figure's content: its numbers as a table, and its files. Each is made once it is opened.

    ``alt``: its description, whose first part is its title. ``files``: False leaves only the table.
    """
    with st.container(horizontal=True, gap="small", key=f"{key}_figure_menu"):
        kind: dict[str, Any] = {"type": "tertiary", "on_change": "rerun"}
        with st.popover("Data", icon=":material/table:", key=f"{key}_data", **kind) as table:
            if table.open:
                _numbers(figure_data.for_people(figure), shortened(alt, 200))
        if not files:
            return
        with st.popover("Download", icon=":material/download:", key=f"{key}_downloads", **kind) as menu:
            if menu.open:
                _figure_files(figure, key, alt, study)


def _numbers(frame: pd.DataFrame, title: str) -> None:
    """Show a figure's numbers; up to :data:`READ_ALOUD` rows as a part of the page, which screen readers read."""
    if len(frame) <= READ_ALOUD:
        shown = frame.map(_readable).rename(columns=markdown)
        st.table(shown, hide_index=True, height=360, width=480, alt=title)
    else:
        st.dataframe(frame, hide_index=True, height=360, width=480, alt=title)


def _readable(value: object) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:g}"
    return markdown(value)


def _figure_files(figure: go.Figure, key: str, alt: str, study: StudyDir | None) -> None:
    from eavdash.report.document.render import caption_of, file_of
    from eavdash.report.static import COLUMNS

    title, about, name = shortened(re.split("[,;.]", alt)[0], 90), _caveats(study), key.replace("_", "-")

    def made(form: str, column: int = 0) -> Callable[[], bytes]:
        return lambda: file_of(figure, form, title, alt, about, column)

    st.caption("With title and caveats in it")
    _buttons({form: (f"{name}.{form}", made(form)) for form in ("png", "svg", "csv")}, key)
    for words, column in COLUMNS.items():
        st.caption(f"For a paper, {words} ({column} mm)")
        forms = {form: (f"{name}-{column}mm.{form}", made(form, column)) for form in ("pdf", "svg", "png")}
        _buttons(forms, f"{key}_{column}")
    st.caption("Its caption")
    st.code(caption_of(title, alt, about), language=None, wrap_lines=True, width=420)


def table_menu(frame: pd.DataFrame, key: str, title: str, study: StudyDir, latex: Callable[[Caveats], str]) -> None:
    """Show the menu of a table's files; ``latex``: makes the LaTeX text with the caveats."""

    def csv() -> str:
        return csv_for_people(_caveats(study).beside(frame))

    def plain() -> str:
        from eavdash.report.plain_json import strict

        rows = strict(_caveats(study).beside(frame).to_dict(orient="records"))
        return json_text(json.dumps(rows, indent=2, ensure_ascii=False, default=str))

    def tex() -> str:
        return visible(latex(_caveats(study)), keep="\n")

    _menu({form: (f"{title}.{form}", make) for form, make in (("csv", csv), ("json", plain), ("tex", tex))}, key)


def report_button(study: StudyDir, page: str) -> None:
    """Show the button that makes the study's report, the task that does it, and the newest report to download."""
    command = ("report", study.name)
    st.subheader("Report", anchor=False)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Make the report",
            icon=":material/description:",
            on_click=tasks.start,
            args=(command, "Report", study.name),
            help="One HTML file that opens offline: data health, methods, figures, statistics, explained trials with "
            "their receipts, and the commands that reproduce it. Nothing is computed anew.",
            key=f"{page}_report",
        )
        if study.report_file.is_file():
            st.download_button(
                "Download the newest report",
                study.report_file.read_bytes,
                f"{study.name}.html",
                "text/html",
                on_click="ignore",
                key=f"{page}_report_file",
            )
    tasks.panel(study.path.parent, study.name, command, key=f"{page}_reporting")


def _menu(files: dict[str, tuple[str, Callable[[], str | bytes]]], key: str) -> None:
    with st.popover("Download", icon=":material/download:", type="tertiary", key=f"{key}_downloads"):
        _buttons(files, key)


def _buttons(files: Mapping[str, tuple[str, Callable[[], str | bytes]]], key: str) -> None:
    with st.container(horizontal=True, gap="small"):
        for form, (name, make) in files.items():
            label = {"tex": "LaTeX"}.get(form, form.upper())
            st.download_button(label, make, name, _TYPES[form], on_click="ignore", key=f"{key}_{form}", type="tertiary")


def _caveats(study: StudyDir | None) -> Caveats:
    return of_study(study) if study is not None else Caveats("none", "none")
