"""The page Studies: its table, and the actions on the selected study.

In: rows of ``studies.overview``. Out: widgets (keys ``training_studies_*``) with the callbacks of
``eavdash.ui.actions``. A study is selected by name, so that a change of the table does not change the selection.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from eavdash.config.choices import ACROSS
from eavdash.config.selection import parse_numbers
from eavdash.errors import EavdashError
from eavdash.jobs.estimates import duration
from eavdash.store import StudyDir
from eavdash.studies import extend, verify
from eavdash.text import markdown, natural_order, plural, size
from eavdash.ui import actions, address, cached_data, cached_runs, tasks, widgets
from eavdash.ui.training import copy_settings

PAGE = "training_studies"
CHOICE, TABLE = f"{PAGE}_choice", f"{PAGE}_table"
DAMAGED_SHOWN = 20
NAMES = ("choice", "archived")  # of the widgets, also in the address


def filter_archived(every: pd.DataFrame) -> pd.DataFrame:
    """Return the studies to show: on request, including the archived ones."""
    archived = int(every["archived"].sum())
    address.valid_switch(f"{PAGE}_archived")
    if archived and st.toggle(f"Show {archived} archived", key=f"{PAGE}_archived"):
        return every
    return every[~every["archived"]]


def chosen_study(shown: pd.DataFrame) -> str | None:
    """Return the name of the selected study if it is in the table, else None."""
    name = st.session_state.get(CHOICE)
    return name if name in set(shown["study"]) else None


def study_table(shown: pd.DataFrame) -> str | None:
    """Show one row per study; return the name of the selected study."""
    names = shown["study"].tolist()
    name = st.session_state[CHOICE] = chosen_study(shown)
    # Rows may change: the selection follows the study, not the row number.
    st.session_state[TABLE] = {"selection": {"rows": [names.index(name)] if name else [], "columns": [], "cells": []}}
    st.dataframe(
        display_table(shown),
        hide_index=True,
        on_select=lambda: _choose(names),
        selection_mode="single-row",
        column_config={
            "State": st.column_config.TextColumn(width="medium"),
            "Dataset": st.column_config.TextColumn(width="small"),
            "Done": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1, width="small"),
            "Size": st.column_config.NumberColumn(format="bytes"),
            "Last change": st.column_config.DatetimeColumn(format="distance"),
        },
        key=TABLE,
    )
    total = size(int(shown["bytes"].sum()))
    st.caption(f"{plural(len(shown), 'study takes', 'studies take')} {total}. Select one for its actions.")
    for problem in filter(None, shown["problem"]):
        st.error(markdown(problem))
    selected: str | None = st.selectbox("Selected study", names, index=None, placeholder="Choose a study", key=CHOICE)
    return selected


def display_table(shown: pd.DataFrame) -> pd.DataFrame:
    """Return the table with display columns."""
    rows = shown.to_dict(orient="records")
    return pd.DataFrame(
        {
            "Study": shown["study"],
            "Done": shown["done"] / shown["runs"].clip(lower=1),
            "Runs": [f"{row['done']} of {row['runs']}" for row in rows],
            "State": [state_text(row) for row in rows],
            "Size": shown["bytes"],
            "Last change": pd.to_datetime(shown["changed"], unit="s", utc=True),
            "Protocol": shown["protocol"],
            "Dataset": shown["dataset"],
        }
    )


def state_text(row: Mapping[Any, Any]) -> str:
    """Return a study's state beyond its progress as text."""
    words = [word for word in ("archived", "paused") if row[word]]
    words += ["damaged"] if row["problem"] else []
    queued = row["states"].get("queued", 0) - row["never_queued"]
    counts = {"done": row["done"], **row["states"], "queued": queued, "never queued": row["never_queued"]}
    if row["runs"] and set(row["states"]) == {"done"}:
        counts = {"done": 0}
        words += [] if words else ["done"]
    words += [f"{n} {what}" for what, n in counts.items() if n]
    return ", ".join(words) or "no runs"


def study_head(row: Mapping[Any, Any]) -> None:
    """Show the name and the properties of the selected study."""
    st.subheader(markdown(row["study"]), anchor=False)
    facts = [
        f"Created {row['created'][:10]}" if row["created"] else "",
        f"preset {row['preset']}" if row["preset"] else "",
        f"protocol {row['protocol']}" if row["protocol"] else "",
        "simulated recordings" if row["simulated"] else "",
        size(row["bytes"]),
        f"of which {size(row['resume_bytes'])} to resume runs" if row["resume_bytes"] else "",
    ]
    st.caption(markdown(" · ".join(filter(None, facts))))


def study_buttons(study: StudyDir, row: Mapping[Any, Any]) -> None:
    """Show the buttons to open, clone, pause or resume, and verify a study."""
    container = st.container(horizontal=True)
    if study == widgets.current_study():
        container.page_link(widgets.MONITOR, label="Watch its runs")
    else:
        container.button(
            "Open",
            type="primary",
            help="Selects this study on every page.",
            on_click=actions.open_study,
            args=(study,),
            key=f"{PAGE}_open",
        )
    readable = not row["problem"]
    if container.button("Clone with edits", disabled=not readable, key=f"{PAGE}_clone"):
        copy_settings.copy_study_settings(study, extend.free_name(study.path.parent, study.name))
        widgets.open_page(widgets.LAUNCH)
    if row["paused"]:
        container.button(
            "Resume", on_click=actions.resume, args=(study,), disabled=row["archived"], key=f"{PAGE}_resume"
        )
    else:
        left = row["open"] or row["never_queued"]
        container.button(
            "Pause",
            help="Running runs will finish, no others start." if left else "No run is left to start.",
            on_click=actions.pause,
            args=(study,),
            disabled=row["archived"] or not left,
            key=f"{PAGE}_pause",
        )
    container.button(
        "Verify",
        help="Compares every file with its checksum, in the background.",
        on_click=tasks.start,
        args=(("verify", study.name), f"Verification of {study.name}", study.name),
        key=f"{PAGE}_verify",
    )


