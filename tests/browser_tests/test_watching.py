"""The page Runs in a real browser: changes on disk appear, cells are selected, the end triggers a notification."""

from __future__ import annotations

import fcntl
import re
import threading
import time
from pathlib import Path

import pytest
from browser import ARGUMENTS, chromium
from fake_study import make_study
from playwright.sync_api import Page, expect, sync_playwright
from serving import served

from eavdash.store import RunDir
from eavdash.store.status import TRAINING, Phase

pytestmark = [pytest.mark.browser]
SECOND = 1000  # Playwright counts in milliseconds
#: Records notifications instead of showing them.
RECORD = """
window.notified = [];
window.Notification = class {
  static permission = "default";
  static async requestPermission() { return (Notification.permission = "granted"); }
  constructor(title, options) { window.notified.push(`${title}: ${options.body}`); }
};
"""


def cell(page: Page, name: str) -> object:
    return page.get_by_role("button", name=re.compile(f"^{name},"))


def beat(run: RunDir) -> None:
    """Keep the heartbeat of a running run fresh."""
    while run.status().state == "running":
        run.update(heartbeat=time.time())
        time.sleep(1)


def test_the_page_follows_the_files(tmp_path: Path) -> None:
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium was found: install one to run the browser tests")
    states = {"*": "done", "s01-audio": "running", "s02-eeg": "queued"}
    study = make_study(tmp_path / "checkpoints", subjects=("1", "2"), states=states)
    run = study.run("s01-audio")
    run.update(phase=Phase(name=TRAINING, done=7, total=12))
    with (
        run.lock_file.open("ab") as lock,
        served(tmp_path, 8760) as app,
        sync_playwright() as playwright,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        threading.Thread(target=beat, args=(run,), daemon=True).start()
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.add_init_script(RECORD)
        expect.set_options(timeout=60 * SECOND)  # a busy machine is no failure
        page.goto(app.link("monitor?study=demo"))
        expect(cell(page, "1, Audio")).to_contain_text("epoch 8 of 12")
        expect(page).to_have_title("6/8 · eavdash")

        # A change on disk appears without a reload.
        run.update(epoch=8)
        expect(cell(page, "1, Audio")).to_contain_text("epoch 9 of 12", timeout=10 * SECOND)

        # Cells are selected one by one, also in quick succession, and their curves share a chart.
        cell(page, "1, Audio").click()
        for name in ("1, Vision", "2, Audio"):
            cell(page, name).click(modifiers=["Control"])
        expect(page.get_by_text("3 runs", exact=True)).to_be_visible()
        chart = page.locator(".js-plotly-plot").first
        for name in ("1 · Audio", "1 · Vision", "2 · Audio"):
            expect(chart.get_by_text(name, exact=True)).to_be_visible()
        expect(page.locator('.cell[aria-pressed="true"]')).to_have_count(3)
        cell(page, "1, Audio").click()
        expect(page.get_by_text(", epoch 9 of 12, attempt 2")).to_be_visible()
        expect(page.locator('.cell[aria-pressed="true"]')).to_have_count(1)
        page.get_by_role("button", name=re.compile("^EEG:")).click()
        expect(page.locator('.cell[aria-pressed="true"]')).to_have_count(3)

        # The end of the study triggers one notification, if it was enabled.
        page.get_by_role("button", name="Notify me when it ends").click()
        expect(page.get_by_role("button", name="Do not notify me")).to_be_visible()
        study.run("s02-eeg").transition("cancelled", reason="cancelled")
        expect(page).to_have_title("6/8 · eavdash")
        run.transition("failed", reason="out of memory")
        expect(page).to_have_title("1 failed · eavdash", timeout=10 * SECOND)
        expect(cell(page, "1, Audio")).to_contain_text("failed")
        page.wait_for_timeout(4 * SECOND)
        assert page.evaluate("window.notified") == ["demo has ended: 8 runs: 6 done, 1 failed, 1 cancelled"]
        expect(page.get_by_role("button", name="Do not notify me")).to_have_count(0)  # it has ended
        expect(page.get_by_test_id("stException")).to_have_count(0)

        # Other pages have the usual tab title.
        page.get_by_role("link", name="Launch").click()
        expect(page).to_have_title("eavdash")
        browser.close()
