"""Add data: name recordings, look at what is read of them, add them to the list, then train on them."""

import streamlit as st

from eavdash.store import checkpoints_root
from eavdash.ui import address, widgets
from eavdash.ui.data import add_dataset, added

widgets.page_head("Add data", "Which recordings should be looked at and trained on? Nothing is copied or changed.")
widgets.show_message()
root = checkpoints_root()
if not st.session_state.get(add_dataset.ADDED) and address.read(add_dataset.PAGE, add_dataset.NAMES):
    add_dataset.take_up_added(root)
if new := st.session_state.get(add_dataset.ADDED):
    added.show(*new)
else:
    add_dataset.form(root)
    address.write(add_dataset.PAGE, add_dataset.NAMES)
with st.expander("Remove a dataset from the list", key="data_add_removal"):
    add_dataset.removal_form(root)
