"""The choices of the page of subjects: its widgets, whose values are in the address of the tab.

In: what can be chosen in this study. Out: a :class:`Choices`. Whatever an address says, each value is one that exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from eavdash.report import theme
from eavdash.report.figures import results as figures
from eavdash.report.figures.answer import metric_name
from eavdash.results.metrics import METRICS
from eavdash.results.scored import LEVELS
from eavdash.ui import address, choosing, widgets
from eavdash.ui.draft import kept

PAGE = "results_subjects"
VIEWS = {"bars": "Bars", "dots": "Sorted dots", "tiles": "Heat map", "slopes": "Paired slopes"}
SWITCHES = ("baselines", "corrected", "paper")
NAMES = ("level", "metric", "view", "sort", "filter", *SWITCHES, "subject")  # of the widgets, also in the address
METRIC_HELP = (
    "Accuracy: share of right decisions. Balanced accuracy: mean recall over the classes. Macro-F1: mean F1 over the "
    "classes. Figures, tables, comparisons and exports follow."
)
FILTER_HELP = "Subjects, ranges or parts of names, separated by commas; empty: all."


@dataclass(frozen=True)
class Choices:
    """The values of the widgets."""

    level: str
    metric: str
    view: str
    sort: str
    filter: str
    baselines: bool
    corrected: bool
    paper: bool


def show(stages: Sequence[str], subjects: Sequence[str], against: str, eav: bool) -> Choices:
    """Show the widgets and return the choices; ``against``: the stage over which fusion gains, or empty."""
    address.read(PAGE, NAMES)
    sorts = ["subject", *stages, *(["gain"] if against else [])]
    views = [view for view in VIEWS if view != "slopes" or len(stages) > 1]
    address.valid(f"{PAGE}_subject", subjects)
    for name in SWITCHES:
        address.valid_switch(f"{PAGE}_{name}")
    if not isinstance(st.session_state.get(f"{PAGE}_filter"), str):
        st.session_state[f"{PAGE}_filter"] = ""
    titles = {"subject": "name", "gain": f"gain over {theme.label(against)}"}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        view = choosing.segments("View", views, label=VIEWS.__getitem__, **kept(PAGE, "view"))
        name = choosing.choose(PAGE, st, "Sort by", sorts, "sort", lambda s: titles.get(s, theme.label(s)), width=170)
        some = st.text_input(
            "Subjects", placeholder="All; or 3-7, 12", help=FILTER_HELP, width=170, **kept(PAGE, "filter")
        )
        # What is chosen less often takes no room on a phone.
        with st.popover("Scores and references", icon=":material/tune:", key=f"{PAGE}_more"):
            level = choosing.segments("Scored per", LEVELS, help=widgets.LEVEL_HELP, **kept(PAGE, "level"))
            metric = choosing.segments(
                "Metric", [*METRICS], label=metric_name, help=METRIC_HELP, **kept(PAGE, "metric")
            )
            baselines = st.toggle("Baselines", **kept(PAGE, "baselines"))
            corrected = st.toggle("Corrected chance line", help=figures.CORRECTED_HELP, **kept(PAGE, "corrected"))
            paper = st.toggle("Paper's Table I", disabled=not eav, **kept(PAGE, "paper"))
    return Choices(level, metric, view, name, some, baselines, corrected, paper and eav)


def subject(subjects: Sequence[str]) -> str | None:
    """Show the widget for one subject and return the subject, or None."""
    return st.selectbox(
        "Subject", subjects, index=None, placeholder="Click a bar, or choose a subject", **kept(PAGE, "subject")
    )


def write() -> None:
    """Write the choices to the address; called after all widgets are shown."""
    address.write(PAGE, NAMES)
