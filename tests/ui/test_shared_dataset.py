"""One dataset for all pages: what is chosen on one of them is what the others show and train on, and in the address."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_study import make_study
from short_sounds import table
from streamlit.testing.v1 import AppTest
from test_pages import PAGES, checkpoints, open_page

from eavdash.store import datasets
from eavdash.ui import actions

__all__ = ["checkpoints"]
FIELDS = {"health": "data_health_path", "trials": "data_trials_path", "launch": "training_launch_dataset"}


@pytest.fixture
def two(tmp_path: Path, checkpoints: Path) -> tuple[str, str]:
    """Two datasets of the list."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first, second = str(table(tmp_path / "first")), str(table(tmp_path / "second"))
    datasets.add(checkpoints, "First", first)
    datasets.add(checkpoints, "Second", second)
    return first, second


def go(app: AppTest, page: str) -> AppTest:
    app.switch_page(PAGES[page]).run()
    assert not app.exception, app.exception[0].stack_trace
    return app


def shown(app: AppTest, page: str) -> str:
    return str(app.selectbox(key=FIELDS[page]).value)


@pytest.mark.parametrize("source", list(FIELDS))
def test_the_dataset_chosen_on_one_page_is_that_of_the_others(source: str, two: tuple[str, str]) -> None:
    first, second = two
    app = open_page("health", {"data_health_path": first})
    for page in FIELDS:
        assert shown(go(app, page), page) == first
    go(app, source).selectbox(key=FIELDS[source]).set_value(second).run()
    for page in FIELDS:
        assert shown(go(app, page), page) == second
        assert app.query_params["dataset"] in (second, [second])
    go(app, source).selectbox(key=FIELDS[source]).set_value(None).run()
    for page in FIELDS:
        assert app.selectbox(key=FIELDS[page]).value is None if go(app, page) else None


@pytest.mark.parametrize("page", list(FIELDS))
def test_a_link_with_a_dataset_chooses_it_for_all_pages(page: str, two: tuple[str, str]) -> None:
    first, second = two
    app = open_page(page, {FIELDS[page]: first})
    app.query_params["dataset"] = second
    app.run()
    for other in FIELDS:
        assert shown(go(app, other), other) == second


def test_the_launch_form_plans_what_was_chosen_on_health_and_not_what_it_had_before(
    two: tuple[str, str], checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two
    trained: list[str] = []
    monkeypatch.setattr(actions, "launch", lambda path, *_: trained.append(path))
    make_study(checkpoints, "old", dataset=first)
    app = open_page("launch", {FIELDS["launch"]: first})
    go(app, "health").selectbox(key=FIELDS["health"]).set_value(second).run()
    go(app, "launch").text_input(key="training_launch_name").set_value("pilot").run()
    app.button(key="training_launch_queue").click().run()
    assert trained == [second]


def test_cloned_settings_bring_their_dataset(two: tuple[str, str], checkpoints: Path) -> None:
    first, second = two
    make_study(checkpoints, "old", dataset=first)
    app = open_page("health", {FIELDS["health"]: second})
    go(app, "studies").selectbox(key="training_studies_choice").set_value("old").run()
    app.button(key="training_studies_clone").click().run()
    assert not app.exception
    assert shown(app, "launch") == first
    assert shown(go(app, "health"), "health") == first
