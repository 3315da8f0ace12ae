"""The main workflow in a real browser: launch, watch, open the bars, click one, explain a trial."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from recordings import LABELS, make_recordings
from serving import Served, served

from eavdash.store import StudyDir

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
SECOND = 1000  # Playwright counts in milliseconds


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Served]:
    """The app, served for an empty checkpoints folder."""
    with served(tmp_path, 8710, EAVDASH_IDLE="5") as made:
        yield made


def fill(page: Page, label: str, text: str) -> None:
    box = page.get_by_label(label, exact=True)
    box.fill(text)
    box.press("Enter")


def settled(page: Page) -> None:
    """Wait until no script of the page is running."""
    page.wait_for_timeout(500)
    state = "data-test-script-state"
    expect(page.get_by_test_id("stApp")).to_have_attribute(state, "notRunning", timeout=120 * SECOND)


def no_exception(page: Page) -> None:
    expect(page.get_by_test_id("stException")).to_have_count(0)


def click_first_bar(page: Page) -> None:
    """Plotly listens to the mouse itself: move onto the bar, then press and release."""
    bar = page.locator(".js-plotly-plot .barlayer .point path").first
    bar.wait_for(state="attached", timeout=60 * SECOND)
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 4, box["y"] + max(1.0, box["height"] / 2)
    page.mouse.move(x - 3, y)
    page.wait_for_timeout(150)
    page.mouse.move(x, y)
    page.wait_for_timeout(150)
    page.mouse.down()
    page.mouse.up()


def test_from_the_launch_form_to_three_attribution_maps(app: Served, page: Page, tmp_path: Path) -> None:
    data = make_recordings(tmp_path / "data", subjects=2)
    study = StudyDir(tmp_path / "checkpoints" / "pilot")

    # Fill in the form and queue; a double click launches nothing twice.
    page.goto(app.link("launch"))
    fill(page, "Dataset", str(data))
    fill(page, "Study name", "pilot")
    fill(page, "Epochs", "6")
    fill(page, "Folds to run", "0")
    expect(page.get_by_text(re.compile(r"8 runs"))).to_be_visible(timeout=60 * SECOND)
    settled(page)
    page.get_by_role("button", name="Queue this study").dblclick()

    # The page of the runs opens by itself; its grid updates without a reload.
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    expect(page.get_by_text(re.compile(r"8 runs: 8 done"))).to_be_visible(timeout=400 * SECOND)
    assert {r.name: r.status().attempt for r in study.runs()} == {r.name: 1 for r in study.runs()}

    # Bars, with the number of trials; a click shows that subject's trials.
    page.goto(app.link("subjects?study=pilot"))
    expect(page.get_by_text(re.compile("too few", re.IGNORECASE)).first).to_be_visible(timeout=60 * SECOND)
    settled(page)
    expect(page.locator(".js-plotly-plot .barlayer .point path")).not_to_have_count(0)
    click_first_bar(page)
    trials = page.get_by_text(re.compile(r"rows of test trials"))
    expect(trials).to_be_visible()
    expect(page.get_by_text(re.compile(f"^{len(LABELS)} rows"))).to_be_visible()
    settled(page)
    table = page.get_by_test_id("stDataFrame").last
    table.scroll_into_view_if_needed()
    box = table.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 15, box["y"] + 52)  # the selection mark of the first row
    page.get_by_role("link", name=re.compile("Explain trial")).click()

    # One trial: attention shares that add up to 100 %, and a map for each modality with the completeness gap.
    expect(page.get_by_role("heading", name="One trial")).to_be_visible()
    caption = page.get_by_text(re.compile(r"Over the trial:"))
    expect(caption).to_be_visible()
    said = caption.inner_text().split("Attention")[0]
    shares = [float(text) for text in re.findall(r"(\d+(?:\.\d+)?)\s?%", said)][:3]
    assert len(shares) == 3
    assert abs(sum(shares) - 100) <= 2
    expect(page.get_by_text("Log-probability of")).to_be_visible()
    page.get_by_role("button", name="Compute this map").click()
    player = page.get_by_role("group", name=re.compile("^Player: subject 1, trial 1$"))
    for modality in ("Vision", "Audio", "EEG"):
        expect(player.get_by_role("checkbox", name=modality)).to_be_checked(timeout=180 * SECOND)
    for place in ("figure", "heading"):  # over the picture, and over the spectrogram and the traces
        expect(player.get_by_role(place).filter(has_text="logits per area").first).to_be_visible()
    expect(page.get_by_text(re.compile("^Receipts: ")).first).to_be_visible()
    no_exception(page)
    files = list(study.path.glob("*/explain/*.npz"))
    assert len(files) == 1
