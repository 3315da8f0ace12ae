"""Memory of the app while one trial after another is opened: ``python benchmarks/app_memory.py STUDY [--opens 200]``.

Starts the app, opens trials with a stored map one after another on the page One trial in headless Chromium, as a link
does (each is a session of its own), and prints the memory of the server and its processes before, during and after, in
MB of physical memory of their own (USS), which Linux counts in /proc. Needs playwright, psutil and a Chromium.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import subprocess
import sys
import time

import psutil
from playwright.sync_api import Page, sync_playwright

from eavdash.explain.explanation import explanation_name, stored_explanations
from eavdash.results import tables
from eavdash.store import StudyDir, checkpoints_root, find_study

ANSWER = 60.0  # seconds in which the app and each page must answer


def stored(study: StudyDir) -> list[tuple[str, str]]:
    """Return (subject, trial) of the study's fusion that have a stored map."""
    found = []
    rows = tables.trials(study, ["fusion"])
    for subject, trial, name in rows[["subject", "trial", "run"]].itertuples(index=False, name=None):
        run = study.run(name)
        if stored_explanations(run, explanation_name(run, subject, trial)):
            found.append((subject, trial))
    return found


def used(server: int) -> float:
    """Return the megabytes of physical memory of the app and the processes it started."""
    parent = psutil.Process(server)
    total = 0
    for process in [parent, *parent.children(recursive=True)]:
        try:
            total += process.memory_full_info().uss
        except psutil.Error:  # it ended meanwhile
            continue
    return total / 2**20


def settle(page: Page) -> None:
    """Wait until the map is shown and no script of the page runs."""
    page.get_by_role("heading", name="Subject").first.wait_for(timeout=1000 * ANSWER)
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=1000 * ANSWER)
    page.wait_for_timeout(300)  # the player gets its data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--checkpoints")
    parser.add_argument("--opens", type=int, default=200)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--port", type=int, default=8790)
    options = parser.parse_args()
    root = checkpoints_root(options.checkpoints)
    study = find_study(root, options.study)
    trials = stored(study)
    if not trials:
        parser.error(f"{options.study} has no stored maps: run eavdash explain {options.study} --trials test")
    command = [sys.executable, "-m", "eavdash", "app", "--no-token", "--port", str(options.port)]
    command += ["--checkpoints", str(root), "--data", study.study().dataset.path]
    app = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page()
            address = f"http://127.0.0.1:{options.port}"
            end = time.monotonic() + ANSWER
            while True:
                try:
                    page.goto(address)
                    break
                except Exception:  # it is still starting
                    if time.monotonic() > end:
                        raise
                    time.sleep(1)
            page.wait_for_selector("h1", timeout=1000 * ANSWER)
            print(f"{len(trials)} trials with maps; after the start: {used(app.pid):.0f} MB", flush=True)
            for number, (subject, trial) in enumerate(itertools.islice(itertools.cycle(trials), options.opens), 1):
                page.goto(f"{address}/explain?study={options.study}&subject={subject}&trial={trial}")
                settle(page)
                if number in (1, 5) or number % options.every == 0:
                    print(f"after {number} trials: {used(app.pid):.0f} MB", flush=True)
            page.goto("about:blank")
            time.sleep(5)
            print(f"after the last page was left: {used(app.pid):.0f} MB", flush=True)
            browser.close()
    finally:
        app.terminate()
        app.wait()


if __name__ == "__main__":
    main()
