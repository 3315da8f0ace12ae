"""The page Average maps in its states: nothing yet, explained, averaged, more since, damaged; and its choices."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from fake_study import make_study
from stored_pictures import METHOD, SHAPES, add_maps
from test_attention_page import started
from test_heads import charts
from test_pages import checkpoints, open_page, page_text

from eavdash.results import tables
from eavdash.results.decision import first_decisions
from eavdash.store import StudyDir
from eavdash.ui import actions

__all__ = ["checkpoints"]


def explain(study: StudyDir, rows: pd.DataFrame) -> None:
    """Make files of explanations of decisions, as far as their names."""
    for row in rows.to_dict("records"):
        run = study.run(row["run"])
        run.explain_dir.mkdir(exist_ok=True)
        for file in run.explain_files(row["trial"], METHOD[0], row["predicted"], "", METHOD[1]):
            file.write_text("{}")


def test_nothing_is_explained_yet(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = started(monkeypatch)
    make_study(checkpoints)
    app = open_page("maps")
    assert "No average maps yet: 0 of 30 test trials are explained by this method." in page_text(app)
    assert "explain_maps_average" not in [b.key for b in app.button]
    app.button(key="explain_maps_explain").click().run()
    options = ["--stage=fusion", "--method=expected_gradients", "--baseline=mixed"]
    assert [args[0] for args in asked] == [["explain", "demo", "--trials", "all", *options]]


def test_explained_trials_can_be_averaged(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = started(monkeypatch)
    study = make_study(checkpoints)
    explain(study, first_decisions(tables.trials(study)).head(7))
    app = open_page("maps")
    assert "7 of 30 test trials are explained by this method; they are not averaged yet." in page_text(app)
    assert app.button(key="explain_maps_explain").label == "Explain the 23 missing trials"
    app.button(key="explain_maps_average").click().run()
    assert asked[0][0][:2] == ["maps", "demo"]


def test_ready_it_answers_and_every_choice_draws(checkpoints: Path) -> None:
    study = make_study(checkpoints)
    explain(study, add_maps(study))
    app = open_page("maps")
    text = page_text(app)
    assert "30 of 30 test trials are explained by this method." in text
    assert "Average the maps" not in [b.label for b in app.button]
    assert "Anger: no cell differs (p = 1.000)." in text
    assert "it is about people like these" in text
    assert len(charts(app, "explain_maps_map_0")) == 1
    app.button_group(key="explain_maps_view").set_value("scalp").run()
    assert "Anger differs in 1 of 4 cells (p = 0.002): Cz." in page_text(app)
    for view in SHAPES:
        app.button_group(key="explain_maps_view").set_value(view).run()
        for by in ("outcome", "subject", "label"):
            app.button_group(key="explain_maps_by").set_value(by).run()
            assert not app.exception
        app.button_group(key="explain_maps_shown").set_value("difference").run()
        assert "Anger less the others, 3 subjects" in page_text(app)
        app.button_group(key="explain_maps_shown").set_value("mean").run()
    assert "not tested, one map" in page_text(app)
    for kind, column in (("unlike", "distance"), ("surprising", "surprise"), ("typical", "distance")):
        app.button_group(key="explain_maps_unlike").set_value(kind).run()
        shown = app.dataframe[-1].value[column].tolist()
        assert shown == sorted(shown, reverse=kind != "typical")
        assert len(shown) == 8
    assert app.query_params["unlike"] in ("typical", ["typical"])


def test_more_since_and_42_subjects_in_parts(checkpoints: Path) -> None:
    study = make_study(checkpoints, subjects=[str(n + 1) for n in range(42)], trials=2, stages=("eeg", "fusion"))
    explain(study, first_decisions(tables.trials(study)))
    add_maps(study, explained=83)
    app = open_page("maps", {"explain_maps_by": "subject", "explain_maps_part": "nonsense"})
    assert "84 of 84 test trials are explained by this method; the maps below average 83." in page_text(app)
    assert app.selectbox(key="explain_maps_part").options == ["1 to 12", "13 to 24", "25 to 36", "37 to 42"]
    app.selectbox(key="explain_maps_part").select("36").run()
    assert "Subject 42, n = 10" in page_text(app)
    assert "Subject 1, n" not in page_text(app)


def test_damaged_maps_are_named_and_can_be_made_again(checkpoints: Path) -> None:
    study = make_study(checkpoints)
    explain(study, add_maps(study))
    study.maps_files("fusion", *METHOD)[0].write_bytes(b"x")
    app = open_page("maps")
    assert any("maps-fusion" in e.value for e in app.error)
    assert "explain_maps_average" in [b.key for b in app.button]


def test_an_unknown_class_in_the_session_is_dropped(checkpoints: Path) -> None:
    add_maps(make_study(checkpoints))
    app = open_page("maps", {"explain_maps_decided": "Boredom", "explain_maps_view": "smell", actions.TARGET: None})
    assert app.selectbox(key="explain_maps_decided").value is None
