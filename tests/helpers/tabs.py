"""A tab of the app in a real browser: when it is at rest, what is chosen in it, and what its console says."""

from __future__ import annotations

import os
import re
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

#: The values of the page's fields, its checked boxes and its active buttons; the players' own are not choices.
CHOICES = """() => {
  const found = [], main = document.querySelector('[data-testid=stMain]');
  for (const box of main.querySelectorAll('input, textarea')) {
    if (box.closest('.player') || box.type === 'file') continue;
    const label = box.getAttribute('aria-label') || box.closest('label')?.innerText || '';
    if (box.type === 'checkbox' || box.type === 'radio') { if (box.checked) found.push(`${label} x`); }
    else if (box.value) found.push(`${label}: ${box.value}`);
  }
  for (const part of main.querySelectorAll(
      '[kind$=Active], [aria-checked=true], [aria-pressed=true], [data-baseweb=tag]'))
    found.push(part.innerText || part.getAttribute('aria-label') || '');
  return found.map(text => text.replace(/\\s+/g, ' ').trim()).sort();
}"""
#: Components have a focus of their own, in their part of the page.
FOCUSED = "part => [part, ...part.querySelectorAll('*')].includes(part.getRootNode().activeElement)"


def settled(page: Page) -> None:
    """Wait until no script of the page is running; it must not have failed."""
    page.wait_for_timeout(500)
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    expect(page.get_by_test_id("stException")).to_have_count(0)


def choices(page: Page) -> list[str]:
    """Return everything that is chosen or typed on the page."""
    found: list[str] = page.evaluate(CHOICES)
    return found


def tab_to(page: Page, wanted: Locator, most: int = 200) -> None:
    """Press the tabulator key until the element, or a part of it, has the focus."""
    wanted.first.wait_for()
    for _ in range(most):
        if wanted.first.evaluate(FOCUSED):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{wanted} has no focus after {most} times Tab")


class Tab:
    """A page that is watched: what its console reports as an error fails :meth:`step`, and each step leaves a picture.

    The pictures are in ``$EAVDASH_SHOTS`` or in ``folder``.
    """

    def __init__(self, page: Page, folder: Path, name: str) -> None:
        self.page, self.name, self.steps = page, name, 0
        self.folder = Path(os.environ.get("EAVDASH_SHOTS") or folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.errors: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def step(self, name: str, whole: bool = False) -> None:
        """End a step: the page is at rest and has reported no error; a picture of it is kept, on request of all."""
        settled(self.page)
        self.steps += 1
        file = f"{self.name}-{self.steps:02d}-{re.sub('[^a-z0-9]+', '-', name.lower())}.png"
        seen = self.page.viewport_size
        assert seen is not None
        if whole:  # the page scrolls inside of itself
            height = self.page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
            self.page.set_viewport_size({"width": seen["width"], "height": max(seen["height"], height)})
            self.page.wait_for_timeout(500)
        self.page.screenshot(path=self.folder / file)
        self.page.set_viewport_size(seen)
        assert not self.errors, f"{name}: {self.errors}"

    def _hear(self, said: ConsoleMessage) -> None:
        # Streamlit looks for its server below a page's own path first.
        if said.type == "error" and "/_stcore/" not in said.location["url"]:
            self.errors.append(f"{said.text} {said.location['url']}")

    def keeps(self) -> None:
        """Check that a reload, and the way back from another page, show the same choices."""
        settled(self.page)
        before = choices(self.page)
        self.page.reload()
        self.shows(before)
        self.page.get_by_role("link", name="Documentation", exact=True).click()
        expect(self.page).to_have_url(re.compile("document="))
        settled(self.page)
        self.page.go_back()
        self.shows(before)

    def shows(self, wanted: list[str]) -> None:
        """Wait until these are the choices of the page."""
        for _ in range(60):
            settled(self.page)
            if choices(self.page) == wanted:
                return
        assert choices(self.page) == wanted, self.page.url
