"""The script of every page about a study, with 42 subjects x 5 folds: server time when cold and when warm.

``python benchmarks/pages.py [--subjects 42] [--folds 5] [--keep DIR] [--only PAGE,...]`` makes a simulated study in a
temporary folder (``--keep DIR`` keeps it) and opens each page by Streamlit's AppTest in a process of its own, from an
address: cold (the first script of the process, imports apart), then warm (median of further ones).
It prints one JSON line per page and fails if one shows an exception.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))
#: Each page's file, and the choices in its address.
PAGES: dict[str, tuple[str, dict[str, str]]] = {
    "home": ("pages/home/overview.py", {}),
    "subjects": ("pages/results/subjects.py", {}),
    "subjects, baselines and windows": ("pages/results/subjects.py", {"baselines": "True", "level": "window"}),
    "subjects, frames": ("pages/results/subjects.py", {"level": "frame"}),
    "subjects, trials of one": ("pages/results/subjects.py", {"subject": "7"}),
    **{
        f"statistics, {view}": ("pages/results/statistics.py", {"view": view})
        for view in ("answer", "classes", "together", "why", "curves")
    },
    "compare": ("pages/results/compare.py", {"other": "second"}),
    "trial": ("pages/explain/trial.py", {"subject": "7"}),
    "attention": ("pages/explain/attention.py", {}),
    "maps": ("pages/explain/maps.py", {}),
    "representations": ("pages/explain/representations.py", {}),
    "monitor": ("pages/training/monitor.py", {}),
    "studies": ("pages/training/studies.py", {"choice": "demo"}),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--subjects", type=int, default=42, help="(default: %(default)s)")
    options.add_argument("--folds", type=int, default=5, help="(default: %(default)s)")
    options.add_argument("--keep", type=Path, help="folder that keeps the studies for the next time")
    options.add_argument("--repeat", type=int, default=3, help="warm runs of a page (default: %(default)s)")
    options.add_argument("--only", default="", help="names of pages, separated by semicolons")
    options.add_argument("--page", help=argparse.SUPPRESS)  # in the process that measures one page
    given = options.parse_args()
    if given.page:
        print(json.dumps(measured(given.page, given.repeat)))
        return
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        if not (folder / "second").exists():
            make(folder, given.subjects, given.folds)
        for page in filter(None, given.only.split(";") if given.only else PAGES):
            command = [sys.executable, __file__, "--page", page, "--repeat", str(given.repeat)]
            environment = {**os.environ, "EAVDASH_CHECKPOINTS": str(folder)}
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            failed |= bool(done.returncode)
            print(done.stdout.splitlines()[-1] if done.returncode == 0 else f"{page}:\n{done.stderr}", flush=True)
    raise SystemExit(failed)


def make(folder: Path, subjects: int, folds: int) -> None:
    """Make a study ``demo`` with maps and representations, and a ``second`` one of the same trials to compare."""
    from fake_study import make_explanation, make_study
    from stored_pictures import add_maps, add_representations

    from eavdash.explain.explanation import save_explanation

    names = [str(number + 1) for number in range(subjects)]
    whole = {"subjects": names, "folds": range(folds), "trials": 20, "windows": 4}
    study = make_study(folder, **whole)
    add_maps(study)
    add_representations(study)
    run = next(run for run in study.runs() if run.config().stage == "fusion")
    save_explanation(run, make_explanation(study, run.name, run.config().subject, "2"))
    make_study(folder, "second", seed=1, **whole)


def measured(page: str, repeat: int) -> dict[str, Any]:
    """Open a page in this process: the first script, and further ones."""
    os.chdir(ROOT)
    from streamlit.testing.v1 import AppTest

    file, choices = PAGES[page]
    opened(AppTest, "pages/home/docs.py", {})  # imports are not part of a script's time
    found: dict[str, Any] = {"page": page}
    for name, times in (("cold", 1), ("warm", repeat)):
        runs = [opened(AppTest, file, choices) for _ in range(times)]
        for kind, values in zip(("s", "processor s"), zip(*runs, strict=True), strict=True):
            found[f"{name}, {kind}"] = round(statistics.median(values), 3)
    return found


def opened(apptest: Any, file: str, choices: dict[str, str]) -> tuple[float, float]:
    """Open a page in a new tab, which shows another one; return elapsed and processor time."""
    app = apptest.from_file(str(ROOT / "app.py"), default_timeout=600)
    app.switch_page("pages/home/docs.py").run()  # knows the pages then
    app.query_params.update({"study": "demo", **choices})
    app.switch_page(file)
    wall, cpu = time.perf_counter(), time.process_time()
    app.run()
    used = time.perf_counter() - wall, time.process_time() - cpu
    assert not app.exception, app.exception[0].stack_trace
    return used


if __name__ == "__main__":
    main()
