"""What recordings are there and what is wrong with them, per subject and modality."""

import streamlit as st

from eavdash.ui import cache, parts
from eavdash.ui.figures import data as figures

parts.head("Health of the recordings", "What is there, what is missing, and what has to be mended?")
path = parts.dataset_input("data_health_path")
parts.need_dataset(path)
with parts.shown_errors():
    table = cache.dataset(path)
go = f"data_health_go {path}"
asked = st.button("Check again", on_click=cache.forget_health, args=(path,), key="data_health_again")
if len(table.frame) > parts.CHECK_AT_ONCE and not asked and not st.session_state.get(go):
    st.info(f"{len(table.frame)} trials: opening every recording takes some minutes.")
    st.button("Check them", type="primary", key="data_health_start", on_click=parts.remember, args=(go,))
    st.stop()
report = cache.health(path)
parts.simulated_banner(report.simulated)

count = figures.severities(report.findings)
if report.ok:
    st.success(f"Every recording can be used ({count}).")
else:
    st.error(f"Some recordings cannot be used ({count}).")
st.dataframe(figures.health_table(report.table), hide_index=True, key="data_health_table")
st.caption("Trials with a usable recording of each modality; missing: trials that should have one and do not.")

st.subheader("Findings", anchor=False)
if not report.findings:
    st.caption("Nothing was found.")
else:
    st.dataframe(figures.findings_table(report.findings), hide_index=True, key="data_health_findings", row_height=36)
    worst = [f for f in report.findings if f.severity == "error"]
    parts.bullet([f"{f.message}: {f.remedy}." for f in worst[:10]])

if not report.labels.empty:
    st.subheader("Balance of the labels", anchor=False)
    parts.chart(figures.label_balance(report.labels), "data_health_labels", "Trials per label, stacked over subjects.")
    st.dataframe(report.labels, hide_index=True, key="data_health_counts")
