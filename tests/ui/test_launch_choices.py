"""The launch form's encoders, presets, EEG settings and trials that cannot be used, as a study then has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_launch_preprocessing import frozen, no_jobs
from test_pages import checkpoints, open_page, page_text
from test_pages_data import fill_in, sounds

from eavdash.config.choices import AUTO, UNUSABLE
from eavdash.config.presets import FEW, MANY, PRESET_HELP, PRESETS, TOO_FEW, advice
from eavdash.models import automatic
from eavdash.store import find_study

__all__ = ["checkpoints", "no_jobs", "sounds"]


def form(sounds: Path, name: str = "voices"):
    return fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), name)


def queued(app) -> bool:
    return "training_launch_queue" in [button.key for button in app.button]


def test_a_strict_study_is_refused_if_a_trial_cannot_be_used(sounds: Path) -> None:
    app = form(sounds)
    app.multiselect(key="training_launch_subjects").set_value([]).run()
    assert queued(app)
    box = app.checkbox(key="training_launch_strict")
    assert UNUSABLE["--strict"][1:] in box.help
    box.check().run()
    assert any("--strict" in error.value and "unreadable" in error.value for error in app.error)
    assert not queued(app)


def test_trials_to_leave_out_or_keep_are_recorded_and_copied(sounds: Path, checkpoints: Path) -> None:
    app = form(sounds)
    app.multiselect(key="training_launch_leave_out").set_value(["silent", "clipped"])
    app.multiselect(key="training_launch_keep").set_value(["unreadable"]).run()
    frozen(app, checkpoints, "voices")
    left_out = find_study(checkpoints, "voices").study().left_out
    assert left_out is not None
    assert (left_out.leave_out, left_out.keep) == (("silent", "clipped"), ("unreadable",))
    app = open_page("launch", {"training_launch_dataset": str(sounds), "training_launch_origin": "study:voices"})
    app.selectbox(key="training_launch_preset").select("study:voices").run()
    assert app.multiselect(key="training_launch_leave_out").value == ["silent", "clipped"]
    assert app.multiselect(key="training_launch_keep").value == ["unreadable"]


def test_a_typed_encoder_of_a_library_is_recorded(sounds: Path, checkpoints: Path) -> None:
    typed = {"training_launch_vision.encoder": "timm:deit_tiny_patch16_224"}
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds), **typed}), "voices")
    assert frozen(app, checkpoints, "voices")["vision"]["encoder"] == "timm:deit_tiny_patch16_224"


def test_the_preset_frozen_says_what_it_chose(sounds: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automatic, "offered", lambda modality: ())
    app = open_page("launch", {"training_launch_dataset": str(sounds)})
    app.selectbox(key="training_launch_preset").select("frozen").run()
    assert app.session_state["training_launch_audio.encoder"] == AUTO
    app = fill_in(app, "voices")
    assert "audio: encoder ast" in page_text(app)
    config = frozen(app, checkpoints, "voices")
    assert (config["preset"], config["audio"]["encoder"]) == ("frozen", "ast")


def test_the_page_says_which_preset_to_take(sounds: Path) -> None:
    app = open_page("launch", {"training_launch_dataset": str(sounds)})
    assert advice(2, 8) in page_text(app)


def test_the_preset_follows_from_the_number_of_trials() -> None:
    assert PRESETS.keys() == PRESET_HELP.keys()
    for trials, taken in ((20, "take frozen."), (FEW, "take frozen."), (FEW + 1, "frozen or quick"), (MANY, "quick.")):
        assert taken in advice(10, trials)
    assert "across subjects" in advice(10, TOO_FEW - 1)
    assert "across subjects" not in advice(10, TOO_FEW)
    assert "across subjects" not in advice(1, TOO_FEW - 1)
    assert all(text in advice(1, 1) for text in PRESET_HELP.values())
