"""The modalities on which the fused decisions rest: attention shares beside Shapley values and attributions."""

import streamlit as st

from eavdash.config.convert import recorded_config
from eavdash.report.figures import agreement_words
from eavdash.report.figures import attention as figures
from eavdash.ui import address, cached_agreement, cached_results, widgets
from eavdash.ui.explain import agreement, attention_heads
from eavdash.ui.fragment import stop

study, document = widgets.study_page("Attention", "Which modality do the fused decisions rest on?")
trials = cached_results.trials(study)
widgets.require_results(study, trials)
kind = recorded_config(document).fusion.kind
attended = figures.decisions_with_attention(trials)
if attended.empty:
    st.info(figures.no_attention_note(kind, "fusion" in set(trials["stage"])))
    if "fusion" not in set(trials["stage"]):
        stop()

widgets.show_message()
address.read(agreement.PAGE, agreement.NAMES)
found = cached_agreement.compared(study)
agreement.show_answer(found, kind)
if note := figures.missing_modalities_note(attended):
    st.caption(note)
agreement.offer_missing(study, found)
agreement.show_groups(study, found, agreement.show_agreement(study, found))
if len(attended):
    with st.expander("Per layer and head", key="explain_attention_heads", on_change="rerun") as detail:
        if detail.open:  # read the files only on request
            attention_heads.study_heads(study, attended)
address.write(agreement.PAGE, agreement.NAMES)
with st.expander("All trials", key="explain_attention_all"):
    st.dataframe(agreement_words.decision_table(found.table), hide_index=True, key="explain_attention_table")
