"""A reload of the tab in a real browser: the launch form, below a base path too."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import ARGUMENTS, chromium
from playwright.sync_api import expect, sync_playwright
from serving import served
from short_sounds import table

pytestmark = [pytest.mark.browser]
SECOND = 1000  # Playwright counts in milliseconds


@pytest.mark.parametrize("base", ["", "lab"])
def test_a_reload_keeps_what_was_typed_into_the_launch_form(tmp_path: Path, base: str) -> None:
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium was found: install one to run the browser tests")
    (tmp_path / "data").mkdir()
    root = table(tmp_path / "data")
    with served(tmp_path, 8950, STREAMLIT_SERVER_BASE_URL_PATH=base) as app, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        expect.set_options(timeout=60 * SECOND)  # a busy machine is no failure
        page = browser.new_page()
        answer = page.goto(app.link("launch"))
        assert answer is not None
        assert answer.status == 200
        page.get_by_label("Dataset", exact=True).fill(str(root))
        page.get_by_label("Dataset", exact=True).press("Enter")
        for label, text in (("Study name", "voices"), ("Seeds", "3,4")):
            page.get_by_label(label, exact=True).fill(text)
            page.get_by_label(label, exact=True).press("Enter")
        expect(page.get_by_text("30 runs")).to_be_visible()  # three subjects, five folds, two seeds
        page.reload()
        expect(page.get_by_label("Study name", exact=True)).to_have_value("voices")
        expect(page.get_by_label("Seeds", exact=True)).to_have_value("3,4")
        expect(page.get_by_text("30 runs")).to_be_visible()
        browser.close()
