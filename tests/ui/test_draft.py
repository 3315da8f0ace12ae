"""What was typed into the forms of a study and of new data is still there after a reload of the browser tab."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from test_pages import PAGES, ROOT, checkpoints, open_page
from test_pages_data import fill_in, sounds

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


def test_a_reload_keeps_the_form_by_its_address_which_has_only_what_differs(sounds: Path, checkpoints: Path) -> None:
    app = open_page("launch", {"training_launch_dataset": str(sounds)})
    assert set(app.query_params) == {"dataset", "preset"}
    app = fill_in(app, "voices")
    app.text_input(key="training_launch_seeds").set_value("3,4")
    app.number_input(key="training_launch_threads").set_value(2)
    app.checkbox(key="training_launch_strict").check()
    app.multiselect(key="training_launch_keep").set_value(["unreadable"])
    app.session_state["training_launch_tab"] = "Audio"
    app.run()
    app.text_input(key="training_launch_audio.weights").set_value("/no/such").run()  # refused, and still typed
    said = dict(app.query_params)
    assert said["set"] == "audio.weights=/no/such"
    assert set(said) == {
        *("dataset", "preset", "name", "subjects", "seeds", "set", "tab", "threads", "strict", "keep"),
    }
    again = reloaded(said)
    assert again.text_input(key="training_launch_name").value == "voices"
    assert again.multiselect(key="training_launch_subjects").value == ["anna"]
    assert again.text_input(key="training_launch_seeds").value == "3,4"
    assert again.text_input(key="training_launch_audio.weights").value == "/no/such"
    assert again.number_input(key="training_launch_threads").value == 2
    assert again.checkbox(key="training_launch_strict").value is True
    assert again.multiselect(key="training_launch_keep").value == ["unreadable"]
    assert dict(again.query_params) == said
    # Back, to an address without these settings.
    for name in set(said) - {"dataset", "preset", "name"}:
        del again.query_params[name]
    again.run()
    assert again.text_input(key="training_launch_seeds").value == "0"
    assert again.text_input(key="training_launch_name").value == "voices"
    assert again.checkbox(key="training_launch_strict").value is False
    assert "set" not in again.query_params


@pytest.mark.parametrize(
    "address",
    [
        {},
        {"preset": ["huge"], "set": ["eeg.chain=odd", "stages=smell", "x=1", "audio.from_video=maybe"]},
        {"preset": ["study:gone"], "executor": ["moon"], "device": ["tpu"], "shares": ["5"], "threads": ["-4"]},
        {"sweep": ["nothing=1,2", "eeg.low"], "ram": ["nan"], "priority": ["x"], "keep": ["odd"], "tab": ["<b>"]},
        {"subjects": ['"nobody,'], "folds": ["\0"], "seeds": ["9" * 400], "leave_out": [",,"], "name": ["<b>"]},
    ],
)
def test_an_address_may_say_anything(sounds: Path, checkpoints: Path, address: dict[str, list[str]]) -> None:
    app = reloaded({**address, "dataset": [str(sounds)]})
    assert app.selectbox(key="training_launch_preset").value == "quick"
    assert app.selectbox(key="training_launch_executor").value == "local"
    assert app.multiselect(key="training_launch_stages").value == ["audio"]
    assert app.multiselect(key="training_launch_subjects").value == []
    assert not app.exception


def test_a_reload_keeps_what_was_typed_about_new_data(checkpoints: Path) -> None:
    app = open_page("add")
    app.text_input(key="data_add_name").set_value("Pilot")
    app.text_input(key="data_add_path").set_value("/data/pilot").run()
    again = reloaded(dict(app.query_params), "add")
    assert [again.text_input(key=f"data_add_{name}").value for name in ("name", "path")] == ["Pilot", "/data/pilot"]
    again.switch_page(PAGES["home"]).run()
    again.switch_page(PAGES["add"]).run()
    assert again.text_input(key="data_add_name").value == "Pilot"
