"""The page Add data once a dataset is in the list: its check, its first trial, and where to go from here.

In: the dataset's name and path. The check of all recordings is a background task, the one that the page Health reads.
"""

from __future__ import annotations

import streamlit as st

from eavdash.config.presets import preset
from eavdash.errors import EavdashError
from eavdash.report.figures import data as figures
from eavdash.store import checkpoints_root
from eavdash.text import markdown
from eavdash.ui import cached_data, dataset, scanning, tasks, widgets
from eavdash.ui.data import health, trial_view
from eavdash.ui.data.add_dataset import PAGE, another


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
        st.button("Add another", on_click=another, key=f"{PAGE}_another")
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
    command, files = health.command(path), health.count_files(path)
    status, found = tasks.latest(checkpoints_root(), command=command), cached_data.health_report(path)
    if found is None and status is None and scanning.start_at_once(health.PAGE, command, health.title(path), files):
        status, found = tasks.latest(checkpoints_root(), command=command), cached_data.health_report(path)
    if found is not None:
        health.verdict(found.report)
    elif status is None:
        scanning.offer(health.PAGE, command, health.title(path), files, key=f"{PAGE}_check_all")
    else:
        tasks.panel(checkpoints_root(), command=command, key=f"{PAGE}_task")
