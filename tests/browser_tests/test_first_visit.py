"""The first visit in a real browser: an empty folder, the demo from its button; and addresses over the pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_study import make_study
from playwright.sync_api import Page, expect
from serving import served
from short_sounds import table

from eavdash.store.task import tasks

pytestmark = [pytest.mark.browser]
SECOND = 1000  # Playwright counts in milliseconds


def settled(page: Page) -> None:
    """Wait until no script of the page is running."""
    page.wait_for_timeout(500)
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    expect(page.get_by_test_id("stException")).to_have_count(0)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_demo_starts_from_the_home_page_and_shows_its_progress(page: Page, tmp_path: Path) -> None:
    with served(tmp_path, 8960, EAVDASH_IDLE="5") as app:
        page.goto(app.link())
        expect(page.get_by_role("heading", name="Add your recordings")).to_be_visible()
        page.get_by_role("button", name="Make and train the demo").click()
        # First the recordings are made; then there is a study, whose runs show their progress.
        expect(page.get_by_text(re.compile("Demo: (demo recordings|checking|training)")).first).to_be_visible(
            timeout=120 * SECOND
        )
        expect(page.get_by_text(re.compile(r"12 runs: .*(running|queued)"))).to_be_visible(timeout=200 * SECOND)
        (task,) = tasks(tmp_path / "checkpoints")
        page.get_by_role("button", name="Cancel").first.click()
        page.reload()
        settled(page)
        assert task.status().cancel or task.status().ended


def test_reload_back_and_forward_keep_the_choices_of_each_page(page: Page, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    data = str(table(tmp_path / "data"))
    make_study(tmp_path / "checkpoints", dataset=data)
    with served(tmp_path, 8970, EAVDASH_IDLE="5") as app:
        page.goto(app.link())
        expect(page.get_by_role("heading", name="Latest results")).to_be_visible()
        page.get_by_role("link", name="Statistics").first.click()
        page.get_by_role("radio", name="Macro-F1").click()
        expect(page).to_have_url(re.compile("metric=macro_f1"))
        settled(page)
        page.reload()
        expect(page.get_by_role("radio", name="Macro-F1")).to_be_checked()
        page.get_by_role("link", name="Trials", exact=True).click()
        page.get_by_role("button", name="Next", exact=True).click()
        expect(page).to_have_url(re.compile("trial="))
        settled(page)
        second = page.url
        page.get_by_role("button", name="Next", exact=True).click()
        expect(page).not_to_have_url(second)
        settled(page)
        third = page.url
        page.go_back()
        expect(page).to_have_url(second)
        settled(page)
        page.go_forward()
        expect(page).to_have_url(third)
        settled(page)
        page.reload()
        expect(page).to_have_url(third)
        page.goto(f"{app.url}/statistics?study=demo&metric=macro_f1")
        expect(page.get_by_role("radio", name="Macro-F1")).to_be_checked()
