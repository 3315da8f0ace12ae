"""The launch form of a study; its plan is shown before anything is queued."""

import streamlit as st

from eavdash.store import checkpoints_root
from eavdash.text import markdown, plural
from eavdash.ui import cached_data, widgets
from eavdash.ui.draft import kept
from eavdash.ui.training import fields, from_data, launch_address, launch_form, launch_plan

widgets.page_head("Set up a study", "What should be trained, on which recordings, and how should it be tested?")
widgets.show_message()
root = checkpoints_root()
launch_address.read()
launch_address.show_unread()
messages = fields.Messages()

left, right = st.columns([2, 1])
path = widgets.dataset_input("training_launch", "dataset", left)
name = right.text_input("Study name", placeholder="my-study", **kept("training_launch", "name")).strip()
messages.add("name", right)

widgets.require_dataset(path)
with widgets.show_errors():
    table = cached_data.dataset(path)
widgets.show_refused(table, "training_launch")
widgets.simulated_banner(table.simulated)
st.caption(
    f"{plural(len(table.frame), 'trial')} of {plural(len(table.subjects), 'subject')} in "
    f"{len(table.classes)} classes: "
    f"{markdown(', '.join(table.classes))}."
)
st.caption(markdown(from_data.preset_advice(path)))
with widgets.show_errors():
    start = launch_form.start(path)
    request = launch_form.form(table, path, name, start, messages)
launch_address.write(start, launch_form.sweeps())
if request is not None:
    launch_plan.show(request, root, messages)
