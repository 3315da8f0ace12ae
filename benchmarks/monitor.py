"""Duration of a refresh of the page of runs, with 42 x 4 running runs and with 10,000 runs in the store.

``python benchmarks/monitor.py [--refreshes N]`` prints a JSON line and a table. Two studies are written to a temporary
folder. In both, 168 runs are "running": another process holds their locks and writes their heartbeats every two
seconds, as their workers would.

Two times are measured. *poll*: the table of all runs and their time left, read from the files. *page*: the whole script
of the page, including app.py and the overhead of Streamlit's AppTest, which runs it; a refresh in a browser runs only
the page's fragment and is shorter. Cold is the first read of all files in the process; warm refreshes are half a second
apart, so that each reads the files again. Milliseconds of elapsed time, and of this process's processor time, which
other programs on the machine affect less.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eavdash.config.choices import STAGES
from eavdash.config.convert import to_dict
from eavdash.config.presets import preset
from eavdash.store import StudyDir, unit_name
from eavdash.store.atomic import boot_clock

REPO = Path(__file__).resolve().parents[1]
RUNNING = 168
EVERY = 2.0  # seconds between heartbeats
WRITTEN = ("model.safetensors", "predictions.parquet")


def make_study(root: Path, name: str, subjects: int, folds: int) -> StudyDir:
    """Write a study of ``subjects`` x ``folds`` x 4 runs: the first 168 running, two thirds of the others done."""
    study = StudyDir(root / name)
    study.path.mkdir(parents=True)
    config = to_dict(preset("quick"))
    document = {
        "name": name,
        "config": config,
        "selection": {"subjects": [str(s) for s in range(1, subjects + 1)], "folds": [*range(folds)], "seeds": [0]},
        "dataset": {"path": "/nowhere", "kind": "eav", "simulated": True},
        "classes": ["a", "b"],
        "naming": {"fold": None if folds > 1 else 0, "seed": 0},
    }
    study.study_file.write_text(json.dumps(document))
    rows = [f"{s},{t},{t},{f},test" for s in range(1, subjects + 1) for f in range(folds) for t in range(20)]
    study.splits_file.write_text("\n".join(["subject,trial,group,fold,split", *rows]) + "\n")
    now, host, number = time.time(), os.uname().nodename, 0
    for subject in range(1, subjects + 1):
        for fold in range(folds):
            for stage in STAGES:
                scope = unit_name(str(subject))
                run = study.run(f"{scope}-{stage}" + (f"-fold{fold}" if folds > 1 else ""))
                run.path.mkdir()
                facts = {"unit": scope, "stage": stage, "fold": fold, "seed": 0, "subject": str(subject)}
                facts |= {"study": name, "run": run.name, "classes": ["a", "b"], "parents": {}, "config": config}
                run.config_file.write_text(json.dumps(facts))
                state = "running" if number < RUNNING else "queued" if number % 3 == 0 else "done"
                run.status_file.write_text(json.dumps(status(state, now, host)))
                for name in WRITTEN if state == "done" else ():
                    (run.path / name).write_bytes(b"x")
                number += 1
    return study


def status(state: str, now: float, host: str) -> dict[str, Any]:
    """Return the content of a run's status.json."""
    known: dict[str, Any] = {"state": state, "attempt": 0, "epoch": 0, "epochs": 0, "reason": "", "execution": {}}
    if state == "queued":
        return known
    known |= {"attempt": 1, "host": host, "started": now - 60, "heartbeat": now, "epochs": 30, "epoch": 7}
    if state == "done":
        known |= {"epoch": 30, "finished": now - 1, "accuracy": 0.5, "checksums": dict.fromkeys(WRITTEN, "0" * 64)}
        known["sizes"] = dict.fromkeys(WRITTEN, 1)
    return known


