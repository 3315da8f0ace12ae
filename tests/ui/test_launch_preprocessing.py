"""The launch form's choice of trials and preprocessing, as the study then records it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from test_pages import checkpoints, open_page, page_text
from test_pages_data import fill_in, sounds

from eavdash.store import find_study

__all__ = ["checkpoints", "sounds"]


@pytest.fixture(autouse=True)
def no_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eavdash.jobs.queue.submit", lambda study, runs, execution: None)


def frozen(app, checkpoints: Path, name: str) -> dict:
    """Queue the form's study and return its stored configuration."""
    app.button(key="training_launch_queue").click().run()
    assert not app.exception
    return find_study(checkpoints, name).study().config


def test_untouched_settings_are_the_presets(sounds: Path, checkpoints: Path) -> None:
    app = open_page("launch", {"training_launch_dataset": str(sounds)})
    app.selectbox(key="training_launch_preset").select("paper").run()
    app = fill_in(app, "voices")
    app.selectbox(key="training_launch_protocol.name").select("conversation").run()
    config = frozen(app, checkpoints, "voices")
    assert config["eeg"]["chain"] == "published"
    assert config["vision"]["size"] == 224


def test_trials_are_chosen_by_any_column(sounds: Path, checkpoints: Path) -> None:
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    app.text_input(key="training_launch_where").set_value("place=moon").run()
    assert any("none among 16 trials" in e.value for e in app.error)
    app.text_input(key="training_launch_where").set_value("place=lab").run()
    assert frozen(app, checkpoints, "voices")["where"] == ["place=lab"]


def test_a_condition_of_trials_is_a_choice(sounds: Path, checkpoints: Path) -> None:
    table = pd.read_csv(sounds / "trials.csv")
    table["condition"] = ["Speaking", "Listening"] * 8
    table["label"] = ["calm", "calm", "loud", "loud"] * 4
    table["group"] = [f"g{n // 4}" for n in range(16)]
    table.to_csv(sounds / "trials.csv", index=False)
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    app.selectbox(key="training_launch_where").set_value("condition=Listening").run()
    assert "n = 4 trials" in page_text(app)
    assert frozen(app, checkpoints, "voices")["where"] == ["condition=Listening"]


def test_additional_steps_in_the_published_chain_are_refused(sounds: Path) -> None:
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    app.session_state["training_launch_tab"] = "EEG"
    app.run()
    app.selectbox(key="training_launch_eeg.chain").select("published")
    app.text_input(key="training_launch_eeg.notch").set_value("50").run()
    assert any("published" in e.value for e in app.error)
    assert "training_launch_queue" not in [b.key for b in app.button]
    app.session_state["training_launch_tab"] = "Common"  # the message does not leave with its field
    app.run()
    assert any("In the tab EEG: eeg.notch" in e.value for e in app.error)


def test_time_and_disk_space_are_estimated_without_asking(sounds: Path, checkpoints: Path) -> None:
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    assert "Time: unknown, as no similar run has finished on these recordings yet." in page_text(app)
    # 8 windows of 500 frames x 128 bands in float32, with their masks and index rows.
    assert f"the windows take at most {8 * (498 * 128 * 4 + 498 + 24) / 1e6:.1f} MB, made once" in page_text(app)
    assert not list(checkpoints.glob("*/study.json"))


def test_trials_that_cannot_be_used_are_named_before_a_study_is_queued(sounds: Path, checkpoints: Path) -> None:
    # One sound is empty.
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    app.multiselect(key="training_launch_subjects").set_value([]).run()
    warned = [warning.value.replace("\\", "") for warning in app.warning]
    assert "1 of 16 trials left out: 1 unreadable in audio (trial 7 of subject bo)." in warned
    frozen(app, checkpoints, "voices")
    left_out = find_study(checkpoints, "voices").study().left_out
    assert left_out is not None
    assert [(r.subject, r.trial, r.kind) for r in left_out.recordings] == [("bo", "7", "unreadable")]


def test_scaling_of_people_is_a_choice_to_which_a_number_can_be_typed(sounds: Path, checkpoints: Path) -> None:
    table = pd.read_csv(sounds / "trials.csv")
    third = table[table["subject"] == "anna"].assign(subject="cleo", audio=[f"c{n}.wav" for n in range(8)])
    for n in range(8):  # other sounds than anna's
        samples = np.random.default_rng(9 + n).normal(0, 0.1, 16000).astype(np.float32)
        soundfile.write(sounds / f"c{n}.wav", samples, 16000)
    pd.concat([table, third]).to_csv(sounds / "trials.csv", index=False)
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "known")
    app.multiselect(key="training_launch_subjects").set_value([])
    # AppTest cannot type a new option.
    app.text_area(key="training_launch_set_box").set_value("protocol.subject_scaling=calibration:3").run()
    assert any("trials are kept for calibration only under loso" in e.value for e in app.error)
    app.selectbox(key="training_launch_protocol.name").select("loso").run()
    assert any("calibration with 3 trials" in e.value for e in app.warning)
    assert "9 of 23 trials, the first 3 of each subject" in page_text(app)
    assert frozen(app, checkpoints, "known")["protocol"]["subject_scaling"] == "calibration:3"
