"""The pages Statistics and Compare: every view, the printed sentence, clicks, and choices in the address."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from fake_study import make_study
from streamlit.testing.v1 import AppTest
from test_heads import charts
from test_pages import PAGES, ROOT, checkpoints, open_page, page_text

from eavdash.results import expressiveness, tables
from eavdash.store import StudyDir

__all__ = ["checkpoints"]
VIEW = "results_statistics_view"


def at(address: dict[str, str], page: str = "statistics") -> AppTest:
    """Open the page at an address."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.run()
    for name, value in address.items():
        app.query_params[name] = value
    app.switch_page(PAGES[page]).run()
    assert not app.exception, app.exception[0].stack_trace
    return app


def drawn_in(app: AppTest, keys: set[str]) -> bool:
    """Return True if there is a figure of each key."""
    return all(charts(app, key) for key in keys)


def table(app: AppTest, column: str) -> pd.DataFrame:
    """Return the first table with the column."""
    return next(each.value for each in app.dataframe if column in each.value.columns)


def measures(study: StudyDir) -> None:
    decided = tables.trials(study)
    rows = [
        (r.subject, r.trial, "vision", "motion", float(r.Index % 7), "")
        for r in decided[decided["stage"] == "vision"].itertuples()
    ]
    expressiveness.save(study, [*rows, ("1", "", "audio", "", math.nan, "a.wav: expected sound, found none")])


def test_the_answer_has_the_printed_sentence_and_what_stands_beside_it(checkpoints: Path) -> None:
    make_study(checkpoints, subjects=[str(i) for i in range(7)])
    app = open_page("statistics")
    (printed,) = [c.value for c in app.code]
    assert "95 % CI [" in printed
    assert "N = 7" in printed
    assert table(app, "reference")["reference"].tolist()[:2] == ["chance", "majority class"]
    assert "Not probed yet: shuffled, identity" in page_text(app)
    assert drawn_in(app, {"results_statistics_scatter", "results_statistics_differences"})


@pytest.mark.parametrize(
    ("view", "drawn"),
    [
        ("classes", {"confusion", "reliability"}),
        ("together", {"patterns"}),
        ("why", {"emotions"}),
        ("curves", {"curves"}),
    ],
)
def test_every_view_opens_from_its_address(checkpoints: Path, view: str, drawn: set[str]) -> None:
    make_study(checkpoints, seeds=(0, 1))
    app = at({"view": view, "stage": "audio"})
    assert drawn_in(app, {f"results_statistics_{name}" for name in drawn})
    assert app.session_state[VIEW] == view
    if view in ("classes", "curves"):
        assert app.session_state["results_statistics_stage"] == "audio"


def test_an_address_that_names_nothing_opens_the_answer(checkpoints: Path) -> None:
    make_study(checkpoints)
    app = at({"view": "nothing", "metric": "luck", "stage": "smell", "subject": "99", "split": "nothing"})
    assert app.session_state[VIEW] == "answer"


def test_a_clicked_cell_lists_its_trials_and_a_row_opens_one(checkpoints: Path) -> None:
    study = make_study(checkpoints)
    app = at({"view": "classes", "stage": "eeg"})
    point = {"x": "Calmness", "y": "Anger"}
    app.session_state["results_statistics_confusion"] = {"selection": {"points": [point]}}
    app.session_state["results_statistics_cell"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    app.run()
    rows = tables.trials(study).query("stage == 'eeg' and label == 'Anger' and predicted == 'Calmness'")
    shown = app.dataframe(key="results_statistics_cell").value
    assert sorted(zip(shown["subject"], shown["trial"], strict=True)) == sorted(
        zip(rows["subject"], rows["trial"], strict=True)
    )
    (link,) = [e.proto for e in app.get("page_link") if e.proto.label.startswith("Explain")]
    assert link.query_string == f"study=demo&subject={shown['subject'].iloc[0]}&trial={shown['trial'].iloc[0]}"


def test_expressiveness_is_measured_by_a_task_and_then_shown(
    checkpoints: Path, background_tasks: list[tuple[str, ...]]
) -> None:
    study = make_study(checkpoints, classes=("left hand", "right hand", "rest"))
    app = at({"view": "why"})
    assert "By label" in [head.value for head in app.subheader], "these classes are no emotions"
    assert "Not measured yet" in page_text(app)
    measures(study)
    app.run()
    assert "1 recordings could not be measured" in page_text(app)
    assert table(app, "within subjects")["measure"].tolist() == ["Vision: face motion"]
    assert drawn_in(app, {"results_statistics_expressive"})
    study.expressiveness_file.write_bytes(b"damaged")
    app.run()
    assert not app.exception
    assert app.error


def test_two_studies_are_compared_from_the_address(checkpoints: Path) -> None:
    make_study(checkpoints, "first", subjects=[str(i) for i in range(7)], protocol="paper")
    make_study(checkpoints, "second", subjects=[str(i) for i in range(7)], seed=4)
    app = at({"study": "second", "other": "first", "stage": "eeg", "metric": "macro_f1"}, "compare")
    assert app.selectbox(key="results_compare_other").value == "first"
    text = page_text(app)
    assert "The protocols differ: conversation and paper." in text
    assert "Macro-F1 on the trials that both studies have tested" in text
    assert "Only first is marked" in text
    assert table(app, "p (Holm)")["stage"].tolist() == ["Vision", "Audio", "EEG", "Fusion"]
    assert drawn_in(app, {"results_compare_scatter", "results_compare_steps"})


def test_a_study_alone_has_nothing_to_compare_with(checkpoints: Path) -> None:
    make_study(checkpoints)
    app = at({"other": "nobody"}, "compare")
    assert "no other study" in page_text(app)
    assert len(table(app, "scored")) == 1


def test_across_subjects_the_test_over_folds_stands_beside_the_answer(checkpoints: Path) -> None:
    make_study(checkpoints, subjects=[str(i) for i in range(7)], folds=(0, 1), protocol="loso")
    assert "Corrected resampled t-test over 2 folds" in page_text(open_page("statistics"))
