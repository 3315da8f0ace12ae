"""Attention per layer and head: of the class token, and between modalities.

In: means from ``eavdash.results.attention``, or the arrays of one stored explanation. Axes: class token (head,
modality), maps (layer, head, modality, modality). ``eavdash.report.figures`` draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from eavdash.report import theme
from eavdash.report.figures import attention as figures
from eavdash.results import attention
from eavdash.store import StudyDir
from eavdash.text import markdown, natural_order
from eavdash.ui import address, cached_results, choosing, widgets
from eavdash.ui.explain.agreement import group_titles
from eavdash.ui.explain.choose_trial import label_word

if TYPE_CHECKING:
    from eavdash.explain.explanation import Explanation

PAGE = "explain_attention"
MAPS_PER_ROW = 4  # on a wide screen; a narrow one stacks them
OLDER = (
    "Trained by an older version, without attention by layer and head: {which}. The page One trial shows it for a "
    "trial whose attributions are computed."
)


def study_heads(study: StudyDir, fused: pd.DataFrame) -> None:
    """Show the heads of a study's fusion runs, averaged over the selected decisions of ``fused``."""
    found = cached_results.attention_heads(study)
    for problem in found.problems:
        st.error(markdown(problem))
    if found.without:
        more = f" and {len(found.without) - 3} more" if len(found.without) > 3 else ""
        st.info(markdown(OLDER.format(which=", ".join(found.without[:3]) + more)))
    chosen = _filtered(fused) if len(found.table) else fused.head(0)
    table = attention.of_trials(found.table, chosen)
    if table.empty:
        if len(found.table):
            st.info(
                f"No decision matches. Choose another subject, {label_word(natural_order(fused['label']))} or outcome."
            )
        return
    _show_heads(attention.modalities(table), attention.mean_shares(table), attention.mean_maps(table), PAGE, len(table))


def trial_heads(explanation: Explanation) -> None:
    """Show the heads of one explained trial, averaged over its windows."""
    from eavdash.explain.explanation import mean_maps

    if explanation.attention is None or explanation.maps is None:
        return
    maps = mean_maps(explanation.maps)
    maps[maps.sum(axis=-1) < 0.5] = np.nan  # a modality that no window has
    with st.expander("Per layer and head", key="explain_trial_heads"):
        _show_heads(explanation.modalities, explanation.attention.mean(axis=0), maps, "explain_trial", 1)


def _filtered(fused: pd.DataFrame) -> pd.DataFrame:
    """Return the decisions that match the filters."""
    titles = group_titles(natural_order(fused["label"]))
    filters = {name: titles[name] for name in ("subject", "label", "outcome")}
    for container, (column, title) in zip(st.columns(len(filters)), filters.items(), strict=True):
        options = natural_order(fused[column])
        address.valid(f"{PAGE}_heads_{column}", options)
        value = container.selectbox(title, options, index=None, placeholder="all", key=f"{PAGE}_heads_{column}")
        fused = fused[fused[column] == value] if value else fused
    return fused


def _show_heads(modalities: Sequence[str], shares: np.ndarray, maps: np.ndarray, page: str, n: int) -> None:
    over = f"Means over n = {n} decisions on test trials." if n > 1 else "Means over the windows of one trial."
    st.markdown("**Attention of the decision, head by head**")
    widgets.chart(
        figures.head_shares(shares, modalities), f"{page}_head_shares", "Attention share by head and modality."
    )
    st.caption(f"{over} The decision uses the mean of the heads. {theme.SHARES}")
    if not len(maps):
        return
    st.markdown("**Attention between modalities, before the decision**")
    layer = 0
    if len(maps) > 1:
        layers = [str(number + 1) for number in range(len(maps))]
        layer = int(choosing.segments("Layer", layers, f"{page}_layer")) - 1
    for first in range(0, maps.shape[1], MAPS_PER_ROW):
        for head, container in enumerate(st.columns(MAPS_PER_ROW), start=first):
            if head < maps.shape[1]:
                with container:
                    st.caption(f"Layer {layer + 1}, head {head + 1}")
                    alt = f"Modality by modality attention of layer {layer + 1}, head {head + 1}."
                    widgets.chart(figures.attention_map(maps[layer, head], modalities), f"{page}_map_{head}", alt)
    missing = [theme.label(m) for m, row in zip(modalities, maps[layer, 0], strict=True) if np.isnan(row).all()]
    st.caption(
        "Each row: the attention of that modality's query; rows sum to 100 %."
        + (f" Not recorded in any of these decisions: {', '.join(missing)}." if missing else "")
    )
