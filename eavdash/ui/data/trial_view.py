"""Choosing one trial of a dataset, and showing its recordings under one playhead.

In: a trial table. Out: widgets, whose keys begin with the page's name. Reading and packing are left to
the ``cached_*`` modules and ``eavdash.ui.player``; what stands at the moment is taken from the preview that is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from eavdash.config.schema import StudyConfig
from eavdash.errors import EavdashError
from eavdash.store import checkpoints_root
from eavdash.ui import cached_data, theme, widgets
from eavdash.ui.figures import data as figures
from eavdash.ui.player import Overlay, PlayerTrial, player

if TYPE_CHECKING:
    from eavdash.data.preview import TrialPreview
    from eavdash.data.table import TrialTable

PAGE = "data_trials"


def choose_trial(table: TrialTable) -> pd.Series | None:
    """The row of the trial that is chosen; None (and a sentence) where no trial passes the filters."""
    columns = ["label", "condition"] if "condition" in table.frame else ["label"]
    places = st.columns([2, *[2 for _ in columns], 3, 3], vertical_alignment="bottom")
    subject = places[0].selectbox("Subject", table.subjects, key=f"{PAGE}_subject")
    rows = table.frame[table.frame["subject"] == subject]
    if subject in table.problems:
        st.error(widgets.escape_markdown(table.problems[subject]))
    for column, place in zip(columns, places[1:], strict=False):
        options = list(dict.fromkeys(rows[column]))
        key = f"{PAGE}_{column}"
        # A label that this subject does not have must not hide all of its trials.
        st.session_state[key] = [v for v in st.session_state.get(key, []) if v in options]
        kept = place.multiselect(column.capitalize(), options, key=key, placeholder="all")
        rows = rows[rows[column].isin(kept)] if kept else rows
    if rows.empty:
        st.info("No trial of this subject passes the filters.")
        return None
    labels = dict(zip(rows["trial"], rows["label"], strict=True))
    names = list(labels)
    key = f"{PAGE}_trial"
    if st.session_state.get(key) not in names:
        st.session_state[key] = names[figures.most_complete(rows)]
    trial = places[-2].selectbox("Trial", names, format_func=lambda t: f"{t} ({labels.get(t, '')})", key=key)
    at = names.index(trial)
    beside = places[-1].container(horizontal=True)
    _neighbour_button(beside, "Previous", names, at - 1)
    _neighbour_button(beside, "Next", names, at + 1)
    return rows[rows["trial"] == trial].iloc[0]


@st.fragment
def show_trial(row: Mapping[Any, Any], config: StudyConfig, overlays: Sequence[Overlay] = ()) -> None:
    """The player of a row of the trial table, and what is to be said of its recordings; it reruns by itself."""
    key = f"{PAGE}_part-{row['subject']}-{row['trial']}"
    part = int(st.session_state.get(key) or 0)
    preview = cached_data.preview(row, config, part)
    if part >= preview.parts:
        part = st.session_state[key] = 0
        preview = cached_data.preview(row, config)
    _choose_part(preview, key)
    playable = None
    try:
        with st.spinner("Preparing the recording for the browser"):
            playable = cached_data.playable(preview, checkpoints_root() / ".cache")
    except EavdashError as error:
        st.error(widgets.escape_markdown(error))
    if preview.vision or preview.audio or preview.eeg:
        moment = player(PlayerTrial(preview, playable), f"{PAGE}_player", overlays)
        st.caption(widgets.escape_markdown(_moment_sentence(preview, config, moment)) if moment is not None else _format_sentence(preview, config))
    for modality, sentence in preview.errors.items():
        st.error(widgets.escape_markdown(f"{theme.label(modality)}: {sentence}"))
    _show_missing(preview)


def _neighbour_button(place: Any, word: str, names: Sequence[str], at: int) -> None:
    there = 0 <= at < len(names)
    place.button(
        word,
        key=f"{PAGE}_{word.lower()}",
        disabled=not there,
        on_click=st.session_state.__setitem__,
        args=(f"{PAGE}_trial", names[at] if there else ""),
        width="stretch",
    )


def _choose_part(preview: TrialPreview, key: str) -> None:
    if preview.parts == 1:
        return
    from eavdash.data.preview import LIMIT

    st.selectbox(
        f"This trial lasts {preview.length:.0f} s. Shown at a time:",
        range(preview.parts),
        format_func=lambda n: f"{n * LIMIT:.0f}–{min((n + 1) * LIMIT, preview.length):.0f} s",
        key=key,
        width=320,
    )


def _format_sentence(preview: TrialPreview, config: StudyConfig) -> str:
    """What the recordings are, in a line."""
    words = [f"{preview.duration:.1f} s"] if preview.duration else []
    if vision := preview.vision:
        rate = "still image" if vision.info.still else f"{vision.info.frames_per_second:.3g} frames per second"
        words.append(f"video {vision.info.width} x {vision.info.height}, {rate}")
    if eeg := preview.eeg:
        band = f"{config.eeg.low:g}–{config.eeg.high:g} Hz"
        words.append(f"EEG of {len(eeg.channels)} channels, filtered {band}, shown at {eeg.rate:g} Hz")
    return " · ".join(words)


def _moment_sentence(preview: TrialPreview, config: StudyConfig, moment: float) -> str:
    """What there is at a moment: which window, and where each rhythm is strongest."""
    words = [f"At {moment:.2f} s", f"window {int(moment // config.window) + 1} of {config.window:g} s"]
    if eeg := preview.eeg:
        from eavdash.data.eeg.bandpower import STEPS

        step = min(int((moment - preview.begin) * STEPS), eeg.power.decibel.shape[2] - 1)
        strongest = [
            f"{band} at {eeg.channels[int(np.argmax(power))]} ({power.max():.0f} dB)"
            for band, power in zip(eeg.power.bands, eeg.power.decibel[:, :, step], strict=True)
        ]
        words.append(f"strongest {', '.join(strongest)}")
    return " · ".join(words)


def _show_missing(preview: TrialPreview) -> None:
    """Which modalities there are not, and what else is to be known of one."""
    there = {"vision": preview.vision, "audio": preview.audio, "eeg": preview.eeg}
    absent = [m for m, part in there.items() if part is None and m not in preview.errors and m not in preview.notes]
    if absent:
        st.caption(f"{', '.join(theme.label(m) for m in absent)}: Not recorded in this trial.")
    for modality, note in preview.notes.items():
        st.caption(widgets.escape_markdown(f"{theme.label(modality)}: {note}."))
