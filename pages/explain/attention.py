"""Attention shares of the modalities, by subject, emotion and outcome."""

import streamlit as st

from eavdash.config.convert import recorded_config
from eavdash.ui import cached_results, theme, widgets
from eavdash.ui.explain import attention_heads
from eavdash.ui.figures import attention as figures

study, document = widgets.study_page("Attention", "Which modality do the fused decisions depend on?")
trials = cached_results.trials(study)
widgets.require_results(study, trials)
fused = figures.decisions_with_attention(trials)
if fused.empty:
    st.info(figures.no_attention_note(recorded_config(document).fusion.kind, "fusion" in set(trials["stage"])))
    st.stop()

mean = figures.mean_shares(fused)
for column, (modality, share) in zip(st.columns(len(mean)), mean.items(), strict=True):
    column.metric(theme.label(modality), theme.percent(share), border=True)
st.caption(f"Mean attention share over n = {len(fused)} decisions on test trials. {theme.SHARES}")
if note := figures.missing_modalities_note(fused):
    st.caption(note)
groups = {"subject": "Subject", "label": "Emotion", "outcome": "Right or wrong"}
for by, title in groups.items():
    st.subheader(title, anchor=False)
    widgets.chart(
        figures.attention_groups(fused, by), f"explain_attention_{by}", f"Mean attention share per {title.lower()}."
    )
with st.expander("Per layer and head", key="explain_attention_heads", on_change="rerun") as detail:
    if detail.open:  # read the files only on request
        attention_heads.study_heads(study, fused)
with st.expander("All trials", key="explain_attention_all"):
    st.dataframe(figures.attention_table(fused), hide_index=True, key="explain_attention_table")
