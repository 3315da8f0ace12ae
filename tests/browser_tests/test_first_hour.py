"""A newcomer's first hour in a real Chromium, from the empty home page to the report of a study.

Training the demo takes too long here: it is started and cancelled, and a small trained study stands in for it. In the
middle of each page the tab is reloaded and comes back from another page: it must show the same choices. Pictures of
all steps are in ``$EAVDASH_SHOTS``, or in pytest's temporary folder.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from recordings import make_recordings
from serving import Served, served
from tabs import Tab, choices, settled, tab_to
from trained import train

from eavdash.store import StudyDir
from eavdash.store.task import tasks

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1500)]
SECOND = 1000  # Playwright counts in milliseconds
PAGES = (
    *("", "docs", "subjects", "statistics", "compare", "explain", "attention", "maps", "representations"),
    *("launch", "monitor", "studies", "add", "health", "trials"),
)


@dataclass(frozen=True)
class Hour:
    """The app in front of a checkpoints folder, the recordings of two people, and a trained study of them elsewhere."""

    app: Served
    folder: Path
    data: Path
    made: StudyDir

    @property
    def study(self) -> StudyDir:
        """The study, where the app finds it."""
        here = self.folder / "checkpoints" / self.made.name
        if not here.exists():
            shutil.copytree(self.made.path, here)
        return StudyDir(here)


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hour]:
    folder = tmp_path_factory.mktemp("hour")
    data = make_recordings(folder / "data", subjects=2)
    made = train(data, "pilot", folder / "trained")
    with served(folder, 8980, EAVDASH_IDLE="5") as app:
        yield Hour(app, folder, data, made)
        assert "Traceback" not in app.log.read_text()


def fill(page: Page, label: str, text: str) -> None:
    box = page.get_by_label(label, exact=True).first
    box.fill(text)
    box.press("Enter")
    settled(page)


def select(page: Page, label: str | re.Pattern[str], option: str | re.Pattern[str]) -> None:
    box = page.get_by_role("combobox", name=label, exact=isinstance(label, str))
    wanted = page.get_by_role("option", name=option, exact=isinstance(option, str)).first
    box.click()
    page.wait_for_timeout(SECOND)
    if not wanted.is_visible():  # the page was drawn again meanwhile, which closes the list
        box.click()
    wanted.click()
    settled(page)


def link(page: Page, name: str) -> None:
    """Open a page from the navigation."""
    item = page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True)
    path = urlsplit(item.get_attribute("href") or "").path
    item.click()
    page.wait_for_url(lambda url: urlsplit(url).path.rstrip("/") == path.rstrip("/"))
    settled(page)


def cancel_all(page: Page) -> None:
    """Cancel all runs of the study on the page Monitor."""
    select(page, "Cancel or retry", "All runs of the study")
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_text(re.compile(r"runs: .*cancelled")).first).to_be_visible(timeout=120 * SECOND)


def playing(player: Locator) -> float:
    """Play for a moment; return the time at which the player then stands."""
    expect(player).to_have_attribute("data-canplay", re.compile(r"\d+"))
    ruler = player.locator(".ruler")
    ruler.press("Home")
    player.locator(".play").click()
    expect(ruler).not_to_have_attribute("aria-valuenow", re.compile(r"^0(\.0+)?$"))
    return float(ruler.get_attribute("aria-valuenow") or 0)


def home(hour: Hour, tab: Tab) -> None:
    """Three doors; the demo starts from its button, shows its progress, and a reload finds it again."""
    page = tab.page
    page.goto(hour.app.link())
    expect(page.get_by_role("heading", name="Add your recordings")).to_be_visible()
    tab.step("home")
    page.get_by_role("button", name="Make and train the demo").click()
    told = page.get_by_text(re.compile("Demo: (demo recordings|checking|training)")).first
    expect(told).to_be_visible(timeout=120 * SECOND)
    page.reload()
    expect(told).to_be_visible()
    link(page, "Documentation")
    page.go_back()
    expect(told).to_be_visible()
    tab.step("demo")
    (task,) = tasks(hour.folder / "checkpoints")
    page.get_by_role("button", name="Cancel").first.click()
    expect(page.get_by_text(re.compile("Demo: cancelled")).first).to_be_visible(timeout=120 * SECOND)
    assert task.status().state == "cancelled"


def add_data(hour: Hour, tab: Tab) -> None:
    """What is typed is checked, the first trial is shown, and all pages have the dataset then."""
    page = tab.page
    link(page, "Add data")
    fill(page, "Name", "Two people")
    fill(page, "Folder or trial table", str(hour.data))
    tab.keeps()
    page.get_by_role("button", name="Check it").click()
    expect(page.get_by_text("this dataset can be added")).to_be_visible()
    tab.step("checked")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("heading", name="Two people is in the list")).to_be_visible()
    tab.step("added")
    page.get_by_role("button", name="See its health").click()


def health(tab: Tab) -> None:
    """The check ends by itself; severities, and faces on request."""
    page = tab.page
    expect(page.get_by_role("heading", name="Findings")).to_be_visible(timeout=200 * SECOND)
    settled(page)
    page.get_by_test_id("stButtonGroup").get_by_text(re.compile("note")).first.click()
    settled(page)
    page.get_by_role("button", name="Show the faces").click()
    expect(page.get_by_text("One crop per trial")).to_be_visible(timeout=120 * SECOND)
    tab.step("health", whole=True)
    tab.keeps()


def player(tab: Tab) -> None:
    """Another trial, by the filters and by the buttons; it plays."""
    page = tab.page
    link(page, "Trials")
    select(page, "Subject", "2")
    select(page, "Label", "glad")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Next", exact=True).click()
    settled(page)
    assert playing(page.locator(".player").first) > 0
    tab.step("player")
    tab.keeps()
    assert "glad" in " ".join(choices(page))


def launch(tab: Tab) -> None:
    """A study of all folds, with few epochs, goes from the form into the queue; the monitor opens."""
    page = tab.page
    link(page, "Launch")
    fill(page, "Study name", "first")
    fill(page, "Epochs", "2")
    expect(page.get_by_text(re.compile(r"32 runs")).first).to_be_visible()
    tab.step("launch", whole=True)
    tab.keeps()
    page.get_by_role("button", name="Queue this study").click()
    expect(page).to_have_url(re.compile("/monitor"))
    settled(page)


def monitor(hour: Hour, tab: Tab, second: Page) -> None:
    """A run is chosen; what one browser cancels, the other sees without a reload."""
    page = tab.page
    second.goto(hour.app.link("monitor?study=first"))
    for each in (page, second):
        expect(each.get_by_text(re.compile(r"32 runs: .*(running|queued)")).first).to_be_visible(timeout=120 * SECOND)
    cell = page.get_by_role("button", name=re.compile("^1.*, Audio,")).first
    cell.click()
    expect(page).to_have_url(re.compile("chosen=s01-audio"))
    tab.step("monitor")
    tab.keeps()
    expect(cell).to_have_attribute("aria-pressed", "true")
    cancel_all(page)
    expect(second.get_by_text(re.compile(r"32 runs: .*cancelled")).first).to_be_visible(timeout=120 * SECOND)


def subjects(hour: Hour, tab: Tab) -> None:
    """Bars by window, and the trials of one subject."""
    page = tab.page
    page.goto(f"{hour.app.url}/subjects?study=pilot")
    settled(page)
    page.get_by_role("button", name="Scores and references").click()
    page.get_by_role("radio", name="Window").click()
    expect(page).to_have_url(re.compile("level=window"))
    settled(page)
    page.keyboard.press("Escape")
    select(page, re.compile("^Subject"), "2")
    tab.step("subjects", whole=True)
    tab.keeps()


def statistics(tab: Tab) -> None:
    """Another metric and another view."""
    page = tab.page
    link(page, "Statistics")
    page.get_by_role("radio", name="Balanced accuracy").click()
    settled(page)
    page.get_by_role("radio", name="Modalities together").click()
    expect(page).to_have_url(re.compile("view=together"))
    tab.step("statistics", whole=True)
    tab.keeps()


def trial(tab: Tab) -> None:
    """One trial, and what if it had no sound."""
    page = tab.page
    link(page, "One trial")
    select(page, "Subject", "2")
    tab.step("trial", whole=True)
    headline = page.get_by_role("heading", name=re.compile("^Subject 2, trial"))
    before = headline.inner_text()
    select(page, "Audio", "Drop it")
    answer = page.get_by_text(re.compile("Bars: changes of the Shapley values"))
    expect(answer).to_be_visible(timeout=200 * SECOND)
    tab.step("what if", whole=True)
    tab.keeps()
    assert headline.inner_text() == before
    expect(answer).to_be_visible(timeout=200 * SECOND)


def report(hour: Hour, tab: Tab) -> None:
    """The report is made by a task and downloaded."""
    page = tab.page
    link(page, "Subjects")
    page.get_by_role("button", name="Make the report").click()
    button = page.get_by_role("button", name="Download the newest report")
    expect(button).to_be_visible(timeout=200 * SECOND)
    tab.step("report", whole=True)
    with page.expect_download() as waiting:
        button.click()
    saved = hour.folder / waiting.value.suggested_filename
    waiting.value.save_as(saved)
    assert "<title>Report of pilot" in saved.read_text(encoding="utf-8")


def test_from_the_empty_home_page_to_the_report(hour: Hour, browser: Browser, page: Page) -> None:
    tab = Tab(page, hour.folder / "shots", "hour")
    home(hour, tab)
    hour.study.study_file.touch()  # the trained study that stands in for the demo's
    add_data(hour, tab)
    health(tab)
    player(tab)
    launch(tab)
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    second = Tab(context.new_page(), hour.folder / "shots", "second")
    monitor(hour, tab, second.page)
    second.page.goto(hour.app.link("statistics?study=pilot"))
    second.page.get_by_role("radio", name="Macro-F1").click()
    second.step("statistics")
    expect(page).to_have_url(re.compile("study=first"))
    subjects(hour, tab)
    statistics(tab)
    expect(second.page.get_by_role("radio", name="Macro-F1")).to_be_checked()
    trial(tab)
    report(hour, tab)
    tab.step("end")
    second.step("end")
    context.close()


def test_by_the_keyboard_alone_a_trial_is_played_and_a_study_is_queued(hour: Hour, page: Page) -> None:
    tab = Tab(page, hour.folder / "shots", "keyboard")
    assert hour.study.exists
    page.goto(hour.app.link(f"trials?dataset={hour.data}"))
    settled(page)
    box = page.get_by_role("combobox", name="Trial", exact=True)
    before = box.input_value()
    tab_to(page, box)
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
        page.wait_for_timeout(300)
    settled(page)
    assert box.input_value() != before
    player = page.locator(".player").first
    expect(player).to_have_attribute("data-canplay", re.compile(r"\d+"))
    tab_to(page, player.locator(".play"))
    page.keyboard.press("Enter")
    expect(player.locator(".ruler")).not_to_have_attribute("aria-valuenow", re.compile(r"^0(\.0+)?$"))
    tab.step("played")

    launch = page.get_by_test_id("stSidebarNav").get_by_role("link", name="Launch", exact=True)
    page.keyboard.press("Control+Home")
    tab_to(page, launch)
    page.keyboard.press("Enter")
    name = page.get_by_label("Study name", exact=True)
    expect(name).to_be_visible()
    settled(page)
    tab_to(page, name)
    page.keyboard.type("typed")
    page.keyboard.press("Enter")
    queue = page.get_by_role("button", name="Queue this study")
    expect(queue).to_be_enabled()
    settled(page)
    tab_to(page, queue)
    tab.step("before queueing")
    page.keyboard.press("Enter")
    typed = StudyDir(hour.folder / "checkpoints" / "typed")
    expect(page).to_have_url(re.compile("/monitor"))
    assert len(list(typed.runs())) > 0
    tab.step("queued")
    cancel_all(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_fits_a_phone_in_both_themes(hour: Hour, browser: Browser, theme: str) -> None:
    trial = pd.read_parquet(hour.study.run("s01-fusion").predictions_file).query("split == 'test'")["trial"].iloc[0]
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=theme, has_touch=True)
    tab = Tab(context.new_page(), hour.folder / "shots", f"phone-{theme}")
    tab.page.set_default_timeout(60 * SECOND)
    tab.page.goto(hour.app.link())
    for name in PAGES:
        tab.page.goto(f"{hour.app.url}/{name}?study=pilot&dataset={hour.data}&subject=1&trial={trial}")
        expect(tab.page.get_by_test_id("stMain").get_by_role("heading").first).to_be_visible()
        tab.step(name or "home", whole=True)
        width = tab.page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, f"{name} is wider than the screen"
    context.close()
