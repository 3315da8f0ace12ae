"""Screenshots of all pages and states of the dashboard, wide and narrow, light and dark, to look at.

``make shots CHECKPOINTS=DIR [SHOTS=FOLDER]`` or ``python tests/helpers/shots.py DIR FOLDER [--pages home,explain]``
serves the studies in DIR and writes a PNG per page, state, width and theme into FOLDER, each of the whole page. One
line each is printed: errors, exceptions, and pixels that stick out to the right; any of them make it exit with 1.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from browser import ARGUMENTS, chromium, settle
from playwright.sync_api import Browser, Page, sync_playwright
from serving import Served, served

from eavdash.store import StudyDir, studies

WIDTHS = {1440: 900, 390: 844}
THEMES = ("light", "dark")
TALLEST = 6000  # pixels of a picture


class State(NamedTuple):
    """A page in a state: the name of its pictures, and its path with the parameters that make the state."""

    name: str
    path: str = ""


#: Pages that show a study's results or runs.
OF_A_STUDY = ("subjects", "statistics", "explain", "attention", "maps", "representations", "monitor")
#: Every page as it opens, and the states that an address can ask for.
PAGES = (
    State("home"),
    State("docs", "docs"),
    State("subjects", "subjects"),
    State("subjects-dots", "subjects?view=dots&paper=True"),
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


def whole(page: Page, file: Path) -> None:
    """Write a picture of the whole page, also of what is below its inner scroll."""
    width = int((page.viewport_size or {"width": 0})["width"])
    tall = page.evaluate("() => document.querySelector('[data-testid=stMain]')?.scrollHeight ?? 0")
    page.set_viewport_size({"width": width, "height": max(WIDTHS[width], min(int(tall) + 20, TALLEST))})
    page.wait_for_timeout(900)
    page.screenshot(path=file)
    page.set_viewport_size({"width": width, "height": WIDTHS[width]})


#: Of a header that has the wordmark, as there is no sidebar.
SEE_THROUGH = """() => {
  const header = document.querySelector("[data-testid=stHeader]:has([data-testid=stExpandSidebarButton])");
  return !!header && getComputedStyle(header).backgroundColor === "rgba(0, 0, 0, 0)";
}"""


def problems(page: Page) -> list[str]:
    """Return what is wrong with the page that is shown, as one sees it without looking."""
    found = page.locator("[data-testid=stException]").all_inner_texts()
    over = page.locator("[data-testid=stMain]").evaluate("main => main.scrollWidth - main.clientWidth")
    return [
        *found,
        *([f"{over} pixels stick out to the right"] if over > 0 else []),
        *(["the header is transparent over what is scrolled"] if page.evaluate(SEE_THROUGH) else []),
    ]


def shoot(
    browser: Browser, app: Served, states: Sequence[State], folder: Path, combinations: Sequence[tuple[int, str]]
) -> Iterator[str]:
    """Write the pictures; yield a line about each state in each width and theme."""
    for width, scheme in combinations:
        size: Any = {"width": width, "height": WIDTHS[width]}
        page = browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
        errors: list[str] = []
        page.on("pageerror", lambda error, errors=errors: errors.append(str(error)[:200]))
        page.goto(app.link())
        for state in states:
            errors.clear()
            page.goto(f"{app.url}/{state.path}")
            settle(page)
            whole(page, folder / f"{state.name}-{width}-{scheme}.png")
            yield f"{state.name} {width} {scheme}: {'; '.join([*errors, *problems(page)]) or 'fine'}"
        page.close()


def of_studies(states: Sequence[State], names: Sequence[str]) -> list[State]:
    """Return the states of every study; pages that show no study, of the first only."""
    every = []
    for name in names:
        for state in states:
            if name == names[0] or state.path.partition("?")[0] in OF_A_STUDY:
                path = f"{state.path}{'&' if '?' in state.path else '?'}study={name}"
                every.append(State(f"{state.name}-{name}", path))
    return every or list(states)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("checkpoints", type=Path, help="folder with the studies that are shown")
    options.add_argument("folder", type=Path, help="where the pictures go")
    options.add_argument("--pages", default="", help="only states whose name begins with one of these, by commas")
    options.add_argument("--studies", default="", help="studies, by commas (default: the first three)")
    options.add_argument("--only", default="", help="one width and theme, such as 390-dark")
    given = options.parse_args()
    combinations = [(width, scheme) for scheme in THEMES for width in WIDTHS]
    combinations = [each for each in combinations if given.only in ("", f"{each[0]}-{each[1]}")]
    names = given.studies.split(",") if given.studies else [s.name for s in studies(given.checkpoints)][:3]
    states = of_studies([s for s in PAGES if s.name.startswith(tuple(given.pages.split(",")))], names)
    given.folder.mkdir(parents=True, exist_ok=True)
    data = sorted({StudyDir(given.checkpoints / name).study().dataset.path for name in names})
    bad = 0
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        (Path(temporary) / "checkpoints").symlink_to(given.checkpoints.resolve())
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        with served(Path(temporary), 8890, EAVDASH_DATA=json.dumps(data)) as app:
            for line in shoot(browser, app, states, given.folder, combinations):
                print(line, flush=True)
                bad += not line.endswith(": fine")
        browser.close()
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
