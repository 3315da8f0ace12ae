"""Addresses over the pages in a real browser: a reload, a link, Back and Forward."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_study import make_study
from playwright.sync_api import Page, expect
from serving import served
from short_sounds import table
from tabs import settled

pytestmark = [pytest.mark.browser]


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
        # Each page is one step, and what a page writes when it is opened none of its own.
        page.get_by_role("link", name="Documentation", exact=True).click()
        expect(page).to_have_url(re.compile("document=guide"))
        settled(page)
        page.get_by_role("link", name="Monitor", exact=True).click()
        expect(page).to_have_url(re.compile("/monitor.*chosen="))
        settled(page)
        page.go_back()
        expect(page).to_have_url(re.compile(r"/docs\?document=guide"))
        settled(page)
        page.go_back()
        expect(page).to_have_url(third)
        settled(page)
        page.get_by_role("link", name="Monitor", exact=True).click()
        expect(page).to_have_url(re.compile("/monitor.*chosen="))
        settled(page)
        page.get_by_role("link", name="Trials", exact=True).click()  # its choices, although the address has none
        expect(page).to_have_url(re.compile(r"trial=" + third.split("trial=")[1]))
        page.goto(f"{app.url}/statistics?study=demo&metric=macro_f1")
        expect(page.get_by_role("radio", name="Macro-F1")).to_be_checked()
