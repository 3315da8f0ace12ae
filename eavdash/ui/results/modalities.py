"""Agreement of the modalities, and who is right when the others are wrong, on the page of statistics."""

from __future__ import annotations

import streamlit as st

from eavdash.report import theme
from eavdash.report.figures import together as figures
from eavdash.results import together as decided
from eavdash.store import StudyDir
from eavdash.text import markdown, plural
from eavdash.ui import cached_statistics, choosing, widgets
from eavdash.ui.draft import kept
from eavdash.ui.results.confusions import trial_links

PAGE = "results_statistics"


def show(study: StudyDir) -> None:
    """Show how often the modalities are right together, pair by pair, and the ceiling of following the right one."""
    found = cached_statistics.together(study)
    if found is None:
        st.info("This needs two modalities that have been tested on the same trials.")
        return
    st.markdown(f"**{markdown(figures.sentence(found))}**")
    widgets.chart(
        figures.pattern_bars(decided.patterns(found)),
        f"{PAGE}_patterns",
        "Share of the trials by which modalities were right, and fusion's part of them.",
    )
    st.dataframe(figures.pair_table(decided.pairs(found)), hide_index=True, key=f"{PAGE}_pairs")
    st.caption(
        "Shares of the common trials; seeds share a trial's weight. κ: agreement of the predicted classes beyond what "
        "independent decisions would have. The oracle is chosen by the labels: a ceiling, no result."
    )
    show_alone(study)


def show_alone(study: StudyDir) -> None:
    """Show the trials that one modality alone was right about, each linked to its page."""
    found = cached_statistics.together(study)
    if found is None:
        return
    st.subheader("One modality right alone", anchor=False)
    chosen = choosing.segments("Only right", found.modalities, label=theme.label, **kept(PAGE, "alone"))
    items = decided.alone(found, chosen)
    if items.empty:
        st.info(f"No trial that {theme.label(chosen)} alone was right about.")
        return
    st.caption(f"{plural(len(items), 'decision')} that {theme.label(chosen)} alone got right.")
    trial_links(study, figures.alone_table(items, found.modalities, found.fused), f"{PAGE}_alone_trials")
