"""What was typed into the forms of a study and of new data is still there after a reload of the browser tab."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from test_pages import PAGES, ROOT, checkpoints, open_page
from test_pages_data import fill_in, sounds

from eavdash.ui import draft

__all__ = ["checkpoints", "sounds"]


def reloaded(address: dict[str, list[str]], page: str = "launch") -> AppTest:
    """Open a page in a new session, as a reload does, with the parameters of an address."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.run()
    for name, value in address.items():
        app.query_params[name] = value
    app.switch_page(PAGES[page]).run()
    assert not app.exception
    return app


def typed(app: AppTest) -> dict[str, object]:
    names = ("name", "dataset", "preset", "stages", "subjects", "seeds", "executor", "low", "audio_weights")
    state = app.session_state
    return {name: state[key] for name in names if (key := f"training_launch_{name}") in state}


def test_a_reload_keeps_the_form(sounds: Path, checkpoints: Path) -> None:
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    app.text_input(key="training_launch_seeds").set_value("3,4").run()
    app.text_input(key="training_launch_audio_weights").set_value("/no/such").run()  # refused, and still typed
    again = reloaded(dict(app.query_params))
    assert again.text_input(key="training_launch_name").value == "voices"
    assert again.multiselect(key="training_launch_subjects").value == ["anna"]
    assert typed(again) == typed(app)
    assert typed(app)["audio_weights"] == "/no/such"
    # The new session goes on with the same draft.
    again.text_input(key="training_launch_seeds").set_value("5").run()
    assert reloaded(dict(again.query_params)).text_input(key="training_launch_seeds").value == "5"


@pytest.mark.parametrize("address", [{}, {"draft": ["unknown"]}])
def test_another_tab_has_an_empty_form(sounds: Path, checkpoints: Path, address: dict[str, list[str]]) -> None:
    fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    assert reloaded(address).text_input(key="training_launch_name").value == ""


def test_old_drafts_are_dropped(sounds: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "DRAFTS", 1)
    first = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    open_page("launch")
    assert reloaded(dict(first.query_params)).text_input(key="training_launch_name").value == ""


def test_a_reload_keeps_what_was_typed_about_new_data(checkpoints: Path) -> None:
    app = open_page("add")
    app.text_input(key="data_add_name").set_value("Pilot")
    app.text_input(key="data_add_path").set_value("/data/pilot").run()
    again = reloaded(dict(app.query_params), "add")
    assert [again.text_input(key=f"data_add_{name}").value for name in ("name", "path")] == ["Pilot", "/data/pilot"]
    again.switch_page(PAGES["home"]).run()
    again.switch_page(PAGES["add"]).run()
    assert again.text_input(key="data_add_name").value == "Pilot"