def hold(study: StudyDir, names: list[str]) -> None:
    """Simulate the workers of these runs until killed: hold their locks, write their heartbeats, finish epochs."""
    files = []
    for name in names:
        files.append(study.run(name).lock_file.open("ab"))
        fcntl.flock(files[-1], fcntl.LOCK_EX)
    print("held", flush=True)
    rounds = 0
    while os.getppid() != 1:
        started = time.monotonic()
        rounds += 1
        for number, name in enumerate(names):
            usage = {"cpu": 100.0, "rss": 500_000_000, "peak": 600_000_000}
            epoch = 7 + (rounds + number) // 10 % 20
            study.run(name).update(heartbeat=time.time(), beat=boot_clock(), usage=usage, epoch=epoch)
        time.sleep(max(0.0, EVERY - (time.monotonic() - started)))


@contextlib.contextmanager
def workers(study: StudyDir) -> Iterator[None]:
    """Run the process that holds the locks of the study's running runs."""
    names = [run.name for run in study.runs() if run.status().state == "running"]
    command = [sys.executable, __file__, "--hold", str(study.path), *names]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "held":
                raise SystemExit("the locks could not be taken")
            yield
        finally:
            process.kill()


def measure(study: StudyDir, refreshes: int) -> list[dict[str, Any]]:
    """Return the rows of one study: poll and page."""
    from streamlit.testing.v1 import AppTest

    from eavdash.jobs import estimates, snapshot
    from eavdash.ui import cached_runs, monitor

    os.environ["EAVDASH_CHECKPOINTS"] = str(study.path.parent)
    sent: list[int] = []
    component = monitor._grid

    def watched(data: Any, **options: Any) -> Any:
        sent.append(len(json.dumps(data)))
        return component(data=data, **options)

    def poll() -> None:
        table = snapshot.snapshot(study)
        table.assign(left=estimates.seconds_left(table))

    rows = [row("poll", poll, refreshes)]
    monitor._grid = watched
    snapshot._caches.clear()
    app = AppTest.from_file(str(REPO / "app.py"), default_timeout=120)
    app.session_state["study"] = study.name
    app.run()  # opens the page of results, which loads the app's modules

    def page() -> None:
        app.run()
        if app.exception:
            raise SystemExit(app.exception[0].stack_trace)

    snapshot._caches.clear()
    cached_runs.refresh()
    app.switch_page("pages/training/monitor.py")
    rows.append(row("page", page, refreshes))
    monitor._grid = component
    counts = snapshot.snapshot(study)["shown"].value_counts().to_dict()
    if counts.get("running") != RUNNING or "damaged" in counts:
        raise SystemExit(f"not all runs are shown in their state: {counts}")
    return [
        {"study": study.name, "runs": sum(counts.values()), **r, "grid_kb": round(max(sent) / 1000, 1)} for r in rows
    ]


def row(what: str, work: Callable[[], Any], refreshes: int) -> dict[str, Any]:
    """Return the milliseconds of the first call, and percentiles of the following ones."""
    clocks, processor = [], []
    for number in range(refreshes + 1):
        started, used = time.perf_counter(), time.process_time()
        work()
        clocks.append(1000 * (time.perf_counter() - started))
        processor.append(1000 * (time.process_time() - used))
        if number < refreshes:
            time.sleep(0.5)
    found: dict[str, Any] = {"what": what}
    for name, times in (("", clocks), ("cpu_", processor)):
        p50, p95 = np.percentile(times[1:], [50, 95])
        found |= {f"{name}cold_ms": round(times[0]), f"{name}p50_ms": round(p50), f"{name}p95_ms": round(p95)}
    return found


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--refreshes", type=int, default=40, help="warm refreshes (default: %(default)s)")
    parser.add_argument("--hold", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.hold:
        hold(StudyDir(Path(options.hold[0])), options.hold[1:])
        return
    logging.disable(logging.WARNING)
    os.chdir(REPO)
    rows = []
    root = Path(tempfile.mkdtemp(prefix="eavdash-monitor-"))
    try:
        for name, subjects, folds in (("42 x 4", 42, 1), ("10,000", 500, 5)):
            study = make_study(root / f"of-{subjects}", name.replace(" ", "").replace(",", ""), subjects, folds)
            with workers(study):
                rows += measure(study, options.refreshes)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(json.dumps({"benchmark": "monitor", "refreshes": options.refreshes, "rows": rows}))
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
