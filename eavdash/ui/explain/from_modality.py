"""From which modality a decision comes: a waterfall and exact Shapley values, beside attention and attributions.

In: the rows of one trial, one per stage, and shapley.parquet of the fusion's run. Studies without the file get it by a
task.
"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from eavdash.config.convert import recorded_config
from eavdash.errors import EavdashError
from eavdash.report import theme
from eavdash.report.figures import attention, modalities
from eavdash.report.figures import explain as figures
from eavdash.store import RunDir, StudyDir, checkpoints_root
from eavdash.store.documents import StudyDocument
from eavdash.text import markdown
from eavdash.ui import cached_explanations, cached_results, tasks, widgets
from eavdash.ui.explain.choose_trial import PAGE

WATERFALL = (
    "From the class's share of the training trials to the decision: what each modality adds alone, then what they add "
    "only together (×). Means over the trial's windows, natural logarithm."
)
SHAPLEY = (
    "A Shapley value is exact: what the modality adds on average over all orders in which modalities can arrive. "
    "Attributions add up to the difference from a baseline's logit, another question, and need not agree."
)


def show(study: StudyDir, document: StudyDocument, rows: pd.DataFrame) -> None:
    """Show what each modality contributes to the decision of fusion, and what each says alone."""
    fused = rows[rows["stage"] == "fusion"]
    kind = recorded_config(document).fusion.kind
    if len(fused):
        st.subheader("From which modality", anchor=False)
        _contributions(study, fused, kind)
    with st.container(key=f"{PAGE}_each"):
        left, right = st.columns(2)
        with left:
            st.markdown("**What each predicts**")
            chart = figures.probabilities(rows, document.classes)
            widgets.chart(chart, f"{PAGE}_probabilities", "Probability of each class by stage.")
            count = int(rows["windows"].iloc[0])
            st.caption(f"Mean over the trial's windows (n = {count}) in log-probability.")
        with right:
            st.markdown("**Attention**")
            _attention(study, rows, kind)


def _contributions(study: StudyDir, fused: pd.DataFrame, kind: str) -> None:
    row = fused.iloc[0]
    run, subject, trial, decided = study.run(row["run"]), str(row["subject"]), str(row["trial"]), str(row["predicted"])
    try:
        found = cached_explanations.waterfall(run, subject, trial, decided)
    except EavdashError as error:  # the rest of the page does without
        widgets.show_error(error, f"{PAGE}_waterfall")
        return
    if found is None:
        _offer(study)
        return
    steps = dict(found.steps)
    shapley = {name: value for name, value in found.shapley.items() if name in steps}  # the present ones
    weights = {
        m: s for m, s in attention.mean_shares(attention.decisions_with_attention(fused)).items() if m in shapley
    }
    left, right = st.columns([1.1, 1], vertical_alignment="center")
    with left:
        chart = modalities.waterfall(found.steps, decided)
        widgets.chart(chart, f"{PAGE}_waterfall", f"What each modality adds to the log-probability of {decided}.")
    with right:
        table = modalities.table(shapley, weights, _sums(run, subject, trial, decided))
        notes = {name: st.column_config.Column(help=note) for name, note in modalities.COLUMNS.items()}
        st.dataframe(table, hide_index=True, column_config=notes, key=f"{PAGE}_shares")
        if sentence := modalities.disagreement(shapley, weights, kind):
            st.info(markdown(sentence))
        st.caption(SHAPLEY)
    st.caption(WATERFALL)


def _sums(run: RunDir, subject: str, trial: str, decided: str) -> dict[str, float]:
    """Return the sums of the attributions of the decided class, if a map of it is stored."""
    for which in cached_explanations.stored(run, subject, trial):
        if which.target in ("", decided) and not which.against:
            found = cached_explanations.opened(run, subject, trial, which)
            return found.explanation.sums if found else {}
    return {}


def _offer(study: StudyDir) -> None:
    """Show the button that computes the contributions of a study of an earlier version."""
    command = ["shapley", study.name]
    st.info(
        "This study has no contributions of modalities yet. All of its test trials take about a second per subject."
    )
    st.button(
        "Compute the contributions",
        type="primary",
        on_click=tasks.start,
        args=(command, f"Contributions of modalities in {study.name}", study.name),
        key=f"{PAGE}_shapley",
    )
    tasks.panel(checkpoints_root(), study.name, command, key=f"{PAGE}_task_shapley")


def _attention(study: StudyDir, rows: pd.DataFrame, kind: str) -> None:
    fused = attention.decisions_with_attention(rows)
    if fused.empty:
        st.info(attention.no_attention_note(kind, "fusion" in set(rows["stage"])))
        return
    windows = cached_results.windows(study, fused["subject"].iloc[0], fused["trial"].iloc[0])
    chart = attention.attention_windows(windows[windows["run"] == fused["run"].iloc[0]])
    widgets.chart(chart, f"{PAGE}_attention", "Attention share of each modality, window by window.")
    shares = ", ".join(f"{theme.label(m)} {theme.percent(s)}" for m, s in attention.mean_shares(fused).items())
    widgets.note(f"Over the trial: {shares}. {theme.SHARES}")
