"""The page of subjects: the answer, metrics and levels, views, what is missing, and its address."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_study import make_study
from streamlit.testing.v1 import AppTest

from eavdash.results import tables
from eavdash.ui.results import subjects_page

ROOT = Path(__file__).resolve().parents[2]
PAGE = "results_subjects"


@pytest.fixture(autouse=True)
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("EAVDASH_CHECKPOINTS", str(tmp_path / "checkpoints"))
    return tmp_path / "checkpoints"


def opened(**address: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).run()
    app.switch_page("pages/results/subjects.py")
    for name, value in address.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception, app.exception[0].stack_trace
    return app


def drawn(app: AppTest, name: str) -> list[dict[str, Any]]:
    spec = next(json.loads(c.proto.spec) for c in app.get("plotly_chart") if c.key == f"{PAGE}_{name}")
    traces: list[dict[str, Any]] = spec["data"]
    return traces


def text(app: AppTest) -> str:
    return "\n".join(str(e.value) for kind in (app.markdown, app.caption) for e in kind).replace("\\", "")


def test_what_is_missing_is_a_hole_with_its_state_and_opens_its_run(checkpoints: Path) -> None:
    study = make_study(checkpoints, states={"s01-eeg": "failed", "s02-fusion": "queued"})
    file = study.run("s03-audio").scores_file
    file.write_bytes(b"x" + file.read_bytes()[1:])  # of the same size, so that only its checksum tells
    app = opened()
    holes = [t for t in drawn(app, "chart") if t.get("legendgroup") == "holes"]
    said = {(c[0], c[1], c[2], c[4]) for trace in holes for c in trace["customdata"]}
    assert said == {
        ("1", "eeg", "failed, 0 of 1 run done", "s01-eeg"),
        ("2", "fusion", "queued, 0 of 1 run done", "s02-fusion"),
        ("3", "audio", "damaged, 0 of 1 run done", "s03-audio"),
    }
    assert "audio lacks 1 subject (1 damaged); eeg lacks 1 subject (1 failed)" in text(app)
    means = {m.label: m.value for m in app.metric}
    scores = tables.scores(study).groupby("stage")["accuracy"].mean()
    assert means["EEG"] == f"{100 * scores['eeg']:.1f}\xa0%"
    assert app.dataframe[0].value["EEG"].tolist()[0] == "failed"
    app.session_state[subjects_page.OPEN] = "s01-eeg"
    app.run()
    assert app.title[0].value == "Runs"
    assert app.session_state["training_monitor_chosen"] == ["s01-eeg"]


def test_the_whole_selection_is_in_the_address(checkpoints: Path) -> None:
    make_study(checkpoints)
    app = opened()
    app.button_group(key=f"{PAGE}_metric").set_value("macro_f1")
    app.button_group(key=f"{PAGE}_level").set_value("window")
    app.button_group(key=f"{PAGE}_view").set_value("tiles")
    app.selectbox(key=f"{PAGE}_sort").set_value("gain")
    app.text_input(key=f"{PAGE}_filter").set_value("2-3")
    app.selectbox(key=f"{PAGE}_subject").set_value("3")
    app.toggle(key=f"{PAGE}_baselines").set_value(True).run()
    address = {name: value if isinstance(value, str) else value[0] for name, value in app.query_params.items()}
    expected = {
        "metric": "macro_f1",
        "level": "window",
        "view": "tiles",
        "sort": "gain",
        "filter": "2-3",
        "subject": "3",
    }
    assert expected.items() <= address.items()
    again = opened(**address)
    assert again.button_group(key=f"{PAGE}_metric").value == "macro_f1"
    assert again.selectbox(key=f"{PAGE}_sort").value == "gain"
    assert again.toggle(key=f"{PAGE}_baselines").value is True
    assert again.dataframe[0].value["subject"].tolist() == app.dataframe[0].value["subject"].tolist()
    assert set(again.dataframe[0].value["subject"]) == {"2", "3", "average"}
    assert len(again.dataframe(key=f"{PAGE}_trials").value) == 10
    assert {t["x"][0] for t in drawn(again, "tiles") if t.get("x")} <= {"2", "3"}
    wrong = opened(metric="speed", level="../x", view="", sort="nobody", subject="99", corrected="perhaps")
    assert wrong.button_group(key=f"{PAGE}_metric").value == "accuracy"
    assert wrong.selectbox(key=f"{PAGE}_subject").value is None


def test_every_metric_is_that_of_the_tables_in_cards_bars_and_table(checkpoints: Path) -> None:
    study = make_study(checkpoints)
    app = opened(metric="balanced_accuracy")
    scores = tables.scores(study)
    vision = scores[scores["stage"] == "vision"]
    assert {m.label: m.value for m in app.metric}["Vision"] == f"{100 * vision['balanced_accuracy'].mean():.1f}\xa0%"
    bars = next(t for t in drawn(app, "chart") if t["name"] == "Vision")
    assert bars["y"][:3] == pytest.approx((100 * vision["balanced_accuracy"]).tolist())
    assert not [t for t in drawn(app, "chart") if t["name"] == "chance line"]
    assert "balanced accuracy" in text(app)


def test_many_subjects_are_points_and_the_filtered_ones_are_bars(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_study(checkpoints, stages=("audio", "fusion"))
    monkeypatch.setattr(subjects_page, "MOST_SUBJECTS", 2)
    app = opened()
    keys = {c.key for c in app.get("plotly_chart")}
    assert (f"{PAGE}_strips" in keys, f"{PAGE}_chart" in keys) == (True, False)
    assert len(drawn(app, "strips")[0]["y"]) == 3
    app.text_input(key=f"{PAGE}_filter").set_value("1, 3").run()
    assert len(drawn(app, "strips")[0]["y"]) == 3
    assert drawn(app, "chart")[0]["x"] == ["1", "3", "average"]
    app.text_input(key=f"{PAGE}_filter").set_value("nobody").run()
    assert not app.exception
    assert "No subject matches" in app.info[-1].value
    app.text_input(key=f"{PAGE}_filter").set_value("")
    app.button_group(key=f"{PAGE}_view").set_value("slopes").run()
    names = [t["name"] for t in drawn(app, "slopes")]
    assert sum(int(name.split("(")[1][:-1]) for name in names if "(" in name) == 3
