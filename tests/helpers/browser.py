"""The Chromium of the browser tests, and when a page of it is settled. As a script, it exits with 0 if there is one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

SECOND = 1000  # Playwright counts in milliseconds

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def chromium() -> str | None:
    """Return the path of a Chromium or Chrome, or None."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        found = shutil.which(name)
        if found:
            return found
    caches = [
        os.environ.get("PLAYWRIGHT_BROWSERS_PATH", ""),
        "~/.cache/ms-playwright",
        "~/Library/Caches/ms-playwright",
    ]
    for cache in filter(None, caches):
        for pattern in ("chromium-*/chrome-linux*/chrome", "chromium-*/chrome-mac*/*.app/Contents/MacOS/*"):
            for found_path in sorted(Path(cache).expanduser().glob(pattern)):
                return str(found_path)
    return None


def settle(page: Page) -> None:
    """Wait until the script of a page of the dashboard has run and its charts are drawn."""
    ready = "[data-testid=stApp][data-test-script-state=notRunning]"
    page.wait_for_selector(f"{ready} h1", timeout=120 * SECOND)
    page.wait_for_timeout(500)
    page.wait_for_selector(ready, timeout=120 * SECOND)
    page.wait_for_function("() => !document.querySelector('[data-testid=stSkeleton]')", timeout=60 * SECOND)


if __name__ == "__main__":
    raise SystemExit(0 if chromium() else 1)
