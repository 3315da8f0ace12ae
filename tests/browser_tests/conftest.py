"""The browser that a module of these tests starts, and a fresh page of it for a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser import ARGUMENTS, chromium
from playwright.sync_api import Browser, Page, expect, sync_playwright

SECOND = 1000  # Playwright counts in milliseconds


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium was found: install one to run the browser tests")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield made
        made.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page with cookies and storage of its own."""
    made = browser.new_page(viewport={"width": 1440, "height": 900})
    made.set_default_timeout(60 * SECOND)
    expect.set_options(timeout=60 * SECOND)  # a busy machine is no failure
    yield made
    made.close()
