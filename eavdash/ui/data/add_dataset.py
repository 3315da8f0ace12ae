"""The form of the page Add data: a dataset enters the list after a look that reads and shows one trial.

In: a name, and a path on the server or an uploaded trial table with the base folder of its paths. Out: an entry of
``eavdash.store.datasets``. Nothing is written before the button "Add"; each error is one sentence.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from eavdash.errors import EavdashError
from eavdash.report import theme
from eavdash.report.figures import feature_tables
from eavdash.report.figures import health as figures
from eavdash.store import datasets
from eavdash.text import markdown, plural
from eavdash.ui import actions, dataset, widgets
from eavdash.ui.data import column_names
from eavdash.ui.data.candidate import NO_FILE, PICTURE, TYPES, UPLOAD_LIMIT, Candidate, DatasetForm, check
from eavdash.ui.draft import kept

if TYPE_CHECKING:
    from eavdash.data.preview import TrialPreview

PAGE = "data_add"
ADDED = f"{PAGE}_added"  # name and path of the dataset that was added last, in the session's state
NAMES = ("name", "path")  # of the widgets, also in the address
SERVER, UPLOAD = "A path on the server", "Upload a trial table"
PROBLEMS_SHOWN = 5


def form(root: Path) -> None:
    """Show the form and the outcome of the check; an added dataset is the one of all pages."""
    column_names.template(PAGE)
    entries = column_names.with_columns(_read_form(), PAGE)
    buttons = st.container(horizontal=True)
    if buttons.button("Check it", key=f"{PAGE}_check"):
        with st.spinner("Reading the table and the first trial"):
            try:
                st.session_state[f"{PAGE}_outcome"] = (entries, check(root, entries))
            except EavdashError as error:
                st.session_state[f"{PAGE}_outcome"] = (entries, error)
    checked, outcome = st.session_state.get(f"{PAGE}_outcome", (None, None))
    ready = checked == entries and isinstance(outcome, Candidate)
    buttons.button(
        "Add",
        type="primary" if ready else "secondary",
        disabled=not ready,
        help=None if ready else "Check the entries first.",
        on_click=_add,
        args=(root, outcome),
        key=f"{PAGE}_add",
    )
    if checked == entries and isinstance(outcome, EavdashError):
        widgets.show_error(outcome, PAGE, f"{PAGE}_outcome")
    elif ready:
        _show_candidate(outcome)
    elif checked is not None and has_input():
        st.caption("The entries have changed since they were checked.")


def has_input() -> bool:
    """Return True if a field of the form has a value."""
    return any(st.session_state.get(f"{PAGE}_{field}") for field in ("name", "path", "base"))


def take_up_added(root: Path) -> None:
    """Take a dataset that the address names, and that is in the list already, as the one that was added last."""
    named = (st.session_state.get(f"{PAGE}_name"), st.session_state.get(f"{PAGE}_path"))
    with contextlib.suppress(EavdashError):  # reported by the dataset field
        if named in [(d.name, d.path) for d in datasets.list_datasets(root)]:
            st.session_state[ADDED] = named
            dataset.choose(str(named[1]))


def another() -> None:
    """Show the form again, without the entries of the dataset that was added last."""
    st.session_state.pop(ADDED, None)
    for field in NAMES:
        st.session_state[f"{PAGE}_{field}"] = ""
        st.query_params.pop(field, None)


def _read_form() -> DatasetForm:
    """Show the form's fields and return their values."""
    left, right = st.columns(2)
    name = (left.text_input("Name", placeholder="Pilot in room 3", **kept(PAGE, "name")) or "").strip()
    source = right.radio("Recordings", (SERVER, UPLOAD), horizontal=True, **kept(PAGE, "source"))
    if source == SERVER:
        path = st.text_input(
            "Folder or trial table",
            placeholder="/data/EAV",
            help="A dataset folder at any level, or a table with the columns subject, trial, label and at least one "
            "of eeg, audio, video.",
            **kept(PAGE, "path"),
        )
        return DatasetForm(name, path=(path or "").strip())
    left, right = st.columns(2)
    # Only a new key clears this field.
    uploaded = left.file_uploader(
        "Trial table (text, Excel or parquet)",
        type=list(TYPES),
        max_upload_size=UPLOAD_LIMIT,
        key=f"{PAGE}_upload_{st.session_state.get(f'{PAGE}_round', 0)}",
    )
    base = right.text_input(
        "Base folder of its relative paths, on the server",
        placeholder="/data/pilot",
        help="Only for relative paths. The recordings themselves must be on the server.",
        **kept(PAGE, "base"),
    )
    if uploaded is None:
        return DatasetForm(name, file=NO_FILE, base=base.strip())
    content = uploaded.getvalue() if uploaded.size <= UPLOAD_LIMIT * 2**20 else b""
    return DatasetForm(name, "", uploaded.name, content, uploaded.size, base.strip())


