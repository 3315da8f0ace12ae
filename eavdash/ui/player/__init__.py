"""The player of a trial's video, audio, EEG and scalp map with one playhead.

In: a :class:`PlayerTrial`, and :class:`Maps` over its lanes. Out: the playhead's time, reported after a pause or a
seek, never during playback. A Streamlit component: its JavaScript moves the cursor by the clock of the media element
(or its own clock without media) and fetches only the recording, through ``eavdash.ui.media``. Other maps of the same
recording replace the ones that are shown while it goes on playing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from eavdash.ui import media
from eavdash.ui.player.packing import LANES, Overlay, describe, describe_overlays, pack

if TYPE_CHECKING:
    from eavdash.data.preview import TrialPreview
    from eavdash.data.video.playable import Playable

__all__ = ["LANES", "Maps", "Overlay", "PlayerTrial", "moment_of", "player"]

#: Joined into one module, in this order.
SCRIPTS = ("clock.js", "drawing.js", "lanes.js", "scalp.js", "maps.js", "channels.js", "player.js")


@dataclass(frozen=True)
class PlayerTrial:
    """The preview of a trial, and the files that a browser can play (None: none)."""

    preview: TrialPreview
    playable: Playable | None = None


@dataclass(frozen=True, eq=False)
class Maps:
    """Overlays of a player; ``failed``: why they are not to be believed, shown with a grey frame around them.

    ``follows``: the key of another player of the same trial, on the same page. This one then shows its recording and
    has its clock: both are moved together.
    """

    overlays: tuple[Overlay, ...] = ()
    failed: str = ""
    follows: str = ""


def player(
    trial: PlayerTrial,
    key: str,
    maps: Maps | None = None,
    seek: tuple[int, float] | None = None,
    moved: Callable[[], None] | None = None,
) -> float | None:
    """Draw the player; return the time in seconds of the last pause or seek in this trial, or None.

    ``seek``: the trial's second to move the playhead to, with a number that is another one for each such wish.
    ``moved`` is called before the rerun when the time is reported (:func:`moment_of`).

    Raises:
        ValueError: an overlay does not match its lane.
    """
    maps = maps or Maps()
    if maps.follows:
        header, arrays = describe_overlays(trial.preview, maps.overlays)
    else:
        header, arrays = describe(trial.preview, maps.overlays)
        header["media"] = _media(trial, key)
        header["image"] = _address(trial.playable.image if trial.playable else None, key)
    header |= {"name": key, "follows": maps.follows, "failed": maps.failed, "seek": seek}
    result = _component(data=pack(header, arrays), key=key, on_moment_change=moved or _nothing)
    moment = result.get("moment")
    # A time that belongs to the previously shown trial does not count.
    return float(moment["time"]) if moment and moment.get("id") == header.get("id") else None


def moment_of(key: str) -> float | None:
    """Return the time that the player with this key reported last, in seconds of its trial; None if none was."""
    state = st.session_state.get(key)
    moment = state.get("moment") if state else None
    return float(moment["time"]) if moment else None


def _media(trial: PlayerTrial, key: str) -> dict[str, object] | None:
    files = trial.playable
    if files is None or files.media is None:
        return None
    vision = trial.preview.vision
    rate = vision.info.frames_per_second if vision is not None and files.moving else 0.0
    return {
        "url": _address(files.media, key),
        "moving": files.moving,
        "offset": files.offset,
        "rate": rate or 25.0,
        "width": vision.info.width if vision else 0,
        "height": vision.info.height if vision else 0,
    }


def _address(path: Path | None, key: str) -> str:
    return media.address(path, key) if path is not None else ""


def _nothing() -> None:
    """Do nothing; Streamlit returns a component's value only if it has a callback."""


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


_component = st.components.v2.component(
    "eavdash_player", html=_read("player.html"), css=_read("player.css"), js="\n".join(map(_read, SCRIPTS))
)
