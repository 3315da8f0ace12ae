"""One test trial: the predictions of all stages, the attention of fusion, and attributions in the recordings."""

import streamlit as st

from eavdash.config.convert import recorded_config
from eavdash.text import markdown
from eavdash.ui import cached_explanations, cached_results, theme, widgets
from eavdash.ui.explain import attributions, choose_trial
from eavdash.ui.figures import attention
from eavdash.ui.figures import explain as figures

study, document = widgets.study_page("One trial", "What does the decision on this trial depend on?")
trials = cached_results.trials(study)
widgets.require_results(study, trials)
rows = choose_trial.choose_trial(trials)
if rows.empty:
    st.info("No trial matches. Choose another subject, decision or emotion.")
    st.stop()
first = rows.iloc[0]
subject, trial, fold, seed = first["subject"], first["trial"], int(first["fold"]), int(first["seed"])
st.markdown(f"**{markdown(choose_trial.decision_sentence(rows))}**")

fused = attention.decisions_with_attention(rows)
left, right = st.columns(2)
with left:
    st.subheader("Probabilities", anchor=False)
    chart = figures.probabilities(rows, document.classes)
    widgets.chart(chart, "explain_trial_probabilities", "Probability of each class by stage.")
    st.caption(f"Mean over the trial's windows (n = {int(first['windows'])}) in log-probability.")
with right:
    st.subheader("Attention", anchor=False)
    if fused.empty:
        st.info(attention.no_attention_note(recorded_config(document).fusion.kind, "fusion" in set(rows["stage"])))
    else:
        windows = cached_results.windows(study, subject, trial)
        mine = windows[(windows["run"] == fused["run"].iloc[0])]
        chart = attention.attention_windows(mine)
        widgets.chart(chart, "explain_trial_attention", "Attention share of each modality, window by window.")
        shares = ", ".join(f"{theme.label(m)} {theme.percent(s)}" for m, s in attention.mean_shares(fused).items())
        st.caption(f"Over the trial: {shares}. {theme.SHARES}")

st.subheader("Attributions", anchor=False)
run = study.run(rows[rows["stage"] == choose_trial.deciding_stage(rows)]["run"].iloc[0])
st.caption(
    f"Integrated gradients of the decision of {markdown(run.name)}: red supports the class, blue opposes it. They are "
    "computed once on this machine and kept with the run."
)
with widgets.show_errors():
    found = cached_explanations.explanation(run, subject, trial)
    if found is None:
        st.caption("This takes a few seconds with the quick preset, and longer with full-size encoders.")
        if not st.button("Compute attributions", type="primary", key="explain_trial_compute"):
            st.stop()
        with st.spinner("Computing attributions"):
            cached_explanations.compute_explanation(study, subject, trial, fold, seed)
        st.rerun()
attributions.show_attributions(found)
