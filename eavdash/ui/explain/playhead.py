"""The playhead of the page One trial: a time in the address, which the player moves and which moves the player.

In: the player's reports, links, and the choice of a window. Out: the window at the playhead, and where a player is to
move its playhead to. The time is in the session's state as text, as every choice that is in the address.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from eavdash.ui.explain.choose_trial import PAGE
from eavdash.ui.player import moment_of

if TYPE_CHECKING:
    from eavdash.explain.explanation import ExplainedWindow

TIME, WINDOW = f"{PAGE}_time", f"{PAGE}_window"
PLAYER = f"{PAGE}_player"
_TRIAL, _SEEK = f"{PAGE}_timed", f"{PAGE}_seek"
_LAST = 1e6  # seconds; a later time in a link is nonsense


def open_at(subject: str, trial: str, linked: bool) -> None:
    """Keep the time for the trial that it belongs to; ``linked``: it comes from an address that was opened."""
    state = st.session_state
    if state.get(_TRIAL) != (subject, trial) and not linked:
        state[TIME] = state[_SEEK] = None
    state[_TRIAL] = (subject, trial)
    state[WINDOW] = state.get(WINDOW) or "0"
    if linked and (time := time_of()) is not None:
        _seek(time)


def time_of() -> float | None:
    """Return the time of the playhead in seconds of the trial; None at its start."""
    try:
        time = float(st.session_state.get(TIME) or "nan")
    except ValueError:
        time = float("nan")
    if 0 <= time < _LAST:
        return time
    st.session_state[TIME] = None
    return None


def wish() -> tuple[int, float] | None:
    """Return where the player is to move its playhead to, as ``player`` takes it."""
    found: tuple[int, float] | None = st.session_state.get(_SEEK)
    return found


def moved() -> None:
    """Take the time that the player has reported; a callback."""
    if (time := moment_of(PLAYER)) is not None:
        st.session_state[TIME] = f"{time:g}" if time else None


def agree(windows: Sequence[ExplainedWindow]) -> None:
    """Choose the window at the playhead, or without a time move the playhead to the chosen window."""
    if (time := time_of()) is None:
        if st.session_state.get(WINDOW) not in (None, "0"):
            to_window(windows)
    elif inside := [n for n, window in enumerate(windows) if window.start <= time < window.stop]:
        st.session_state[WINDOW] = str(inside[-1])


def to_window(windows: Sequence[ExplainedWindow]) -> None:
    """Move the playhead to the start of the chosen window; a callback."""
    chosen = str(st.session_state.get(WINDOW) or "0")
    if chosen.isdecimal() and int(chosen) < len(windows):
        start = windows[int(chosen)].start
        st.session_state[TIME] = f"{start:g}" if start else None
        _seek(start)


def choose_part(key: str, parts: int) -> None:
    """Select the part of a long trial that the playhead is moved to; ``key``: of the widget."""
    from eavdash.data.preview import LIMIT

    if (wished := wish()) is not None and st.session_state.get(f"{key}-wish") != wished[0]:
        st.session_state[f"{key}-wish"] = wished[0]
        st.session_state[key] = min(int(wished[1] // LIMIT), parts - 1)


def _seek(time: float) -> None:
    number, _ = st.session_state.get(_SEEK) or (st.session_state.get(f"{_SEEK}s") or 0, 0.0)
    st.session_state[f"{_SEEK}s"] = number + 1  # never the same number twice, or the player would stay
    st.session_state[_SEEK] = (number + 1, time)
