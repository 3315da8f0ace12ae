"""The page Studies in each of its states, and the launch form with the settings of a study."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pandas as pd
import pytest
from fake_study import make_study
from streamlit.testing.v1 import AppTest
from test_pages import PAGES, checkpoints, open_page, page_text
from test_pages_data import fill_in, sounds

from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Selection
from eavdash.store import StudyDir
from eavdash.studies.write import prepare
from eavdash.ui import cached_runs

__all__ = ["checkpoints", "sounds"]


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    asked: list[tuple[str, list[str]]] = []

    def submit(study: StudyDir, runs: list[str], _execution: object, *, given: bool = True) -> None:
        asked.append((study.name, list(runs)))
        for name in runs:
            study.run(name).update(submission="1")

    monkeypatch.setattr("eavdash.jobs.queue.submit", submit)
    return asked


@pytest.fixture
def voices(sounds: Path, checkpoints: Path) -> StudyDir:
    """Subject anna, fold 0, audio only, with settings that no preset has."""
    settings = ["train.audio.epochs=7", "audio.width=32", "where=place=lab"]
    config = with_settings(preset("quick"), ["stages=audio", *settings])
    return prepare(sounds, "voices", config, Selection(("anna",), (0,), (3,)), checkpoints).study


def chosen(name: str, **before: object) -> AppTest:
    return open_page("studies", {"training_studies_choice": name, **before})


def buttons(app: AppTest) -> set[str]:
    return {str(b.key).removeprefix("training_studies_") for b in app.button}


def test_no_studies() -> None:
    assert "There is no study yet" in page_text(open_page("studies"))


def test_the_table_shows_progress_and_problems(checkpoints: Path) -> None:
    study = make_study(
        checkpoints, "first", states={"s01-eeg": "failed", "s02-audio": "queued", "s03-audio": "running"}
    )
    make_study(checkpoints, "second", protocol="paper").set_control(paused=True)
    with study.run("s03-audio").lock_file.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        app = open_page("studies")
    table = app.dataframe(key="training_studies_table").value.set_index("Study")
    assert table["Runs"].to_dict() == {"first": "9 of 12", "second": "12 of 12"}
    assert table.loc["first", "State"] == "9 done, 1 failed, 1 running, 1 never queued"
    assert (table.loc["second", "State"], table.loc["second", "Protocol"]) == ("paused", "paper")
    assert "2 studies take" in page_text(app)
    assert buttons(app) == set()  # no study is selected


def test_an_unreadable_study_is_marked_and_can_be_deleted(checkpoints: Path) -> None:
    make_study(checkpoints, "whole")
    torn = make_study(checkpoints, "torn")
    torn.study_file.write_text("{")
    app = chosen("torn", study="whole")
    assert any("study.json" in e.value and "JSON" in e.value for e in app.error)
    assert app.dataframe(key="training_studies_table").value["State"].tolist() == ["damaged", "done"]
    assert app.button(key="training_studies_clone").disabled
    app.text_input(key="training_studies_delete_name").set_value("torn").run()
    app.button(key="training_studies_delete").click().run()
    assert not app.exception
    assert not torn.path.exists()


def test_the_selection_follows_the_study_when_rows_disappear(checkpoints: Path) -> None:
    for name in ("a", "b", "c"):
        make_study(checkpoints, name)
    app = chosen("b", study="a")
    assert app.session_state["training_studies_table"]["selection"]["rows"] == [1]
    StudyDir(checkpoints / "a").set_control(archived=True)
    cached_runs.refresh()
    app.run()
    assert app.subheader[0].value == "b"
    assert app.session_state["training_studies_table"]["selection"]["rows"] == [0]
    app.button(key="training_studies_open").click().run()
    assert app.selectbox(key="study").value == "b"
    assert "open" not in buttons(app)


def test_delete_needs_the_name_and_is_refused_while_runs_are_active(checkpoints: Path) -> None:
    study = make_study(checkpoints, "pilot")
    app = chosen("pilot")
    assert app.button(key="training_studies_delete").disabled
    app.text_input(key="training_studies_delete_name").set_value("pilo").run()
    assert app.button(key="training_studies_delete").disabled
    app.text_input(key="training_studies_delete_name").set_value("pilot").run()
    with study.run("s01-eeg").lock_file.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        app.button(key="training_studies_delete").click().run()
    assert any("s01-eeg running" in e.value for e in app.error)
    assert len(study.runs()) == 12
    app.button(key="training_studies_delete").click().run()
    assert not app.exception
    assert "pilot is deleted" in page_text(app)
    assert "There is no study yet" in page_text(app)
    assert not study.path.exists()


def test_archive_and_unarchive(checkpoints: Path) -> None:
    study = make_study(checkpoints, "pilot", states={"s01-eeg": "failed"})
    make_study(checkpoints, "other")
    study.run("s01-eeg").resume_file.write_bytes(b"r" * 2000)
    app = chosen("pilot", study="other")
    app.checkbox(key="training_studies_drop").check().run()
    app.button(key="training_studies_archive").click().run()
    assert "pilot is archived; 2.0 kB were freed" in page_text(app)
    assert app.dataframe(key="training_studies_table").value["Study"].tolist() == ["other"]
    assert not study.run("s01-eeg").resume_file.exists()
    app.toggle(key="training_studies_archived").set_value(True).run()
    app.selectbox(key="training_studies_choice").select("pilot").run()
    assert app.button(key="training_studies_pause").disabled
    app.button(key="training_studies_unarchive").click().run()
    assert not study.archived
    make_study(checkpoints, "third").set_control(archived=True)
    for left in ("pilot", "other"):
        StudyDir(checkpoints / left).set_control(archived=True)
    cached_runs.refresh()
    assert "All studies are archived" in page_text(open_page("studies"))


def test_a_study_without_runs_left(checkpoints: Path) -> None:
    make_study(checkpoints, "demo", subjects=("1",), states={"s01-eeg": "cancelled", "s01-fusion": "cancelled"})
    app = chosen("demo")
    assert app.dataframe(key="training_studies_table").value["State"].tolist() == ["2 done, 2 cancelled"]
    assert app.button(key="training_studies_pause").disabled


def test_pause_and_resume_call_the_queue(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_study(checkpoints, "pilot", states={"*": "queued"})
    for verb in ("pause", "resume"):
        monkeypatch.setattr(
            f"eavdash.jobs.queue.{verb}", lambda study, verb=verb: study.set_control(paused=verb == "pause")
        )
    app = chosen("pilot")
    app.button(key="training_studies_pause").click().run()
    assert "pilot is paused" in page_text(app)
    assert StudyDir(checkpoints / "pilot").paused
    app.button(key="training_studies_resume").click().run()
    assert "pilot is resumed" in page_text(app)
    assert not StudyDir(checkpoints / "pilot").paused


def test_verification_names_damaged_files_and_computes_them_again(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(checkpoints, "pilot")
    app = chosen("pilot")
    app.button(key="training_studies_verify").click().run()
    assert "files of 12 runs" in app.success[0].value
    study.run("s01-eeg").model_file.write_bytes(b"weightz")
    app.button(key="training_studies_verify").click().run()
    assert "1 damaged" in app.error[0].value
    assert "eavdash retry pilot --run s01-eeg" in page_text(app)
    asked = []
    monkeypatch.setattr("eavdash.studies.write.retry", lambda study, runs: asked.append((study.name, runs)))
    app.button(key="training_studies_again").click().run()
    assert asked == [("pilot", ["s01-eeg"])]
    assert "1 damaged" not in page_text(app)


def grown(name: str) -> AppTest:
    """Open the page with the extension form expanded, which AppTest cannot do by a click."""
    app = chosen(name)
    app.session_state["training_studies_grow"] = True
    app.run()
    assert not app.exception
    return app


def test_adding_queues_only_new_runs(voices: StudyDir, submitted: list) -> None:
    app = grown("voices")
    assert "New runs: 0. Existing runs that were never queued: 1." in page_text(app)
    app.multiselect(key="training_studies_subjects").set_value(["bo"])
    app.text_input(key="training_studies_seeds").set_value("4").run()
    assert "New runs: 3. Existing runs that were never queued: 1." in page_text(app)
    app.button(key="training_studies_extend").click().run()
    assert "voices: 4 runs are queued" in page_text(app)
    assert submitted == [("voices", [f"s-{who}-audio{seed}" for who in ("anna", "bo") for seed in ("", "-seed4")])]
    app.text_input(key="training_studies_folds").set_value("nine").run()
    assert any("numbers such as" in e.value for e in app.error)
    assert "training_studies_extend" not in [b.key for b in app.button]


def test_a_clone_starts_with_every_setting_of_the_study(voices: StudyDir, checkpoints: Path, submitted: list) -> None:
    app = chosen("voices")
    app.button(key="training_studies_clone").click().run()
    assert not app.exception
    assert app.title[0].value == "Set up a study"
    app.switch_page(PAGES["launch"]).run()  # AppTest returns to its initial page
    assert app.text_input(key="training_launch_name").value == "voices-2"
    assert app.selectbox(key="training_launch_preset").value == "study:voices"
    assert app.text_input(key="training_launch_where").value == "place=lab"
    assert (app.text_input(key="training_launch_seeds").value, app.text_input(key="training_launch_folds").value) == (
        "3",
        "0",
    )
    assert "Only the name differs from voices" in page_text(app)
    app.session_state["training_launch_eeg.notch"] = "50"
    app.text_input(key="training_launch_seeds").set_value("3,4").run()
    text = page_text(app)
    assert "Differences from voices" in text
    assert "eeg.notch: 0.0 → 50.0" in text
    assert "seeds: [3] → [3, 4]" in text
    app.button(key="training_launch_queue").click().run()
    assert not app.exception
    made = StudyDir(checkpoints / "voices-2").study()
    assert made.config["audio"]["width"] == 32
    assert made.config["train"]["audio"]["epochs"] == 7
    assert made.selection.document() == {"subjects": ["anna"], "folds": [0], "seeds": [3, 4]}
    # Back to a preset: nothing of the study is left.
    app.switch_page(PAGES["launch"]).run()
    app.selectbox(key="training_launch_preset").select("quick").run()
    assert app.text_input(key="training_launch_where").value == "auto"
    assert not app.exception


def test_a_filter_of_trials_that_the_form_does_not_offer_is_kept(voices: StudyDir, sounds: Path) -> None:
    table = pd.read_csv(sounds / "trials.csv")
    table["condition"] = "Speaking"
    table.to_csv(sounds / "trials.csv", index=False)
    app = chosen("voices")
    app.button(key="training_studies_clone").click().run()
    app.switch_page(PAGES["launch"]).run()
    assert app.selectbox(key="training_launch_where").value == "place=lab"
    assert "Only the name differs from voices" in page_text(app)
    app.selectbox(key="training_launch_where").select("auto").run()
    assert "where: ['place=lab'] → ['auto']" in page_text(app)
    app.selectbox(key="training_launch_preset").select("quick").run()
    assert not app.exception
    assert "place=lab" not in app.selectbox(key="training_launch_where").options


def test_settings_copied_from_a_deleted_study_become_the_presets(voices: StudyDir) -> None:
    app = chosen("voices")
    app.button(key="training_studies_clone").click().run()
    app.switch_page(PAGES["launch"]).run()
    assert app.selectbox(key="training_launch_preset").value == "study:voices"
    voices.study_file.unlink()
    app.run()
    assert not app.exception
    assert app.selectbox(key="training_launch_preset").value == "quick"


def test_a_taken_name_shows_the_difference_and_offers_a_free_one_and_the_old_settings(
    voices: StudyDir, sounds: Path, checkpoints: Path
) -> None:
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    assert any("give the new study another name" in e.value for e in app.error)
    assert "audio.width: 32 → 64" in page_text(app)
    assert "training_launch_queue" not in [b.key for b in app.button]
    app.button(key="training_launch_free_name").click().run()
    assert app.text_input(key="training_launch_name").value == "voices-2"
    assert "training_launch_queue" in [b.key for b in app.button]
    app.text_input(key="training_launch_name").set_value("voices").run()
    app.button(key="training_launch_take_over").click().run()
    assert not app.exception
    assert "The run of this study exists already" in page_text(app)
    voices.set_control(archived=True)
    app.text_input(key="training_launch_seeds").set_value("3,5").run()
    assert any("archived" in e.value for e in app.error)
