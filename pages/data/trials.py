"""One trial's recordings with one playhead: video, audio, EEG and scalp map."""

import streamlit as st

from eavdash.config.convert import recorded_config
from eavdash.config.presets import preset
from eavdash.report.figures import data as figures
from eavdash.text import markdown
from eavdash.ui import address, cached_data, widgets
from eavdash.ui.data import trial_view

widgets.page_head("Trials", "What was recorded in this trial?")
widgets.show_message()
address.read(trial_view.PAGE, trial_view.NAMES, trial_view.MANY)
path = widgets.dataset_input("data_trials", "path")
widgets.require_dataset(path)
with widgets.show_errors():
    table = cached_data.dataset(path)
    study = widgets.current_study()
    config = recorded_config(study.study()) if study else preset("quick")
widgets.show_refused(table, "data_trials")
widgets.simulated_banner(table.simulated)
row = trial_view.choose_trial(table)
address.write(trial_view.PAGE, trial_view.NAMES)
if row is not None:
    st.caption(markdown(figures.trial_facts(row.to_dict())))
    trial_view.show_trial(row.to_dict(), config)
    if study:
        st.caption(markdown(f"Prepared as in the study {study.name}, which is chosen at the left."))
