"""The available recordings and their problems, per subject and modality."""

import streamlit as st

from eavdash.ui import address, cached_data, widgets
from eavdash.ui.data import faces, health
from eavdash.ui.fragment import stop

widgets.page_head("Health of the recordings", "What is there, what is missing, and what needs to be fixed?")
widgets.show_message()
address.read(health.PAGE, health.NAMES, health.MANY)
path = widgets.dataset_input("data_health", "path")
widgets.require_dataset(path)
with widgets.show_errors(), st.container():  # the layout stays the same with and without a spinner
    table = cached_data.dataset(path)
widgets.show_refused(table, "data_health")
report = health.checked(path)
widgets.simulated_banner(report.simulated)

health.summary(path, report)
if report.table.empty:
    health.findings(report.findings)
    address.write(health.PAGE, health.NAMES)
    stop()
health.subject_counts(report)
health.findings(report.findings)
health.distributions(report)
health.protocol_folds(report)
faces.contact_sheet(path, table)
health.recordings(report)
address.write(health.PAGE, health.NAMES)
