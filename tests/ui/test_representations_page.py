"""The page Representations in its states: nothing yet, ready, partly there, damaged; scopes, spaces and colours."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_study import make_study
from stored_pictures import add_representations
from test_attention_page import started
from test_heads import charts
from test_pages import checkpoints, open_page, page_text

from eavdash.report.figures import representations as figures
from eavdash.results import representations, separation, tables
from eavdash.ui.explain import representations as widgets

__all__ = ["checkpoints"]


@pytest.fixture(autouse=True)
def few_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separation, "PERMUTATIONS", 49)


def test_nothing_yet_can_be_computed(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = started(monkeypatch)
    make_study(checkpoints)
    app = open_page("representations")
    assert "No representations yet." in page_text(app)
    app.button(key="explain_representations_compute").click().run()
    assert [args[0] for args in asked] == [["representations", "demo"]]


def test_ready_every_scope_space_and_colour_is_drawn(checkpoints: Path) -> None:
    add_representations(make_study(checkpoints, trials=20))
    app = open_page("representations")
    text = page_text(app)
    assert "subjects can be compared" in text
    assert "separates these points" in text
    assert "UMAP needs an extra" in text or representations.has_umap()
    assert "explain_representations_compute" not in [b.key for b in app.button]
    colours = app.selectbox(key="explain_representations_by").options
    assert colours[:3] == ["Emotion", "Subject", "Right or wrong"]
    assert colours[3:] == [f"Attention share of {m}" for m in ("Vision", "Audio", "EEG")]
    for by in ("subject", "outcome", "share_audio", "label"):
        app.selectbox(key="explain_representations_by").select(by).run()
        assert not app.exception
        (drawn,) = charts(app, "explain_representations_chart")
        assert len(drawn) == {"subject": 3, "outcome": 2, "share_audio": 1, "label": 5}[by]
    app.selectbox(key="explain_representations_run").select("s02-fusion").run()
    text = page_text(app)
    assert "places and distances hold within this run only" in text
    assert "The emotions are apart: emotion explains" in text
    assert "nothing can be said about who" in text
    app.selectbox(key="explain_representations_space").select("vision").run()
    (drawn,) = charts(app, "explain_representations_chart")
    assert {row[0] for trace in drawn for row in trace["customdata"]} == {"2"}


def test_new_runs_damage_and_unknown_choices(checkpoints: Path) -> None:
    study = make_study(checkpoints, subjects=[str(n + 1) for n in range(6)])
    add_representations(study, leave=5)
    app = open_page("representations", {"explain_representations_run": "s99", "explain_representations_way": "x"})
    assert "Missing, or of earlier weights: s01-fusion, s02-fusion, s03-fusion and 2 more." in page_text(app)
    assert app.selectbox(key="explain_representations_run").options == ["all runs: decisions", "subject 6"]
    study.decisions_file.write_bytes(b"x")
    app = open_page("representations")
    assert any("representations.parquet" in e.value for e in app.error)
    study.representations_file.write_text("{")
    app = open_page("representations")
    assert any("representations.json" in e.value for e in app.error)
    assert "explain_representations_compute" in [b.key for b in app.button]


def test_selected_points_are_their_trials(checkpoints: Path) -> None:
    study = make_study(checkpoints)
    found = add_representations(study)
    trials = tables.trials(study)
    table = representations.load_table(study, found)
    rows = widgets._with_decisions(table[table["space"] == "fusion"], trials, "fusion")
    space = next(each for each in found.spaces if each.run == "" and each.space == "fusion")
    fig = figures.scatter(rows, space, "pca", "label")
    points = [tuple(row[:2]) for trace in fig.data for row in trace.customdata]
    assert sorted(points) == sorted(zip(rows["subject"], rows["trial"], strict=True))
    one = rows.iloc[0]
    decided = trials[(trials["stage"] == "fusion") & (trials["trial"] == one["trial"])]
    decided = decided[decided["subject"] == one["subject"]].iloc[0]
    assert one["p_label"] == decided[f"p_{one['label']}"]
    assert (one["outcome"] == "right") == decided["correct"]
