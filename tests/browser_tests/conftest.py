"""The browser's page that several of these tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser import ARGUMENTS, chromium
from playwright.sync_api import Page, expect, sync_playwright

SECOND = 1000  # Playwright counts in milliseconds


@pytest.fixture
def page() -> Iterator[Page]:
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium was found: install one to run the browser tests")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        made = browser.new_page(viewport={"width": 1440, "height": 900})
        made.set_default_timeout(60 * SECOND)
        expect.set_options(timeout=60 * SECOND)  # a busy machine is no failure
        yield made
        browser.close()
