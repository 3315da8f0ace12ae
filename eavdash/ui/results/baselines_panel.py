"""The panel of the baselines on the page of subjects: their means, beside the stage whose windows they read."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from eavdash.report.figures.baselines import baseline_means, means_note
from eavdash.results.metrics import METRICS
from eavdash.results.reading import BASELINES
from eavdash.ui import widgets

PAGE = "results_subjects"


def show(scores: pd.DataFrame, independent: pd.DataFrame, subjects: Sequence[str], metric: str = "accuracy") -> None:
    """Show the means over ``subjects``; ``scores``: with baselines, ``independent``: the same at level trial."""
    shown = scores[scores["subject"].isin(subjects)]
    if not shown["stage"].isin(BASELINES).any():
        return
    st.markdown("**Baselines**")
    widgets.chart(
        baseline_means(shown, independent, metric),
        f"{PAGE}_baselines_chart",
        f"Mean {METRICS[metric]} of each stage and of its baselines, with 95 % intervals.",
    )
    st.caption(means_note(shown, metric))
