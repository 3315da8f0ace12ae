"""The launch form of a study; its plan is shown before anything is queued."""

import streamlit as st

from eavdash.config.convert import recorded_config
from eavdash.results.left_out import sentences
from eavdash.results.marks import marks_of
from eavdash.store import checkpoints_root
from eavdash.text import markdown, plural, size
from eavdash.ui import actions, cached_data, draft, widgets
from eavdash.ui.training import copy_settings, execution_form, launch_form

widgets.page_head("Set up a study", "What should be trained, on which recordings, and how should it be tested?")
widgets.show_message()
root = checkpoints_root()
draft.keep("training_launch", also=[copy_settings.SOURCE])
launch_form.initialise()

left, right = st.columns([2, 1])
path = widgets.dataset_input("training_launch", "dataset", left)
name = right.text_input("Study name", placeholder="my-study", **draft.kept("training_launch", "name")).strip()

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
st.caption(markdown(launch_form.preset_advice(table)))
with widgets.show_errors():
    request = launch_form.form(table.subjects, conditions="condition" in table.frame)

st.subheader("What will run", anchor=False)
if not name:
    st.info("Enter a study name to see its runs.")
    st.stop()
launch_form.look(path, name, request.config, request.selection.subjects, root)
plan = copy_settings.plan_or_conflict(path, name, request.config, request.selection, root, request.unusable)
planned = recorded_config(plan.document)
st.markdown(launch_form.plan_sentence(plan))
for sentence in sentences(plan.document.left_out):
    st.warning(markdown(sentence))
copy_settings.show_differences(plan)
if plan.existing and plan.study == widgets.current_study():
    st.page_link(widgets.MONITOR, label="Watch the runs")
st.dataframe(launch_form.plan_table(plan), hide_index=True, key="training_launch_plan")
if time_sentence := launch_form.time_sentence(plan, request.execution):
    st.caption(markdown(time_sentence))
used, free = cached_data.disk_use(root)
st.caption(f"Studies use {size(used)} of disk space; {size(free)} are free.")
launch_form.disk_space(path, planned, request.selection.subjects, root)
execution_form.check_button(root, request.execution, "training_launch")
if reasons := launch_form.left_out_reasons(plan):
    with st.expander(f"Left out or unable to start ({len(reasons)})", key="training_launch_left_out"):
        widgets.bullet_list(reasons)
for note in plan.notes:
    st.caption(markdown(note))
for mark in marks_of(planned):
    st.warning(markdown(mark.sentence))
st.button(
    "Queue this study",
    type="primary",
    on_click=actions.launch,
    args=(path, name, request.config, request.selection, request.execution, root, request.unusable),
    key="training_launch_queue",
)
