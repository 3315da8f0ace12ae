"""Every page's choices are in its address, and a link with them opens the same; wrong values do no harm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_study import make_study
from short_sounds import table
from streamlit.testing.v1 import AppTest
from test_pages import PAGES, ROOT, checkpoints

from eavdash.store import StudyDir

__all__ = ["checkpoints"]
CHOICES: dict[str, dict[str, str]] = {
    "statistics": {"metric": "macro_f1", "stage": "audio", "subject": "2"},
    "attention": {"by": "outcome", "subject": "2"},
    "monitor": {"subjects": "2-3", "states": "done,failed", "page": "1", "chosen": "s01-eeg,s01-audio"},
    "studies": {"choice": "demo"},
    "trials": {"subject": "2", "label": "tense", "trial": "3-tense"},
    "subjects": {"metric": "macro_f1", "view": "tiles"},
    "docs": {"document": "data"},
}


@pytest.fixture
def study(checkpoints: Path, tmp_path: Path) -> StudyDir:
    (tmp_path / "data").mkdir()
    return make_study(checkpoints, dataset=table(tmp_path / "data"))


def linked(page: str, /, **choices: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).run()
    app.switch_page(PAGES[page])
    for name, value in choices.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception, app.exception[0].stack_trace
    return app


def address(app: AppTest) -> dict[str, str]:
    return {name: value if isinstance(value, str) else value[0] for name, value in app.query_params.items()}


@pytest.mark.parametrize("page", list(CHOICES))
def test_a_link_opens_its_choices_and_the_page_writes_the_same(page: str, study: StudyDir) -> None:
    first = linked(page)
    before = address(first)
    app = linked(page, **CHOICES[page])
    found = address(app)
    assert {name: found[name] for name in CHOICES[page]} == CHOICES[page]
    assert any(before.get(name) != value for name, value in CHOICES[page].items())


@pytest.mark.parametrize("page", list(CHOICES))
def test_wrong_values_in_an_address_are_replaced_by_values_that_exist(page: str, study: StudyDir) -> None:
    app = linked(page, **dict.fromkeys(CHOICES[page], '<b>../x,"\n,9'))
    for name in set(CHOICES[page]) - {"subjects"}:  # a filter of names may be any text
        assert "../x" not in address(app)[name] or name == "chosen", name


CHANGES: dict[str, Callable[[AppTest], Any]] = {
    "states": lambda app: app.multiselect(key="training_monitor_states").set_value(["done", "failed"]),
    "subjects": lambda app: app.text_input(key="training_monitor_subjects").set_value("2"),
}


def test_a_choice_on_the_page_is_written_and_kept_when_the_page_is_opened_again(study: StudyDir) -> None:
    app = linked("monitor")
    for change in CHANGES.values():
        change(app)
    app.run()
    said = address(app)
    assert (said["states"], said["subjects"]) == ("done,failed", "2")
    app.switch_page(PAGES["home"]).run()
    app.switch_page(PAGES["monitor"])
    app.query_params["states"], app.query_params["subjects"] = said["states"], said["subjects"]  # as Back opens it
    app.run()
    assert app.multiselect(key="training_monitor_states").value == ["done", "failed"]
    assert app.text_input(key="training_monitor_subjects").value == "2"


def test_names_with_commas_survive_the_address(checkpoints: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    path = table(folder)
    text = Path(path).read_text()
    make_study(checkpoints, dataset=path)
    label = text.splitlines()[1].split(",")[2]
    Path(path).write_text(text.replace(f",{label},", ',"x, y",'))
    app = linked("trials")
    app.multiselect(key="data_trials_label").set_value(["x, y"]).run()
    said = address(app)["label"]
    again = linked("trials", label=said)
    assert again.multiselect(key="data_trials_label").value == ["x, y"]
