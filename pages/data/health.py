"""What recordings there are and what is wrong with them, per subject and modality."""

import streamlit as st

from eavdash.ui import cached_data, widgets
from eavdash.ui.data import faces, health

widgets.page_head("Health of the recordings", "What is there, what is missing, and what has to be mended?")
widgets.show_message()
path = widgets.dataset_input("data_health_path")
health.datasets_panel(path)
widgets.require_dataset(path)
with widgets.show_errors(), st.container():  # whose place is the same whether a spinner is shown in it or not
    table = cached_data.dataset(path)
report = health.scan_with_progress(path)
widgets.simulated_banner(report.simulated)

health.summary(path, report)
if report.table.empty:
    health.findings(report.findings)
    st.stop()
health.subject_counts(report)
health.findings(report.findings)
health.distributions(report)
health.protocol_folds(report)
faces.contact_sheet(path, table)
health.recordings(report)
