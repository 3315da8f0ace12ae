"""The home page: three doors on a first visit; later what runs, what failed, the latest results and what is next."""

import streamlit as st

from eavdash.store import checkpoints_root
from eavdash.text import markdown
from eavdash.ui import cached_runs, widgets
from eavdash.ui.fragment import stop
from eavdash.ui.home import doors, latest, now

widgets.page_head(
    "eavdash",
    "Train models that recognise emotions from EEG, audio and video, and see what they recognise in whom, and why.",
)
widgets.show_message()
root = checkpoints_root()
every = cached_runs.overview(root)
if every.empty:
    doors.show(root)
now.show(root, every)
if every.empty:
    stop()
latest.show(root)
with st.expander("Other recordings, or other studies", key="home_overview_more"):
    st.page_link(widgets.ADD, label="Add data", icon=":material/add:")
    st.page_link(widgets.LAUNCH, label="Set up a study")
    st.caption(f"These studies are in {markdown(root)}.")
    doors.other_folder()
