"""The recordings of an explained trial with its maps over them, and beside them another map or another trial.

In: an opened explanation. Out: the player of *Trials* with overlays. Another map of the same trial shares the recording
and the clock of the first player; another trial has a player of its own, as its moments are others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from eavdash.config.convert import recorded_config
from eavdash.errors import EavdashError, OutsideError
from eavdash.report import theme
from eavdash.store import StudyDir
from eavdash.text import markdown
from eavdash.ui import allowing, cached_data, cached_explanations, widgets
from eavdash.ui.cached_explanations import Opened
from eavdash.ui.data import trial_view
from eavdash.ui.explain import playhead, receipts
from eavdash.ui.explain.choose_trial import PAGE
from eavdash.ui.explain.overlays import overlays
from eavdash.ui.player import Maps, player

if TYPE_CHECKING:
    from eavdash.data.preview import TrialPreview
    from eavdash.explain.explanation import Explanation

BESIDE = f"{playhead.PLAYER}_beside"


@dataclass(frozen=True)
class Shown:
    """A map that is shown: its explanation, and why it is not to be believed (empty: no reason).

    ``limits``: by modality, the value with the full colour.
    """

    opened: Opened
    failed: str
    limits: dict[str, float]

    @property
    def explanation(self) -> Explanation:
        return self.opened.explanation

    @property
    def place(self) -> tuple[str, str]:
        return self.explanation.subject, self.explanation.trial


def show(study: StudyDir, shown: Shown, other: Shown | None) -> bool:
    """Show the player of a map, and beside it the one of another; return False if no recording can be shown."""
    leads: dict[str, Any] = {"key": playhead.PLAYER, "moved": playhead.moved, "seek": playhead.wish()}
    if other is None:
        preview = _preview(study, shown.explanation)
        return preview is not None and _player(study, shown, preview, **leads)
    left, right = st.columns(2)
    with left:
        _title(shown, other)
        preview = _preview(study, shown.explanation)
        there = preview is not None and _player(study, shown, preview, **leads)
    with right:
        _title(other, shown)
        if other.place != shown.place:
            if (beside := _preview(study, other.explanation)) is not None:
                _player(study, other, beside, f"{BESIDE}_trial")
        elif preview is not None:
            _player(study, other, preview, BESIDE, follows=playhead.PLAYER)
    return there


def lacks_places(study: StudyDir, opened: Opened) -> bool:
    """Return True if it is not known where in the video's frames the pictures of a stored map are."""
    return opened.explanation.lacks_places and _follows_faces(study, opened.explanation)


def _follows_faces(study: StudyDir, explanation: Explanation) -> bool:
    return recorded_config(study.run(explanation.run).config()).vision.crop == "face"


def _title(shown: Shown, other: Shown) -> None:
    made = shown.explanation
    words = receipts.map_name(made)
    if shown.place != other.place:
        words = f"Subject {made.subject}, trial {made.trial}, label {made.label}, predicted {made.predicted}: {words}"
    st.markdown(f"**{markdown(words)}**")


def _player(
    study: StudyDir,
    shown: Shown,
    preview: TrialPreview,
    key: str,
    follows: str = "",
    **more: Any,
) -> bool:
    """Show one player; return False if there is no recording for it."""
    for modality, sentence in preview.errors.items():
        st.error(markdown(f"{theme.label(modality)}: {sentence}"))
    if not (preview.vision or preview.audio or preview.eeg):
        return False
    explanation = shown.explanation
    unit = f"{receipts.short_unit(explanation)} per area"
    made, notes = overlays(explanation, preview, shown.limits, unit, cropped=_follows_faces(study, explanation))
    with widgets.show_errors():
        player(trial_view.player_trial(preview), key, Maps(made, shown.failed, follows), **more)
    for note in notes:
        st.caption(markdown(note))
    return True


def _preview(study: StudyDir, explanation: Explanation) -> TrialPreview | None:
    """Return the recordings of a trial, of a long one a part; None, and say why, if they cannot be found."""
    try:
        table = cached_explanations.planned_trial(study, explanation.subject, explanation.trial)
        allowing.check_recordings(replace(table, problems={explanation.subject: ""}))  # look at all of its files
        row = table.frame.iloc[0].to_dict()
        config = recorded_config(study.study())
        preview = cached_data.preview(row, config)
    except OutsideError as error:
        widgets.show_error(error, f"{PAGE}_{explanation.trial}")
        return None
    except EavdashError as error:
        st.warning(markdown(f"The recordings cannot be shown: {error}"))
        return None
    if preview.parts == 1:
        return preview
    key = f"{PAGE}_part-{explanation.subject}-{explanation.trial}"
    playhead.choose_part(key, preview.parts)
    part = trial_view.choose_part(preview, key)
    return cached_data.preview(row, config, part) if part else preview
