"""Pages that read a dataset: health, trials, launch, on a small table of sounds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from fake_study import make_study
from test_pages import PAGES, ROOT, checkpoints, open_page, page_text

from eavdash.store import find_study
from eavdash.ui.training.launch_plan import disk_sentence

__all__ = ["checkpoints"]


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Two subjects, eight trials each of two labels in four groups; one sound is empty."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = ["subject,trial,label,group,audio,place"]
    for subject in ("anna", "bo"):
        for trial in range(8):
            name = f"{subject}_{trial}.wav"
            soundfile.write(folder / name, rng.normal(0, 0.1, 16000).astype(np.float32), 16000)
            lines.append(f"{subject},{trial},{'calm' if trial % 2 else 'loud'},g{trial // 2},{name},lab")
    (folder / "bo_7.wav").write_bytes(b"")
    (folder / "trials.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_health_counts_trials_and_reports_problems(sounds: Path) -> None:
    app = open_page("health", {"data_health_path": str(sounds)})
    table = app.dataframe[0].value.set_index("Subject")
    assert table["Audio"].to_dict() == {"anna": 8, "bo": 7}
    assert any("cannot be used" in e.value for e in app.error)
    assert "bo" in page_text(app)


def test_health_of_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    app = open_page("health", {"data_health_path": str(tmp_path / "none")})
    assert len(app.error) == 1


def test_a_second_check_opens_only_changed_recordings(sounds: Path) -> None:
    app = open_page("health", {"data_health_path": str(sounds)})
    # The empty file is not opened.
    assert "15 files opened, 0 unchanged" in page_text(app)
    soundfile.write(sounds / "anna_1.wav", np.zeros(16000, np.float32), 16000)
    app.button(key="data_health_again").click().run()
    assert "1 file opened, 14 unchanged" in page_text(app)


def test_a_plan_waits_for_a_look_at_new_recordings_only(sounds: Path, background_tasks: list[tuple[str, ...]]) -> None:
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    (command,) = background_tasks
    assert command[:2] == ("check", "--for-study")
    assert "--set=stages=audio" in command
    assert command[-3:] == ("--subjects=anna", "--", str(sounds))
    assert "4 runs" in page_text(app)
    fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "others")
    assert len(background_tasks) == 1


def test_many_new_recordings_are_looked_at_on_request(
    sounds: Path, background_tasks: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eavdash.ui.scanning.CHECK_AT_ONCE", 3)
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    assert "8 files to check" in page_text(app)
    assert "4 runs" not in page_text(app)
    app.button(key="training_launch_start").click().run()
    assert "4 runs" in page_text(app)


def test_a_trial_is_shown_with_its_missing_modalities(sounds: Path) -> None:
    app = open_page("trials", {"data_trials_path": str(sounds)})
    text = page_text(app)
    assert "place lab" in text
    assert "not recorded in this trial" in text
    app.selectbox(key="data_trials_subject").select("bo").run()
    app.selectbox(key="data_trials_trial").select("7").run()
    assert not app.exception
    assert any("bo\\_7.wav" in e.value for e in app.error)


def test_a_trial_says_whose_settings_prepare_it(sounds: Path, checkpoints: Path) -> None:
    make_study(checkpoints, "voices", dataset=sounds)
    app = open_page("trials", {"data_trials_path": str(sounds)})
    assert "Prepared as in the study voices" in page_text(app)


def fill_in(app, name: str):
    """Enter a study name, and train only the modality of the table."""
    app.text_input(key="training_launch_name").set_value(name)
    app.multiselect(key="training_launch_stages").set_value(["audio"])
    app.multiselect(key="training_launch_subjects").set_value(["anna"])
    return app.run()


def test_a_study_is_planned_and_launched_once(sounds: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("eavdash.jobs.queue.submit", lambda study, runs, execution: asked.append((study.name, runs)))
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    assert "4 runs" in page_text(app)
    assert "n = 8 trials" in page_text(app)
    assert not checkpoints.exists() or not (checkpoints / "voices").exists()
    app.button(key="training_launch_queue").click().run()
    assert not app.exception
    assert [toast.value.replace("\\", "") for toast in app.toast] == ["Queued: 4 runs of the study voices."]
    assert app.title[0].value == "Runs"  # the page of its runs
    assert app.selectbox(key="study").value == "voices"
    app.switch_page(PAGES["launch"]).run()
    app.button(key="training_launch_queue").click().run()
    study = find_study(checkpoints, "voices")
    assert [runs for _, runs in asked] == [[r.name for r in study.runs()]] * 2
    assert len(study.runs()) == 4
    assert study.study().config["stages"] == ["audio"]
    app.switch_page(PAGES["launch"]).run()
    assert "exist already" in page_text(app)


def test_the_preset_fills_in_the_published_configuration(sounds: Path) -> None:
    app = open_page("launch", {"training_launch_dataset": str(sounds)})
    app.selectbox(key="training_launch_preset").select("paper").run()
    assert app.selectbox(key="training_launch_protocol.name").value == "paper"
    assert app.session_state["training_launch_eeg.encoder"] == "yin"
    assert app.session_state["training_launch_fusion.kind"] == "paper"
    fill_in(app, "published")
    assert "optimistic" in page_text(app)


def test_a_name_that_is_taken_shows_the_difference(sounds: Path, checkpoints: Path) -> None:
    make_study(checkpoints, "voices", dataset=sounds)
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    assert any("another name" in e.value for e in app.error)


def test_the_form_keeps_its_values_while_other_pages_are_shown(sounds: Path) -> None:
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    app.switch_page(str(ROOT / "pages/training/monitor.py")).run()
    app.switch_page("pages/training/launch.py").run()
    assert app.text_input(key="training_launch_name").value == "voices"
    assert app.multiselect(key="training_launch_stages").value == ["audio"]


def test_disk_space_counts_studies_and_windows_and_says_so(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "windows.npy").write_bytes(bytes(5_000_000))
    plan = SimpleNamespace(window_bytes=None)
    assert "studies and windows use 5.0 MB" in disk_sentence([plan], tmp_path)
