"""The launch form's choice of trials and preprocessing, as the study then records it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from test_pages import checkpoints, open_page, page_text
from test_pages_data import fill_in, sounds

from eavdash.config.convert import recorded_config
from eavdash.store import find_study
from eavdash.ui.training import copy_settings

__all__ = ["checkpoints", "sounds"]


@pytest.fixture(autouse=True)
def no_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eavdash.jobs.queue.submit", lambda study, runs, execution: None)


def frozen(app, checkpoints: Path, name: str) -> dict:
    """Queue the form's study and return its stored configuration."""
    app.button(key="training_launch_queue").click().run()
    assert not app.exception
    return find_study(checkpoints, name).study().config


def test_every_setting_is_recorded_in_the_study(sounds: Path, checkpoints: Path) -> None:
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    app.number_input(key="training_launch_eeg_notch").set_value(50.0)
    app.number_input(key="training_launch_eeg_low").set_value(1.0)
    app.number_input(key="training_launch_eeg_reject").set_value(150.0)
    app.text_input(key="training_launch_reference").set_value("average")
    app.selectbox(key="training_launch_bad_channels").select("interpolate")
    app.selectbox(key="training_launch_crop").select("centre")
    app.selectbox(key="training_launch_channel").select("loudest")
    app.checkbox(key="training_launch_from_video").check()
    config = frozen(app.run(), checkpoints, "voices")
    eeg = config["eeg"]
    assert (eeg["notch"], eeg["low"], eeg["reject"], eeg["clip"]) == (50.0, 1.0, 150.0, 0.0)
    assert (eeg["reference"], eeg["bad_channels"], eeg["chain"]) == ("average", "interpolate", "trial")
    assert config["vision"]["crop"] == "centre"
    assert (config["audio"]["from_video"], config["audio"]["channel"]) == (True, "loudest")
    assert config["where"] == ["auto"]


def test_untouched_settings_are_the_presets(sounds: Path, checkpoints: Path) -> None:
    app = open_page("launch", {"training_launch_dataset": str(sounds)})
    app.selectbox(key="training_launch_preset").select("paper").run()
    app = fill_in(app, "voices")
    app.selectbox(key="training_launch_protocol").select("conversation").run()
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
    app.selectbox(key="training_launch_condition").select("listening").run()
    assert "n = 4 trials" in page_text(app)
    assert frozen(app, checkpoints, "voices")["where"] == ["condition=Listening"]


def test_additional_steps_in_the_published_chain_are_refused(sounds: Path) -> None:
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    app.selectbox(key="training_launch_chain").select("published")
    app.number_input(key="training_launch_eeg_notch").set_value(50.0).run()
    assert any("published" in e.value for e in app.error)
    assert "training_launch_queue" not in [b.key for b in app.button]


def test_the_disk_space_of_windows_is_shown_on_request(sounds: Path, checkpoints: Path) -> None:
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    assert not any(box.value.startswith("Windows:") for box in app.info)
    app.button(key="training_launch_room").click().run()
    sentence = next(box.value for box in app.info if box.value.startswith("Windows:"))
    assert sentence.startswith("Windows: needs ")
    assert "1 of 1 window sets are not in the cache, 8 windows" in sentence
    assert not list(checkpoints.glob("*/study.json"))


def test_trials_that_cannot_be_used_are_named_before_a_study_is_queued(sounds: Path, checkpoints: Path) -> None:
    # One sound is empty.
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    app.multiselect(key="training_launch_subjects").set_value([]).run()
    (warning,) = app.warning
    assert warning.value.replace("\\", "") == "1 of 16 trials left out: 1 unreadable in audio (trial 7 of subject bo)."
    frozen(app, checkpoints, "voices")
    left_out = find_study(checkpoints, "voices").study().left_out
    assert left_out is not None
    assert [(r.subject, r.trial, r.kind) for r in left_out.recordings] == [("bo", "7", "unreadable")]


def test_scaling_of_people_is_a_choice_of_three_with_its_number(sounds: Path, checkpoints: Path) -> None:
    table = pd.read_csv(sounds / "trials.csv")
    third = table[table["subject"] == "anna"].assign(subject="cleo", audio=[f"c{n}.wav" for n in range(8)])
    for n in range(8):  # other sounds than anna's
        samples = np.random.default_rng(9 + n).normal(0, 0.1, 16000).astype(np.float32)
        soundfile.write(sounds / f"c{n}.wav", samples, 16000)
    pd.concat([table, third]).to_csv(sounds / "trials.csv", index=False)
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "known")
    assert len(app.selectbox(key="training_launch_scaling").options) == 2, "within a person there is no calibration"
    app.multiselect(key="training_launch_subjects").set_value([])
    app.selectbox(key="training_launch_protocol").select("loso").run()
    app.selectbox(key="training_launch_scaling").select("calibration").run()
    app.number_input(key="training_launch_calibration").set_value(3).run()
    assert any("calibration with 3 trials" in e.value for e in app.warning)
    assert "9 of 23 trials, the first 3 of each subject" in page_text(app)
    assert frozen(app, checkpoints, "known")["protocol"]["subject_scaling"] == "calibration:3"
    app = open_page("launch", {"training_launch_dataset": str(sounds)})
    copied = copy_settings.form_defaults(recorded_config(find_study(checkpoints, "known").study()))
    assert (copied["scaling"], copied["calibration"]) == ("calibration", 3)
    app.number_input(key="training_launch_fold_count")
    app.selectbox(key="training_launch_protocol").select("loso").run()
    app.selectbox(key="training_launch_scaling").select("calibration").run()
    app.selectbox(key="training_launch_protocol").select("conversation").run()
    assert app.selectbox(key="training_launch_scaling").value == "off"
    assert not app.exception
