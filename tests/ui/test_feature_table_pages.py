"""Tables of features on the pages: lines instead of a player, a heat map that names columns, the launch form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_study import make_explanation, make_study
from feature_files import UNITS, make_dataset, read, write
from hostile import IN_FIGURES, NAME
from test_heads import charts, numbers
from test_pages import checkpoints, open_page, page_text

from eavdash.explain.explanation import save_explanation
from eavdash.report.figures.feature_tables import LINES, ROWS, feature_lines, strongest
from eavdash.store import find_study

__all__ = ["checkpoints"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "units", subjects=1, trials=8, sound=True)


def test_a_trial_is_drawn_as_lines_and_not_played(root: Path) -> None:
    header, rows = read(root.parent / "s1-1_of.csv")
    header[header.index("AU06_r")] = NAME.replace(",", "")
    write(root.parent / "s1-1_of.csv", header, rows)
    app = open_page("trials", {"data_trials_path": str(root)})
    assert not app.error
    assert "6 features of a table" in page_text(app)
    assert "3 features of a table" in page_text(app)
    assert "Vision, Audio" not in page_text(app), "both are recorded"
    (vision,), (audio,) = charts(app, "data_trials_vision_table"), charts(app, "data_trials_audio_table")
    assert [trace["name"] for trace in vision][1:3] == list(UNITS[:2])
    assert len(audio) == 3
    assert not any(part in str(vision) for part in IN_FIGURES)
    components = [each.proto.component_name for each in app.get("bidi_component")]
    assert components == ["eavdash_history"], "no player without a recording to play"


def test_a_bad_table_is_one_sentence_on_its_trial(root: Path) -> None:
    header, rows = read(root.parent / "s1-1_of.csv")
    rows[4][header.index("AU06_r")] = "nan"
    write(root.parent / "s1-1_of.csv", header, rows)
    app = open_page("trials", {"data_trials_path": str(root)})
    app.selectbox(key="data_trials_trial").select("1").run()
    assert not app.exception
    (error,) = app.error
    assert "line 6" in error.value
    assert charts(app, "data_trials_audio_table"), "the other recording is shown"


def test_the_health_page_says_how_to_train_on_them_and_asks_for_no_faces(root: Path) -> None:
    app = open_page("health", {"data_health_path": str(root)})
    assert not app.exception
    text = page_text(app)
    assert "8 recordings are tables of 6 features" in text
    assert "vision.encoder=table" in text
    assert "Show the faces" not in [button.label for button in app.button]


def test_a_dataset_of_tables_is_previewed_when_it_is_added(root: Path) -> None:
    app = open_page("add")
    app.text_input(key="data_add_name").set_value("units")
    app.text_input(key="data_add_path").set_value(str(root)).run()
    app.button(key="data_add_check").click().run()
    assert not app.exception
    assert len(charts(app, "data_add_vision_table")) == len(charts(app, "data_add_audio_table")) == 1


def test_the_launch_form_offers_the_encoder_and_its_columns(
    root: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eavdash.jobs.queue.submit", lambda *_: None)
    app = open_page("launch", {"training_launch_dataset": str(root)})
    app.text_input(key="training_launch_name").set_value("units")
    app.multiselect(key="training_launch_stages").set_value(["vision"]).run()
    assert any("vision.encoder=table" in error.value.replace("\\", "") for error in app.error)
    app.session_state["training_launch_tab"] = "Vision"
    app.run()
    app.selectbox(key="training_launch_vision.encoder").set_value("table").run()
    app.text_input(key="training_launch_vision.table.columns").set_value("AU*_r, -AU45_r").run()
    assert not app.error
    app.button(key="training_launch_queue").click().run()
    assert not app.exception
    recorded = find_study(checkpoints, "units").study().config["vision"]
    assert recorded["encoder"] == "table"
    assert recorded["table"]["columns"] == ["AU*_r", "-AU45_r"]


def test_the_heat_map_of_an_explanation_names_the_columns(checkpoints: Path) -> None:
    study = make_study(checkpoints)
    made = make_explanation(study, "s01-fusion", "1", "2")
    names = (*(f"AU{n:02d}_r" for n in range(60)), NAME)
    heat = np.random.default_rng(0).normal(0, 0.01, (2, 125, 61)).astype(np.float32)
    heat[:, 40:60, 60] = 1.0
    changed = {
        name: {**getattr(made, name), "vision": value}
        for name, value in (("attributions", heat), ("inputs", heat), ("masks", np.ones((2, 125), bool)))
    }
    save_explanation(study.run("s01-fusion"), replace(made, columns={"vision": names}, **changed))
    app = open_page("trial")
    assert not app.exception, app.exception[0].stack_trace
    (traces,) = charts(app, "explain_trial_vision")
    (trace,) = traces
    assert len(trace["y"]) == ROWS
    assert not any(part in str(trace["y"]) for part in IN_FIGURES)
    assert numbers(trace["z"]).reshape(ROWS, -1)[-1].max() > 0.9
    assert f"The {ROWS} features with the largest attributions, of 61" in page_text(app)
    assert charts(app, "explain_trial_eeg"), "the other modalities are as before"


def test_lines_leave_gaps_where_nothing_was_recorded() -> None:
    values = np.random.default_rng(0).normal(size=(50, 40))
    values[10:20] = np.nan
    fig = feature_lines([f"c{n}" for n in range(40)], np.arange(50) / 25, values, "vision")
    assert len(fig.data) == LINES
    assert np.isnan(np.asarray(fig.data[3].y, float)[10:20]).all()
    assert np.nanmax(fig.data[3].y) - np.nanmin(fig.data[3].y) == pytest.approx(0.8)
    feature_lines(["a"], np.arange(3), np.full((3, 1), np.nan), "audio")


def test_the_strongest_columns_keep_their_order() -> None:
    heat = np.zeros((5, 100))
    heat[:, ::2] = 1
    assert strongest(heat).tolist() == list(range(0, 80, 2))
