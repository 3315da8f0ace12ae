"""The page One trial in a real browser: the picker, the headline and the address always name the same trial."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_study import make_study
from playwright.sync_api import Page, expect
from serving import Served, served

from eavdash.results import tables
from eavdash.store import StudyDir

pytestmark = [pytest.mark.browser]
SECOND = 1000  # Playwright counts in milliseconds


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Served]:
    make_study(tmp_path / "checkpoints", trials=20)
    with served(tmp_path, 8760) as made:
        yield made


def settled(page: Page) -> None:
    """Wait until no script of the page is running."""
    page.wait_for_timeout(500)
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    expect(page.get_by_test_id("stException")).to_have_count(0)


def field(page: Page, label: str | re.Pattern[str]) -> str:
    """Return what a selectbox shows."""
    return page.get_by_role("combobox", name=label, exact=isinstance(label, str)).input_value()


def select(page: Page, label: str | re.Pattern[str], option: str) -> None:
    page.get_by_role("combobox", name=label, exact=isinstance(label, str)).click()
    page.get_by_role("option", name=option, exact=True).click()
    settled(page)


def headline(page: Page) -> tuple[str, str]:
    """Return the trial and its label, as the headline names them."""
    found = re.search(
        r"trial (\S+), label (\w+)", page.get_by_role("heading", name=re.compile("^Subject")).inner_text()
    )
    assert found
    return found[1], found[2]


def in_address(page: Page, name: str) -> str:
    found = re.search(rf"[?&]{name}=([^&]*)", page.url)
    return found[1] if found else ""


def test_filters_a_reload_and_back_keep_the_picker_the_headline_and_the_address_at_one_trial(
    app: Served, page: Page, tmp_path: Path
) -> None:
    rows = tables.trials(StudyDir(tmp_path / "checkpoints" / "demo"), ["fusion"]).query("subject == '1'")
    page.goto(app.link("explain?study=demo&subject=1&trial=2"))
    settled(page)
    picker, seen = re.compile(r"^Trial \("), set()
    for emotion, outcome in itertools.product(("Anger", "Neutral"), ("wrong", "right")):
        select(page, "Emotion", emotion)
        select(page, "Decision", outcome)
        matching = rows[(rows["label"] == emotion) & (rows["correct"] == (outcome == "right"))]
        if matching.empty:
            expect(page.get_by_text("No trial matches")).to_be_visible()
            continue
        trial, label = headline(page)
        assert trial in set(matching["trial"])
        assert field(page, picker) == f"{trial} ({label})", "the picker shows what is explained"
        assert in_address(page, "trial") == trial
        seen.add(trial)
    assert len(seen) > 1, "the filters have excluded a chosen trial"
    before = headline(page)
    page.reload()
    settled(page)
    assert headline(page) == before
    assert field(page, "Emotion") == "Neutral"
    select(page, "Subject", "2")
    assert "Subject 2" in page.get_by_role("heading", name=re.compile("^Subject")).inner_text()
    page.go_back()
    settled(page)
    assert headline(page) == before
    assert field(page, "Subject") == "1"
