"""One trial's recordings under one playhead: video, sound, EEG and scalp map."""

import streamlit as st

from eavdash.config.convert import from_dict
from eavdash.config.presets import preset
from eavdash.ui import cached_data, parts
from eavdash.ui.data import trial_view
from eavdash.ui.figures import data as figures

parts.head("Trials", "What was recorded in this trial?")
path = parts.dataset_input("data_trials_path")
parts.need_dataset(path)
with parts.shown_errors():
    table = cached_data.dataset(path)
    study = parts.current_study()
    config = from_dict(study.study()["config"]) if study else preset("quick")
parts.simulated_banner(table.simulated)
row = trial_view.pick(table)
if row is not None:
    st.caption(parts.plain(figures.facts(row.to_dict())))
    trial_view.show(row.to_dict(), config)
