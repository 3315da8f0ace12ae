"""What recordings there are and what is wrong with them, per subject and modality."""

import streamlit as st

from eavdash.ui import cached_data, parts
from eavdash.ui.data import faces, health

parts.head("Health of the recordings", "What is there, what is missing, and what has to be mended?")
parts.message()
path = parts.dataset_input("data_health_path")
health.datasets_panel(path)
parts.need_dataset(path)
with parts.shown_errors(), st.container():  # whose place is the same whether a spinner is shown in it or not
    table = cached_data.dataset(path)
report = health.scanned(path)
parts.simulated_banner(report.simulated)

health.answer(path, report)
if report.table.empty:
    health.findings(report.findings)
    st.stop()
health.subjects(report)
health.findings(report.findings)
health.overview(report)
health.outlook(report)
faces.contact_sheet(path, table)
health.recordings(report)
