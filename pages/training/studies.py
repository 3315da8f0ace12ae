"""Studies as a whole: what is there, how far, how large; copy one, add to it, put it away, delete it."""

import streamlit as st

from eavdash.store import StudyDir, checkpoints_root
from eavdash.ui import cached_runs, parts
from eavdash.ui.training import studies

parts.head("Studies", "What is there, how far is it, and how much room does it take?")
root = checkpoints_root()
every = cached_runs.overview(root)
shown = studies.choose_shown(every)
if not studies.chosen(shown):
    parts.message()
if every.empty:
    st.info("There is no study yet. Train one first, or run `make demo` for a study with simulated recordings.")
    st.page_link(parts.LAUNCH, label="Set up a study")
    st.stop()
if shown.empty:
    st.info("All studies are archived.")
    st.stop()
name = studies.table(shown)
if name:
    row = shown[shown["study"] == name].iloc[0].to_dict()
    studies.head(row)
    parts.message()  # beside the button that was pressed
    study = StudyDir(root / name)
    studies.buttons(study, row)
    studies.findings(study)
    studies.growing(study, row)
    studies.going(study, row)
