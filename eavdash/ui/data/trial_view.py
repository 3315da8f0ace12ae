"""The selection of one trial of a dataset, and the player of its recordings.

In: a trial table. Out: widgets, whose keys begin with the page's name. The ``cached_*`` modules read the recordings,
``eavdash.ui.player`` packs and plays them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from eavdash.config.schema import StudyConfig
from eavdash.errors import EavdashError
from eavdash.report import theme
from eavdash.report.figures import data as figures
from eavdash.report.figures import feature_tables
from eavdash.store import checkpoints_root
from eavdash.store.private import cache_folder
from eavdash.text import markdown, plural
from eavdash.ui import address, cached_data, widgets
from eavdash.ui.fragment import fragment
from eavdash.ui.player import PlayerTrial, player

if TYPE_CHECKING:
    from eavdash.data.preview import TablePreview, TrialPreview
    from eavdash.data.table import TrialTable

PAGE = "data_trials"
#: Of the widgets, also in the address; ``MANY``: their values are lists.
NAMES, MANY = ("subject", "label", "condition", "trial"), ("label", "condition")


def choose_trial(table: TrialTable) -> pd.Series | None:
    """Return the row of the selected trial; if no trial matches the filters, show a note and return None."""
    columns = ["label", "condition"] if "condition" in table.frame else ["label"]
    containers = st.columns([2, *[2 for _ in columns], 3, 3], vertical_alignment="bottom")
    address.valid(f"{PAGE}_subject", table.subjects, next(iter(table.subjects), None))
    subject = containers[0].selectbox("Subject", table.subjects, key=f"{PAGE}_subject")
    rows = table.frame[table.frame["subject"] == subject]
    if subject in table.problems:
        st.error(markdown(table.problems[subject]))
    for column, container in zip(columns, containers[1:], strict=False):
        options = list(dict.fromkeys(rows[column]))
        key = f"{PAGE}_{column}"
        # Drop labels that this subject does not have, as they would hide all of its trials.
        st.session_state[key] = [v for v in st.session_state.get(key) or [] if v in options]
        selected = container.multiselect(column.capitalize(), options, key=key, placeholder="all")
        rows = rows[rows[column].isin(selected)] if selected else rows
    if rows.empty:
        st.info("No trial of this subject matches the filters.")
        return None
    labels = dict(zip(rows["trial"], rows["label"], strict=True))
    names = list(labels)
    key = f"{PAGE}_trial"
    if st.session_state.get(key) not in names:
        st.session_state[key] = names[figures.most_complete(rows)]
    trial = containers[-2].selectbox("Trial", names, format_func=lambda t: f"{t} ({labels.get(t, '')})", key=key)
    position = names.index(trial)
    buttons = containers[-1].container(horizontal=True)
    _neighbour_button(buttons, "Previous", names, position - 1)
    _neighbour_button(buttons, "Next", names, position + 1)
    row: pd.Series = rows[rows["trial"] == trial].iloc[0]
    return row


@fragment()
def show_trial(row: Mapping[Any, Any], config: StudyConfig) -> None:
    """Show the player of a row of the trial table and the details of its recordings, in a fragment."""
    key = f"{PAGE}_part-{row['subject']}-{row['trial']}"
    part = int(st.session_state.get(key) or 0)
    preview = cached_data.preview(row, config, part)
    if part >= preview.parts:
        part = st.session_state[key] = 0
        preview = cached_data.preview(row, config)
    choose_part(preview, key)
    shown = player_trial(preview)
    if preview.vision or preview.audio or preview.eeg:
        with widgets.show_errors():
            moment = player(shown, f"{PAGE}_player")
        st.caption(
            markdown(_moment_sentence(preview, config, moment))
            if moment is not None
            else _format_sentence(preview, config)
        )
    for modality, table in preview.tables.items():
        _show_table(modality, table, preview.begin)
    for modality, sentence in preview.errors.items():
        st.error(markdown(f"{theme.label(modality)}: {sentence}"))
    _show_missing(preview)


def player_trial(preview: TrialPreview) -> PlayerTrial:
    """Return what the player shows of a trial; show why the browser can play no recording if there is a reason."""
    try:
        with st.spinner("Preparing the recording for the browser"):
            return PlayerTrial(preview, cached_data.playable(preview, cache_folder(checkpoints_root())))
    except EavdashError as error:
        st.error(markdown(error))
        return PlayerTrial(preview)


def _neighbour_button(container: Any, label: str, names: Sequence[str], position: int) -> None:
    exists = 0 <= position < len(names)
    container.button(
        label,
        key=f"{PAGE}_{label.lower()}",
        disabled=not exists,
        on_click=st.session_state.__setitem__,
        args=(f"{PAGE}_trial", names[position] if exists else ""),
        width="stretch",
    )


def choose_part(preview: TrialPreview, key: str) -> int:
    """Return the number of the part to show of a long trial, with a widget that chooses it."""
    if preview.parts == 1:
        return 0
    from eavdash.data.preview import LIMIT

    part: int = st.selectbox(
        f"This trial lasts {preview.length:.0f} s. Shown at a time:",
        range(preview.parts),
        format_func=lambda n: f"{n * LIMIT:.0f}–{min((n + 1) * LIMIT, preview.length):.0f} s",
        key=key,
        width=320,
    )
    return part


def _format_sentence(preview: TrialPreview, config: StudyConfig) -> str:
    """Describe the recordings in one line."""
    words = [f"{preview.duration:.1f} s"] if preview.duration else []
    if vision := preview.vision:
        rate = "still image" if vision.info.still else f"{vision.info.frames_per_second:.3g} frames per second"
        words.append(f"video {vision.info.width} x {vision.info.height}, {rate}")
    if eeg := preview.eeg:
        band = f"{config.eeg.low:g}–{config.eeg.high:g} Hz"
        words.append(f"EEG of {len(eeg.channels)} channels, filtered {band}, shown at {eeg.rate:g} Hz")
    return " · ".join(words)


def _moment_sentence(preview: TrialPreview, config: StudyConfig, moment: float) -> str:
    """Describe a moment of the trial: its window, and the channel with the most power in each band."""
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


def _show_table(modality: str, table: TablePreview, begin: float) -> None:
    """Show the columns of a table of features over time; ``begin``: seconds of the trial before the preview."""
    st.markdown(f"**{theme.label(modality)}**: {plural(len(table.columns), 'feature')} of a table")
    if not len(table.times):
        st.caption("No rows in this part of the trial.")
        return
    figure = feature_tables.feature_lines(table.columns, begin + table.times, table.values, modality)
    widgets.chart(figure, f"{PAGE}_{modality}_table", f"Features of {theme.label(modality)} over time.", files=False)
    most = feature_tables.LINES
    more = f" The first {most} of {len(table.columns)} columns." if len(table.columns) > most else ""
    note = f" In the table are {markdown(table.note)}." if table.note else ""
    st.caption(f"Each line from its least to its largest value; gaps were not recorded.{more}{note}")


def _show_missing(preview: TrialPreview) -> None:
    """Show the modalities that were not recorded, and the notes about the others."""
    previews = {"vision": preview.vision, "audio": preview.audio, "eeg": preview.eeg, **preview.tables}
    missing = [m for m, part in previews.items() if part is None and m not in preview.errors and m not in preview.notes]
    if missing:
        st.caption(f"{', '.join(theme.label(m) for m in missing)}: not recorded in this trial.")
    for modality, note in preview.notes.items():
        st.caption(markdown(f"{theme.label(modality)}: {note}."))
