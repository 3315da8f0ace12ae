"""The launch form's widgets for the scaling of each person (``protocol.subject_scaling``).

In: the session's widgets (keys ``training_launch_*``) and the chosen protocol. Out: the setting.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from eavdash.config import scaling
from eavdash.config.choices import ACROSS
from eavdash.config.schema import SETTINGS, StudyConfig
from eavdash.ui.draft import kept

#: The number of trials that the form proposes.
TRIALS = 8
LABELS = {
    scaling.OFF: "off: all people alike",
    scaling.CALIBRATION: "calibration: by some unlabelled trials of each person, which are not scored",
    scaling.ALL: "all: by all unlabelled trials of each person (transductive)",
}


def defaults(config: StudyConfig) -> dict[str, Any]:
    """Return the widgets' values for a configuration, by the last part of their keys."""
    given = config.protocol.subject_scaling
    return {"scaling": scaling.mode(given), "calibration": scaling.calibration_trials(given) or TRIALS}


def form(page: str, protocol: str) -> str:
    """Show the widgets and return the setting; calibration is offered for protocols across subjects only."""
    choices = [mode for mode in scaling.MODES if protocol in ACROSS or mode != scaling.CALIBRATION]
    if st.session_state.get(f"{page}_scaling") not in choices:
        st.session_state[f"{page}_scaling"] = scaling.OFF
    text = SETTINGS["protocol.subject_scaling"].help
    mode = st.selectbox(
        "Scaling of each person", choices, format_func=LABELS.__getitem__, help=text, **kept(page, "scaling")
    )
    if mode == scaling.CALIBRATION:
        number = st.number_input("Trials of each person for calibration", 1, 9_999, **kept(page, "calibration"))
        mode = f"{mode}:{number}"
    return f"protocol.subject_scaling={mode}"
