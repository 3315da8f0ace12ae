"""The server's one difference from ``streamlit run``: a link to a page works as the first request."""

from __future__ import annotations

import pytest

from eavdash.ui import server


def test_app_py_does_the_routing_from_the_first_request_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from streamlit.runtime.pages_manager import PagesManager
    from streamlit.web import cli

    asked = []
    monkeypatch.setattr(PagesManager, "uses_pages_directory", None)
    monkeypatch.setattr(cli, "main", lambda arguments, prog_name: asked.append((arguments, prog_name)))
    server.main(["run", "app.py"])
    assert PagesManager.uses_pages_directory is False
    assert asked == [(["run", "app.py"], "streamlit")]