def _show_candidate(candidate: Candidate) -> None:
    """Show the outcome of the check: counts, problems and the first trial."""
    counts, problems = candidate.counts, candidate.problems
    classes = markdown(", ".join(candidate.classes))
    st.success(
        f"{plural(int(counts['Trials'].sum()), 'trial')} of {plural(len(counts), 'subject')} in "
        f"{len(candidate.classes)} classes ({classes}): this dataset can be added."
    )
    if problems:
        first = f" (the first {PROBLEMS_SHOWN})" if len(problems) > PROBLEMS_SHOWN else ""
        st.warning(
            f"{plural(len(problems), 'subject is', 'subjects are')} left out of studies because of problems{first}:"
        )
        widgets.bullet_list(problems[:PROBLEMS_SHOWN])
    if candidate.notes:
        st.warning("Please look at this first. Names that are the same can be taken as one on training / launch:")
        widgets.bullet_list(candidate.notes[:PROBLEMS_SHOWN])
    st.dataframe(counts, hide_index=True, key=f"{PAGE}_counts", height="content" if len(counts) < 6 else 220)
    preview = candidate.preview
    first_trial = f"subject {preview.subject}, trial {preview.trial} ({preview.label})"
    st.markdown(f"First trial: {markdown(first_trial)}")
    vision, audio, eeg = st.columns(3)
    with vision:
        if candidate.picture is not None and preview.vision:
            st.image(candidate.picture, width=PICTURE, alt=f"A frame of {first_trial}")
            st.caption(figures.video_summary(preview.vision))
        else:
            _show_table_or_missing("vision", preview)
    with audio:
        if sound := preview.audio:
            figure = figures.small_wave(sound.low, sound.high)
            widgets.chart(figure, f"{PAGE}_wave", "Waveform envelope of the first trial's audio.", files=False)
            note = preview.notes.get("audio", "")
            st.caption(f"Audio, {sound.duration:.1f} s" + (f" ({markdown(note)})" if note else ""))
        else:
            _show_table_or_missing("audio", preview)
    with eeg:
        if signal := preview.eeg:
            widgets.chart(
                figures.small_eeg(signal.microvolt), f"{PAGE}_eeg", "Some EEG channels of the first trial.", files=False
            )
            st.caption(f"EEG, {len(signal.channels)} channels, {signal.duration:.1f} s")
        else:
            _show_missing("eeg", preview.errors)


def _show_table_or_missing(modality: str, preview: TrialPreview) -> None:
    """Show a small preview of the first trial's table of features, or why there is none."""
    if (table := preview.tables.get(modality)) is None or not len(table.times):
        _show_missing(modality, preview.errors)
        return
    figure = feature_tables.feature_lines(table.columns, table.times, table.values, modality, small=True)
    widgets.chart(figure, f"{PAGE}_{modality}_table", "Some features of the first trial's table.", files=False)
    st.caption(f"{theme.label(modality)}, {plural(len(table.columns), 'feature')} of a table, {table.duration:.1f} s")


def _show_missing(modality: str, errors: Mapping[str, str]) -> None:
    """Show why the first trial has no preview of a modality."""
    if error := errors.get(modality):
        st.error(markdown(error))
    else:
        st.caption(f"{theme.label(modality)}: not recorded in this trial")


def _add(root: Path, candidate: Candidate) -> None:
    """Add the checked dataset to the list, select it on all pages, check its recordings, and clear the form."""
    entries = candidate.form

    def add() -> None:
        datasets.check_name(root, entries.name)
        path: str | Path = entries.path
        if candidate.text:
            path = datasets.save_table(root, entries.name, candidate.text, "")
        added = datasets.add(root, entries.name, path, candidate.folders)
        for field in ("name", "path", "base"):
            st.session_state[f"{PAGE}_{field}"] = ""
        st.session_state[f"{PAGE}_mapping"] = False
        st.session_state[ADDED] = (added.name, added.path)
        dataset.choose(added.path)
        st.session_state[f"{PAGE}_round"] = st.session_state.get(f"{PAGE}_round", 0) + 1
        st.session_state.pop(f"{PAGE}_outcome", None)

    actions.run_action(add, f"{entries.name} is in the list of datasets.")


def removal_form(root: Path) -> None:
    """Show the form that removes a dataset from the list."""
    try:
        names = [d.name for d in datasets.list_datasets(root)]
    except EavdashError:  # reported by the dataset field
        return
    if not names:
        st.caption("The list is empty.")
        return
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    name = left.selectbox(
        "Remove from the list", names, index=None, placeholder="Choose a dataset", key=f"{PAGE}_remove_name"
    )
    right.button(
        "Remove",
        disabled=name is None,
        help="The recordings stay unchanged.",
        on_click=_remove,
        args=(root, name),
        key=f"{PAGE}_remove",
        width="stretch",
    )


def _remove(root: Path, name: str) -> None:
    """Remove a dataset from the list."""

    def remove() -> None:
        datasets.remove(root, name)
        st.session_state[f"{PAGE}_remove_name"] = None
        st.session_state.pop(ADDED, None)

    actions.run_action(remove, f"{name} was removed from the list; its recordings are unchanged.")