def show_verification(study: StudyDir) -> None:
    """Show the verification that runs, and the outcome of the newest one that has ended."""
    root, command = study.path.parent, ("verify", study.name)
    found, status = verify.kept(study), tasks.latest(study.path.parent, study.name, command)
    if status is not None and (status.state != "done" or found is None):
        tasks.panel(root, study.name, command, key=f"{PAGE}_verification")
    if found is None or (status is not None and not status.ended):
        return
    st.caption(f"Verified {duration(time.time() - found.made)} ago.")
    if not found.damaged:
        (st.success if found.files else st.info)(f"{markdown(found.sentence)}.")
    else:
        more = f", the first {DAMAGED_SHOWN} of them" if len(found.damaged) > DAMAGED_SHOWN else ""
        st.error(f"{markdown(found.sentence)}{more}.")
        widgets.bullet_list([damage.reason for damage in found.damaged[:DAMAGED_SHOWN]])
        if names := sorted({d.run for d in found.damaged if d.run and d.file not in verify.RECORDS}):
            st.button(
                f"Compute {plural(len(names), 'damaged run')} again",
                on_click=_retry_damaged,
                args=(study, names),
                key=f"{PAGE}_again",
            )
    if found.unchecked:
        st.caption(markdown(f"Not verified, as they have no checksums: {', '.join(found.unchecked[:5])}"))


def extension_form(study: StudyDir, row: Mapping[Any, Any]) -> None:
    """Show the form that adds subjects, folds or seeds and queues the new runs."""
    if row["problem"] or row["archived"]:
        return
    panel = st.expander("Add subjects, folds or seeds", key=f"{PAGE}_grow", on_change="rerun")
    if not panel.open:
        return
    with panel:
        try:
            selection = study.study().selection
            table = cached_data.dataset(row["dataset"])
            more = [s for s in natural_order([*table.subjects, *table.problems]) if s not in set(selection.subjects)]
        except EavdashError as error:
            widgets.show_error(error, PAGE)
            return
        fixed = row["protocol"] in ACROSS
        left, middle, right = st.columns(3)
        subjects = left.multiselect(
            "More subjects",
            more,
            disabled=fixed or not more,
            placeholder="Fixed across subjects" if fixed else "None" if more else "All included",
            key=f"{PAGE}_subjects",
        )
        so_far = [f"{', '.join(map(str, numbers))} so far" for numbers in (selection.folds, selection.seeds)]
        folds = middle.text_input("More folds", placeholder=so_far[0], key=f"{PAGE}_folds")
        seeds = right.text_input("More seeds", placeholder=so_far[1], key=f"{PAGE}_seeds")
        ended = row["states"].get("failed", 0) + row["states"].get("cancelled", 0)
        again = bool(ended) and st.checkbox(f"Also {ended} failed or cancelled", key=f"{PAGE}_ended")
        try:
            numbers = (
                parse_numbers(folds, "More folds") if folds.strip() else None,
                parse_numbers(seeds, "More seeds") if seeds.strip() else None,
            )
            planned = cached_runs.extension(study, subjects, *numbers)
        except EavdashError as error:
            widgets.show_error(error, PAGE)
            return
        waiting = len(planned.queued) - len(planned.new)
        st.markdown(f"New runs: {len(planned.new)}. Existing runs that were never queued: {waiting}.")
        st.button(
            "Queue them",
            type="primary",
            disabled=not planned.queued and not again,
            on_click=actions.extend,
            args=(study, subjects, *numbers, again),
            key=f"{PAGE}_extend",
        )


def archive_form(study: StudyDir, row: Mapping[Any, Any]) -> None:
    """Show the forms that archive and delete a study."""
    with st.expander("Archive or delete", key=f"{PAGE}_going"):
        if row["archived"]:
            st.button("Take out of the archive", on_click=actions.unarchive, args=(study,), key=f"{PAGE}_unarchive")
        else:
            st.caption("An archived study is hidden from lists and from the queue; its results stay.")
            resume_bytes = row["resume_bytes"]
            drop = bool(resume_bytes) and st.checkbox(
                f"Delete the checkpoints of its unfinished runs ({size(resume_bytes)})", key=f"{PAGE}_drop"
            )
            st.button("Archive", on_click=actions.archive, args=(study, drop), key=f"{PAGE}_archive")
        st.divider()
        typed_key = f"{PAGE}_delete_name"
        typed = st.text_input(f"Type {markdown(study.name)} to delete it permanently", key=typed_key)
        st.button(
            f"Delete {markdown(study.name)}",
            disabled=typed.strip() != study.name,
            on_click=actions.delete,
            args=(study, typed_key),
            key=f"{PAGE}_delete",
        )


def _choose(names: list[str]) -> None:
    """Handle the selection of a row."""
    picked = widgets.selected_rows(st.session_state.get(TABLE))
    st.session_state[CHOICE] = names[picked[0]] if picked and picked[0] < len(names) else None


def _retry_damaged(study: StudyDir, names: list[str]) -> None:
    """Queue damaged runs again and discard the outdated verification."""
    actions.retry(study, names)
    study.verification_file.unlink(missing_ok=True)
