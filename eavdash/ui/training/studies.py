"""The page of studies: its table, and what can be done with the study that was chosen.

In: rows of ``studies.overview``. Out: widgets (keys ``training_studies_*``); what they do is in
``eavdash.ui.actions``. A click on a row chooses by name, so that a table that changes meanwhile changes no choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from eavdash.config.selection import parse_numbers
from eavdash.errors import EavdashError
from eavdash.results.tables import natural
from eavdash.store import StudyDir
from eavdash.studies import extend, verify
from eavdash.studies.overview import size
from eavdash.studies.runs import CROSS_SUBJECT
from eavdash.ui import actions, cached_data, cached_runs, widgets
from eavdash.ui.training import copy_settings

PAGE = "training_studies"
CHOICE, TABLE = f"{PAGE}_choice", f"{PAGE}_table"
DAMAGED_SHOWN = 20


def filter_archived(every: pd.DataFrame) -> pd.DataFrame:
    """The studies to show: those in use, and on request the archived ones."""
    archived = int(every["archived"].sum())
    if archived and st.toggle(f"Show {archived} archived", key=f"{PAGE}_archived"):
        return every
    return every[~every["archived"]]


def chosen_study(shown: pd.DataFrame) -> str | None:
    """The name of the study that was chosen, if it is among those shown."""
    name = st.session_state.get(CHOICE)
    return name if name in set(shown["study"]) else None


def study_table(shown: pd.DataFrame) -> str | None:
    """One row per study; the name of the one that was chosen."""
    names = shown["study"].tolist()
    name = st.session_state[CHOICE] = chosen_study(shown)
    # Rows come and go: the mark stays with the study, not with the row.
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
    st.caption(f"{len(shown)} {'study takes' if len(shown) == 1 else 'studies take'} {total}. Select one to act on it.")
    for problem in filter(None, shown["problem"]):
        st.error(widgets.escape_markdown(problem))
    return st.selectbox("Study to act on", names, index=None, placeholder="Choose a study", key=CHOICE)


def display_table(shown: pd.DataFrame) -> pd.DataFrame:
    """The table as people read it."""
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
    """What there is to know about a study beyond its progress, in words."""
    words = [word for word in ("archived", "paused") if row[word]]
    words += ["cannot be read"] if row["problem"] else []
    queued = row["states"].get("queued", 0) - row["never_queued"]
    counts = {"done": row["done"], **row["states"], "queued": queued, "never queued": row["never_queued"]}
    if row["runs"] and set(row["states"]) == {"done"}:
        counts = {"done": 0}
        words += [] if words else ["done"]
    words += [f"{n} {what}" for what, n in counts.items() if n]
    return ", ".join(words) or "no runs"


def study_head(row: Mapping[Any, Any]) -> None:
    """Name and facts of the chosen study."""
    st.subheader(row["study"], anchor=False)
    facts = [
        f"Made {row['created'][:10]}" if row["created"] else "",
        f"preset {row['preset']}" if row["preset"] else "",
        f"protocol {row['protocol']}" if row["protocol"] else "",
        "simulated recordings" if row["simulated"] else "",
        size(row["bytes"]),
        f"of which {size(row['resume_bytes'])} to go on from" if row["resume_bytes"] else "",
    ]
    st.caption(widgets.escape_markdown(" · ".join(filter(None, facts))))


def study_buttons(study: StudyDir, row: Mapping[Any, Any]) -> None:
    """Open, clone, pause or resume, verify."""
    place = st.container(horizontal=True)
    if study == widgets.current_study():
        place.page_link(widgets.MONITOR, label="Watch its runs")
    else:
        place.button(
            "Open",
            type="primary",
            help="Makes it the current study of every page.",
            on_click=actions.open_study,
            args=(study,),
            key=f"{PAGE}_open",
        )
    readable = not row["problem"]
    if place.button("Clone with edits", disabled=not readable, key=f"{PAGE}_clone"):
        copy_settings.copy_study_settings(study, extend.free_name(study.path.parent, study.name))
        widgets.open_page(widgets.LAUNCH)
    if row["paused"]:
        place.button("Resume", on_click=actions.resume, args=(study,), disabled=row["archived"], key=f"{PAGE}_resume")
    else:
        left = row["open"] or row["never_queued"]
        place.button(
            "Pause",
            help="What runs is finished, nothing else starts." if left else "No run is left that could start.",
            on_click=actions.pause,
            args=(study,),
            disabled=row["archived"] or not left,
            key=f"{PAGE}_pause",
        )
    if place.button("Verify", help="Compares every file with its checksum.", key=f"{PAGE}_verify"):
        bar = st.progress(0.0, "Reading the files")
        found = verify.verify(study, lambda done, of, _: bar.progress(done / max(of, 1), "Reading the files"))
        bar.empty()
        st.session_state[f"{PAGE}_verified"] = (study.name, found)


def show_verification(study: StudyDir) -> None:
    """What verifying has found, as long as the study stays chosen."""
    name, found = st.session_state.get(f"{PAGE}_verified") or ("", None)
    if name != study.name or not isinstance(found, verify.Verification):
        return
    if not found.damaged:
        (st.success if found.files else st.info)(f"{widgets.escape_markdown(found.sentence)}.")
    else:
        more = f", the first {DAMAGED_SHOWN} of them" if len(found.damaged) > DAMAGED_SHOWN else ""
        st.error(f"{widgets.escape_markdown(found.sentence)}{more}.")
        widgets.bullet_list([damage.reason for damage in found.damaged[:DAMAGED_SHOWN]])
        if names := sorted({d.run for d in found.damaged if d.run and d.file not in verify.RECORDS}):
            st.button(
                f"Compute {len(names)} damaged {'run' if len(names) == 1 else 'runs'} again",
                on_click=_retry_damaged,
                args=(study, names),
                key=f"{PAGE}_again",
            )
    if found.unchecked:
        st.caption(widgets.escape_markdown(f"Without checksums, not compared: {', '.join(found.unchecked[:5])}"))


def extension_form(study: StudyDir, row: Mapping[Any, Any]) -> None:
    """Add subjects, folds or seeds, and queue what was never queued."""
    if row["problem"] or row["archived"]:
        return
    panel = st.expander("Add subjects, folds or seeds", key=f"{PAGE}_grow", on_change="rerun")
    if not panel.open:
        return
    with panel:
        try:
            selection = study.study()["selection"]
            people = cached_data.dataset(row["dataset"])
            more = [s for s in natural([*people.subjects, *people.problems]) if s not in set(selection["subjects"])]
        except EavdashError as error:
            st.error(widgets.escape_markdown(error))
            return
        fixed = row["protocol"] in CROSS_SUBJECT
        left, middle, right = st.columns(3)
        subjects = left.multiselect(
            "More subjects",
            more,
            disabled=fixed or not more,
            placeholder="Fixed across subjects" if fixed else "None" if more else "All are in it",
            key=f"{PAGE}_subjects",
        )
        so_far = {axis: f"{', '.join(map(str, selection[axis]))} so far" for axis in ("folds", "seeds")}
        folds = middle.text_input("More folds", placeholder=so_far["folds"], key=f"{PAGE}_folds")
        seeds = right.text_input("More seeds", placeholder=so_far["seeds"], key=f"{PAGE}_seeds")
        ended = row["states"].get("failed", 0) + row["states"].get("cancelled", 0)
        again = bool(ended) and st.checkbox(f"Also {ended} that failed or were cancelled", key=f"{PAGE}_ended")
        try:
            numbers = (
                parse_numbers(folds, "More folds") if folds.strip() else None,
                parse_numbers(seeds, "More seeds") if seeds.strip() else None,
            )
            planned = cached_runs.extension(study, subjects, *numbers)
        except EavdashError as error:
            st.error(widgets.escape_markdown(error))
            return
        waiting = len(planned.queued) - len(planned.new)
        st.markdown(f"New runs: {len(planned.new)}. There already, but never queued: {waiting}.")
        st.button(
            "Queue them",
            type="primary",
            disabled=not planned.queued and not again,
            on_click=actions.extend,
            args=(study, subjects, *numbers, again),
            key=f"{PAGE}_extend",
        )


def archive_form(study: StudyDir, row: Mapping[Any, Any]) -> None:
    """Archive and delete."""
    with st.expander("Archive or delete", key=f"{PAGE}_going"):
        if row["archived"]:
            st.button("Take out of the archive", on_click=actions.unarchive, args=(study,), key=f"{PAGE}_unarchive")
        else:
            st.caption("An archived study is left out of lists and of the queue; its results stay.")
            resume_bytes = row["resume_bytes"]
            drop = bool(resume_bytes) and st.checkbox(
                f"Delete what its unfinished runs would go on from ({size(resume_bytes)})", key=f"{PAGE}_drop"
            )
            st.button("Archive", on_click=actions.archive, args=(study, drop), key=f"{PAGE}_archive")
        st.divider()
        typed_key = f"{PAGE}_delete_name"
        typed = st.text_input(f"Type {widgets.escape_markdown(study.name)} to delete it for good", key=typed_key)
        st.button(
            f"Delete {study.name}",
            disabled=typed.strip() != study.name,
            on_click=actions.delete,
            args=(study, typed_key),
            key=f"{PAGE}_delete",
        )


def _choose(names: list[str]) -> None:
    """Callback of a selected row."""
    picked = widgets.selected_rows(st.session_state.get(TABLE))
    st.session_state[CHOICE] = names[picked[0]] if picked and picked[0] < len(names) else None


def _retry_damaged(study: StudyDir, names: list[str]) -> None:
    """Callback: damaged runs start over; what was found is out of date then."""
    actions.retry(study, names)
    st.session_state.pop(f"{PAGE}_verified", None)
