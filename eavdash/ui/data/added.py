"""The page Add data once a dataset is in the list: its check, its first trial, and where to go from here.

In: the dataset's name and path. The check of all recordings is a background task, the one that the page Health reads.
"""

from __future__ import annotations

import streamlit as st

from eavdash.config.choices import COLUMN
from eavdash.config.presets import preset
from eavdash.errors import EavdashError
from eavdash.report.figures import data as figures
from eavdash.report.figures import health_tables
from eavdash.store import checkpoints_root
from eavdash.text import markdown, plural
from eavdash.ui import cached_data, dataset, scanning, tasks, widgets
from eavdash.ui.data import health, trial_view
from eavdash.ui.data.add_dataset import ADDED, PAGE


def show(name: str, path: str) -> None:
    """Show the dataset that was added last."""
    st.subheader(markdown(f"{name} is in the list"), anchor=False)
    st.caption(f"{markdown(path)}. All pages show this dataset now.")
    with st.container(horizontal=True):
        if st.button("Train on this", type="primary", on_click=dataset.choose, args=(path,), key=f"{PAGE}_train"):
            widgets.open_page(widgets.LAUNCH)
        if st.button("Look at trials", on_click=dataset.choose, args=(path,), key=f"{PAGE}_trials"):
            widgets.open_page(widgets.TRIALS)
        if st.button("See its health", on_click=dataset.choose, args=(path,), key=f"{PAGE}_health"):
            widgets.open_page(widgets.HEALTH)
        st.button("Add another", on_click=st.session_state.pop, args=(ADDED, None), key=f"{PAGE}_another")
    try:
        table = cached_data.dataset(path)
    except EavdashError as error:
        widgets.show_error(error, f"{PAGE}_added")
        return
    _check(path)
    usable = table.frame[~table.frame["subject"].isin(list(table.problems))]
    if usable.empty:
        return
    row = usable.iloc[figures.most_complete(usable)].to_dict()
    first = f"Subject {row['subject']}, trial {row['trial']}"
    st.subheader(markdown(first), anchor=False)
    st.caption(markdown(figures.trial_facts(row)))
    trial_view.show_trial(row, preset("quick"))


def _check(path: str) -> None:
    """Show what the check of all recordings has found; start it if there was none, many files on request."""
    from eavdash.data.named_files import file_of

    command = ("check", "--", path)
    status, found = tasks.latest(checkpoints_root(), command=command), cached_data.health_report(path)
    frame = cached_data.dataset(path).frame
    files = sum(len({file_of(entry) for entry in frame[column] if entry}) for column in COLUMN.values())
    if found is None and status is None and files <= scanning.CHECK_AT_ONCE:
        scanning.start(health.PAGE, command, health.title(path))
        status, found = tasks.latest(checkpoints_root(), command=command), cached_data.health_report(path)
    if found is not None:
        count = health_tables.severities(found.report.findings)
        text = health_tables.summary_sentence(found.report) + (f" {count.capitalize()}." if count else "")
        severities = {f.severity for f in found.report.findings}
        (st.error if "error" in severities else st.warning if "warning" in severities else st.success)(text)
        return
    if status is None:
        st.info(f"{plural(files, 'file')} to check, in the background{scanning.few_minutes(files)}.")
        arguments = (health.PAGE, command, health.title(path))
        st.button("Check them", on_click=scanning.start, args=arguments, key=f"{PAGE}_check_all")
    else:
        tasks.panel(checkpoints_root(), command=command, key=f"{PAGE}_task")
