"""The pages under axe-core: no serious violation of ours in either theme, and nothing sticks out on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

import pytest
from browser import settle
from fake_study import make_explanation, make_study
from playwright.sync_api import Browser, Page, expect
from recordings import make_recordings
from serving import Served, served
from shots import PAGES, problems

from eavdash.explain.explanation import save_explanation

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
#: What is Streamlit's own: rule and selector of each. Everything else that axe-core calls serious is ours.
STREAMLITS = {
    "list": '[data-testid="stSidebarNavItems"]',  # sections are div elements in the list of pages
    "listitem": '[data-testid="stSidebarNavItems"] li',
    "scrollable-region-focusable": '[data-testid="stMarkdownPre"] pre',  # long lines of code in a document
}
SERIOUS = """
async (known) => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  const own = (rule, node) => known[rule] && document.querySelector(node.target.at(-1))?.matches(known[rule]);
  const ours = (rule, nodes) => nodes.filter((node) => !own(rule, node)).map((node) => [rule, node.html.slice(0, 200)]);
  const serious = found.violations.filter((each) => ["serious", "critical"].includes(each.impact));
  return serious.flatMap((each) => ours(each.id, each.nodes));
}
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An app with a study of recordings that are there, one of whose trials is explained."""
    folder = tmp_path_factory.mktemp("access")
    study = make_study(folder / "checkpoints", dataset=make_recordings(folder / "recordings"), subjects=("1", "2"))
    save_explanation(study.run("s01-fusion"), make_explanation(study, "s01-fusion", "1", "2"))
    with served(folder, 8940) as made:
        yield made


def serious(page: Page) -> list[list[str]]:
    """Return the serious and critical violations of ours: rule and element."""
    page.evaluate(AXE)
    found: list[list[str]] = page.evaluate(SERIOUS, STREAMLITS)
    return found


def in_both_themes(page: Page) -> dict[str, list[list[str]]]:
    found = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        expect(page.locator(".stApp")).to_have_css("color-scheme", scheme)
        page.wait_for_timeout(300)  # colours fade
        if violations := serious(page):
            found[scheme] = violations
    return found


def test_the_main_page_passes_and_a_defect_is_found(app: Served, page: Page) -> None:
    page.goto(app.link("subjects"))
    settle(page)
    assert not in_both_themes(page)
    page.evaluate("document.querySelector('h1').insertAdjacentHTML('afterend', '<img src=data:,>')")
    page.evaluate("document.querySelector('h1').style.color = '#999'")
    page.emulate_media(color_scheme="light")
    assert {rule for rule, _ in serious(page)} == {"image-alt", "color-contrast"}


def test_a_charts_numbers_are_reached_by_the_keyboard(app: Served, page: Page) -> None:
    page.goto(app.link("subjects"))
    settle(page)
    page.locator(".st-key-results_subjects_chart_figure_menu button").first.focus()
    page.keyboard.press("Enter")
    table = page.get_by_role("dialog").get_by_role("table")
    expect(table).to_contain_text("Accuracy, %")
    expect(table).to_contain_text("Vision")
    assert not serious(page)


@pytest.mark.slow
def test_no_page_has_a_serious_violation_in_either_theme(app: Served, page: Page) -> None:
    page.goto(app.link())
    settle(page)
    found = {}
    for state in PAGES:
        page.goto(f"{app.url}/{state.path}")
        settle(page)
        assert problems(page) == [], state.name
        if violations := in_both_themes(page):
            found[state.name] = violations
    assert not found


@pytest.mark.slow
def test_nothing_sticks_out_on_a_phone(app: Served, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(app.link())
    for state in PAGES:
        page.goto(f"{app.url}/{state.path}")
        settle(page)
        assert problems(page) == [], state.name
    page.close()
