"""A contact sheet of one subject's faces, as the vision encoder sees them.

In: a dataset and its trial table. Out: widgets (keys ``data_health_sheet_*``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from eavdash.config.convert import recorded_config
from eavdash.config.presets import preset
from eavdash.data.formats.feature_columns import is_feature_table
from eavdash.text import plural, visible
from eavdash.ui import address, widgets

if TYPE_CHECKING:
    from PIL.Image import Image

    from eavdash.config.schema import StudyConfig
    from eavdash.data.table import TrialTable


PAGE = "data_health"


def contact_sheet(path: str, table: TrialTable) -> None:
    """Show the faces of one subject's trials, on request."""
    videos = table.frame["video"].map(lambda entry: bool(entry) and not is_feature_table(entry)).astype(bool)
    with_video = [s for s in table.subjects if videos[table.frame["subject"] == s].any()]
    if not with_video:
        return
    st.subheader("Faces", anchor=False)
    address.valid(f"{PAGE}_sheet_subject", with_video, with_video[0])
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    subject = left.selectbox("Subject", with_video, key=f"{PAGE}_sheet_subject", format_func=visible)
    right.button("Show the faces", key=f"{PAGE}_sheet_go", on_click=_ask_for_sheet, args=(path,), width="stretch")
    if st.session_state.get(f"{PAGE}_sheet") != (path, subject):
        st.caption("The vision encoder's input for each trial: frames cropped around the detected face.")
        return
    study = widgets.current_study()
    with widgets.show_errors():
        config = recorded_config(study.study()) if study else preset("quick")
        st.image(_sheet(path, table, subject, config), alt=f"A face per trial of subject {visible(subject)}")
    st.caption(
        "One crop per trial, with the share of its frames in which a face was detected; grey: the video cannot be read."
    )


def _sheet(path: str, table: TrialTable, subject: str, config: StudyConfig) -> Image:
    """Return the contact sheet; the page shows how far it is, and another page ends the work."""
    from eavdash.data.video.contact_sheet import contact_sheet, with_pictures

    key, asked = f"{PAGE}_sheet_made", (path, subject, config)
    made: tuple[object, Image] | None = st.session_state.get(key)
    if made is None or made[0] != asked:
        bar = st.progress(0.0, "Looking for faces")

        def report(done: int, of: int) -> None:
            bar.progress(done / of, f"Looking for faces: {done} of {plural(of, 'trial')}")

        rows = table.frame[table.frame["subject"] == subject]
        try:
            made = st.session_state[key] = (asked, contact_sheet(with_pictures(rows), config, report=report))
        finally:
            bar.empty()
    return made[1]


def _ask_for_sheet(path: str) -> None:
    """Request the contact sheet of the selected subject."""
    st.session_state[f"{PAGE}_sheet"] = (path, st.session_state[f"{PAGE}_sheet_subject"])
