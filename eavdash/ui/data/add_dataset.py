"""The form for a new dataset: checked first, with one trial read and shown, and only then put into the list.

In: a name, and a path on the server or a small trial table with the folder that its paths start from. Out: an entry of
``eavdash.store.datasets``. Nothing is written before the button "Add"; what is wrong is said in one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from eavdash.errors import EavdashError
from eavdash.store import datasets
from eavdash.ui import actions, theme, widgets
from eavdash.ui.data.candidate import NO_FILE, PICTURE, UPLOAD_LIMIT, Candidate, Wish, check
from eavdash.ui.figures import health as figures

PAGE = "data_health_new"
SERVER, UPLOAD = "A path on the server", "Upload a trial table"
PROBLEMS_SHOWN = 5


def form(root: Path, path_key: str) -> None:
    """The form and the list's end: what to add, what was found, and what to remove.

    ``path_key``: the key of the page's dataset field, which an added dataset is written to.
    """
    st.caption("A dataset in the list can be chosen by its name on every page. Its recordings stay where they are.")
    wish = _read_form()
    buttons = st.container(horizontal=True)
    if buttons.button("Check it", key=f"{PAGE}_check"):
        with st.spinner("Reading the table and the first trial"):
            try:
                st.session_state[f"{PAGE}_outcome"] = (wish, check(root, wish))
            except EavdashError as error:
                st.session_state[f"{PAGE}_outcome"] = (wish, str(error))
    checked, outcome = st.session_state.get(f"{PAGE}_outcome", (None, None))
    ready = checked == wish and isinstance(outcome, Candidate)
    buttons.button(
        "Add",
        type="primary" if ready else "secondary",
        disabled=not ready,
        help=None if ready else "Possible once the entries have been checked.",
        on_click=_add,
        args=(root, outcome, path_key),
        key=f"{PAGE}_add",
    )
    if checked == wish and isinstance(outcome, str):
        st.error(widgets.escape_markdown(outcome))
    elif ready:
        _show_candidate(outcome)
    elif checked is not None and has_input():
        st.caption("The entries have changed since they were checked.")
    _removal_form(root)


def has_input() -> bool:
    """Whether something has been entered."""
    return any(st.session_state.get(f"{PAGE}_{field}") for field in ("name", "path", "base"))


def _read_form() -> Wish:
    """The form's fields."""
    left, right = st.columns(2)
    name = left.text_input("Name", placeholder="Pilot in room 3", key=f"{PAGE}_name").strip()
    source = right.radio("Recordings", (SERVER, UPLOAD), horizontal=True, key=f"{PAGE}_source")
    if source == SERVER:
        path = st.text_input(
            "Folder or trial table",
            placeholder="/data/EAV",
            help="A dataset's folder at any level, or a table with the columns subject, trial, label and at least one "
            "of eeg, audio, video.",
            key=f"{PAGE}_path",
        )
        return Wish(name, path=path.strip())
    left, right = st.columns(2)
    # A new key empties the field, which has no other way to be emptied.
    uploaded = left.file_uploader(
        "Trial table (.csv or .parquet)",
        type=["csv", "parquet"],
        max_upload_size=UPLOAD_LIMIT,
        key=f"{PAGE}_upload_{st.session_state.get(f'{PAGE}_round', 0)}",
    )
    base = right.text_input(
        "Folder on the server that its paths start from",
        placeholder="/data/pilot",
        help="Only for paths that are relative: the table names recordings that lie on the server.",
        key=f"{PAGE}_base",
    )
    if uploaded is None:
        return Wish(name, file=NO_FILE, base=base.strip())
    content = uploaded.getvalue() if uploaded.size <= UPLOAD_LIMIT * 2**20 else b""
    return Wish(name, "", uploaded.name, content, uploaded.size, base.strip())


