"""Screenshots of all pages and states of the dashboard, wide and narrow, light and dark, to look at.

``make shots CHECKPOINTS=DIR [SHOTS=FOLDER]`` or ``python tests/helpers/shots.py DIR FOLDER [--pages home,explain]``
serves the studies in DIR and writes a PNG per page, state, width and theme into FOLDER, each of the whole page. One
line each is printed: errors, exceptions, and pixels that stick out to the right; any of them make it exit with 1.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from browser import ARGUMENTS, chromium
from playwright.sync_api import Browser, Page, sync_playwright
from serving import served

from eavdash.store import StudyDir, studies

WIDTHS = {1440: 900, 390: 844}
THEMES = ("light", "dark")
SECOND = 1000  # Playwright counts in milliseconds
TALLEST = 6000  # pixels of a picture


class State(NamedTuple):
    """A page in a state: the name of its pictures, and its path with the parameters that make the state."""

    name: str
    path: str = ""


#: Every page as it opens, and the states that an address can ask for.
PAGES = (
    State("home"),
    State("docs", "docs"),
    State("subjects", "subjects"),
    State("subjects-tiles", "subjects?view=tiles"),
    State("subjects-slopes", "subjects?view=slopes"),
    State("subjects-all", "subjects?baselines=True&corrected=True&paper=True"),
    State("subjects-nobody", "subjects?filter=nobody"),
    State("statistics", "statistics"),
    State("compare", "compare"),
    State("explain", "explain"),
    State("explain-missing", "explain?subject=nobody&trial=nothing"),
    State("attention", "attention"),
    State("maps", "maps"),
    State("representations", "representations"),
    State("launch", "launch"),
    State("monitor", "monitor"),
    State("studies", "studies"),
    State("add", "add"),
    State("health", "health"),
    State("trials", "trials"),
)


def settle(page: Page) -> None:
    """Wait until the page's script has run and its charts are drawn."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning] h1", timeout=120 * SECOND)
    page.wait_for_timeout(700)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=120 * SECOND)
    page.wait_for_function("() => !document.querySelector('[data-testid=stSkeleton]')", timeout=60 * SECOND)


def whole(page: Page, file: Path) -> None:
    """Write a picture of the whole page, also of what is below its inner scroll."""
    width = int((page.viewport_size or {"width": 0})["width"])
    tall = page.evaluate("() => document.querySelector('[data-testid=stMain]')?.scrollHeight ?? 0")
    page.set_viewport_size({"width": width, "height": max(WIDTHS[width], min(int(tall) + 20, TALLEST))})
    page.wait_for_timeout(900)
    page.screenshot(path=file)
    page.set_viewport_size({"width": width, "height": WIDTHS[width]})


def problems(page: Page) -> list[str]:
    """Return what is wrong with the page that is shown, as one sees it without looking."""
    found = page.locator("[data-testid=stException]").all_inner_texts()
    over = page.evaluate(
        "() => { const m = document.querySelector('[data-testid=stMain]'); return m ? m.scrollWidth - m.clientWidth : 0; }"
    )
    return [*found, *([f"{over} pixels stick out to the right"] if over > 0 else [])]


def shoot(browser: Browser, base: str, token: str, states: list[State], folder: Path) -> Iterator[str]:
    """Write the pictures; yield a line about each state in each width and theme."""
    for scheme in THEMES:
        for width, height in WIDTHS.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
            errors: list[str] = []
            page.on("pageerror", lambda error, errors=errors: errors.append(str(error)[:200]))
            page.goto(f"{base}/?token={token}" if token else base)
            for state in states:
                errors.clear()
                page.goto(f"{base}/{state.path}")
                settle(page)
                whole(page, folder / f"{state.name}-{width}-{scheme}.png")
                yield f"{state.name} {width} {scheme}: {'; '.join([*errors, *problems(page)]) or 'fine'}"
            page.close()


def with_study(states: tuple[State, ...], names: list[str]) -> list[State]:
    """Return the states of every study; pages that know no study are taken of the first only."""
    every = []
    for number, name in enumerate(names):
        for state in states:
            if number == 0 or state.path.partition("?")[0] in ("subjects", "statistics", "attention", "monitor", "maps"):
                joined = f"{state.path}{'&' if '?' in state.path else '?'}study={name}"
                every.append(State(f"{state.name}-{name}", joined))
    return every


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("checkpoints", type=Path, help="folder with the studies that are shown")
    options.add_argument("folder", type=Path, help="where the pictures go")
    options.add_argument("--pages", default="", help="only states whose name begins with one of these, by commas")
    options.add_argument("--studies", default="", help="studies, by commas (default: the first three)")
    options.add_argument("--only", default="", help="one width and theme, such as 390-dark")
    given = options.parse_args()
    if given.only:
        width, _, scheme = given.only.partition("-")
        global THEMES
        THEMES = (scheme,)
        for other in [w for w in WIDTHS if w != int(width)]:
            del WIDTHS[other]
    names = given.studies.split(",") if given.studies else [s.name for s in studies(given.checkpoints)][:3]
    wanted = tuple(s for s in PAGES if s.name.startswith(tuple(given.pages.split(","))))
    given.folder.mkdir(parents=True, exist_ok=True)
    bad = 0
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        (place / "checkpoints").symlink_to(given.checkpoints.resolve())
        data = sorted({StudyDir(given.checkpoints / name).study().dataset.path for name in names})
        allowed = {"EAVDASH_DATA": json.dumps(data)}
        with served(place, 8890, **allowed) as app, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
            for line in shoot(browser, app.url, app.token, with_study(wanted, names) if names else list(wanted), given.folder):
                print(line, flush=True)
                bad += not line.endswith(": fine")
            browser.close()
    return bool(bad)


if __name__ == "__main__":
    raise SystemExit(main())
