"""The list of studies with progress and size; clone, extend, verify, archive or delete one."""

import streamlit as st

from eavdash.store import StudyDir, checkpoints_root
from eavdash.ui import address, cached_runs, widgets
from eavdash.ui.fragment import stop
from eavdash.ui.training import studies

widgets.page_head("Studies", "Which studies exist, how far are they, and how much disk space do they use?")
root = checkpoints_root()
every = cached_runs.overview(root)
address.read(studies.PAGE, studies.NAMES)
shown = studies.filter_archived(every)
if not studies.chosen_study(shown):
    widgets.show_message()
if every.empty:
    st.info("There is no study yet. Train one first, or make the demo from the home page.")
    st.page_link(widgets.HOME, label="Home")
    st.page_link(widgets.LAUNCH, label="Set up a study")
    stop()
if shown.empty:
    st.info("All studies are archived.")
    stop()
name = studies.study_table(shown)
address.write(studies.PAGE, studies.NAMES)
if name:
    row = shown[shown["study"] == name].iloc[0].to_dict()
    studies.study_head(row)
    widgets.show_message()  # near the button that was pressed
    study = StudyDir(root / name)
    studies.study_buttons(study, row)
    studies.show_verification(study)
    studies.extension_form(study, row)
    studies.archive_form(study, row)