def _show_candidate(candidate: Candidate) -> None:
    """What the check found: counts, problems and the first trial."""
    counts, problems = candidate.counts, candidate.problems
    st.success(
        f"{theme.plural(int(counts['Trials'].sum()), 'trial')} of {theme.plural(len(counts), 'subject')} in "
        f"{len(candidate.classes)} classes ({widgets.escape_markdown(', '.join(candidate.classes))}): this can be added."
    )
    if problems:
        are = "is" if len(problems) == 1 else "are"
        first = f" (the first {PROBLEMS_SHOWN})" if len(problems) > PROBLEMS_SHOWN else ""
        st.warning(f"{theme.plural(len(problems), 'subject')} {are} left out of studies, for what is wrong{first}:")
        widgets.bullet_list(problems[:PROBLEMS_SHOWN])
    st.dataframe(counts, hide_index=True, key=f"{PAGE}_counts", height="content" if len(counts) < 6 else 220)
    preview = candidate.preview
    st.markdown(
        f"First trial read: subject {widgets.escape_markdown(preview.subject)}, trial {widgets.escape_markdown(preview.trial)} "
        f"({widgets.escape_markdown(preview.label)})"
    )
    vision, audio, eeg = st.columns(3)
    with vision:
        if candidate.picture is not None and preview.vision:
            st.image(candidate.picture, width=PICTURE)
            st.caption(figures.video_summary(preview.vision))
        else:
            _show_missing("vision", preview.errors)
    with audio:
        if sound := preview.audio:
            figure = figures.small_wave(sound.low, sound.high)
            widgets.chart(figure, f"{PAGE}_wave", "Envelope of the first trial's sound.")
            own = preview.notes.get("audio", "")
            st.caption(f"Sound, {sound.duration:.1f} s" + (f" ({own})" if own else ""))
        else:
            _show_missing("audio", preview.errors)
    with eeg:
        if signal := preview.eeg:
            widgets.chart(figures.small_eeg(signal.microvolt), f"{PAGE}_eeg", "Some EEG channels of the first trial.")
            st.caption(f"EEG, {len(signal.channels)} channels, {signal.duration:.1f} s")
        else:
            _show_missing("eeg", preview.errors)


def _show_missing(modality: str, errors: Mapping[str, str]) -> None:
    """In the place of a modality that the first trial does not have, or that cannot be read."""
    if error := errors.get(modality):
        st.error(widgets.escape_markdown(error))
    else:
        st.caption(f"{theme.label(modality)}: not recorded in this trial")


def _add(root: Path, candidate: Candidate, path_key: str) -> None:
    """Callback of "Add": keep what was checked, choose it on the page, and empty the form."""
    wish = candidate.wish
    try:
        datasets.check_name(root, wish.name)
        path: str | Path = wish.path
        if candidate.text:
            path = datasets.save_table(root, wish.name, candidate.text, "")
        made = datasets.add(root, wish.name, path)
    except EavdashError as error:
        st.session_state[actions.MESSAGE] = ("error", str(error))
        return
    fresh: Mapping[str, Any] = {f"{PAGE}_name": "", f"{PAGE}_path": "", f"{PAGE}_base": "", path_key: made.path}
    for key, value in fresh.items():
        st.session_state[key] = value
    st.session_state[f"{PAGE}_round"] = st.session_state.get(f"{PAGE}_round", 0) + 1
    st.session_state.pop(f"{PAGE}_outcome", None)
    st.session_state[f"{PAGE}_open"] = False
    st.session_state[actions.MESSAGE] = ("added", f"{made.name} is in the list of datasets.")


def _removal_form(root: Path) -> None:
    """The way out of the list."""
    try:
        names = [d.name for d in datasets.known(root)]
    except EavdashError:  # the field for the dataset has said what is wrong
        return
    if not names:
        return
    st.divider()
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    name = left.selectbox(
        "Remove from the list", names, index=None, placeholder="Choose a dataset", key=f"{PAGE}_remove_name"
    )
    right.button(
        "Remove",
        disabled=name is None,
        help="Recordings are not touched.",
        on_click=_remove,
        args=(root, name),
        key=f"{PAGE}_remove",
        width="stretch",
    )


def _remove(root: Path, name: str) -> None:
    """Callback of "Remove"."""
    try:
        datasets.remove(root, name)
    except EavdashError as error:
        st.session_state[actions.MESSAGE] = ("error", str(error))
        return
    st.session_state[f"{PAGE}_remove_name"] = None
    st.session_state[actions.MESSAGE] = (
        "removed",
        f"{name} was taken out of the list; its recordings were not touched.",
    )
