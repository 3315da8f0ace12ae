"""Fault injection: kill -9 of workers, the scheduler and the app at random moments of a study with real training.

``python benchmarks/faults.py [--subjects 42] [--kills 100] [--minutes 40]`` makes small recordings of three modalities,
computes every run of a study once without the queue (the undisturbed weights), then queues the same study and kills
processes until it is done: a worker, the scheduler, the app, or all of them. The app is a process that does the same as
every full run of app.py: it starts the scheduler if necessary and polls all runs. It is restarted after each kill.

It prints one JSON line and a table with the number of runs that did not finish, were launched more often than kills
explain, differ from the undisturbed weights, or left a process behind. The exit code is 1 if any of these is not 0.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from eavdash.config.convert import with_epochs, with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Execution, Selection
from eavdash.jobs.exit_state import MAX_KILLS
from eavdash.jobs.queue import submit
from eavdash.jobs.queue_database import queue_database
from eavdash.jobs.snapshot import snapshot
from eavdash.processes import with_package
from eavdash.store import StudyDir, locks
from eavdash.studies.write import prepare

REPO = Path(__file__).resolve().parents[1]
APP = """
import sys, time
from pathlib import Path
from eavdash.jobs.queue import ensure_scheduler
from eavdash.jobs.snapshot import snapshot
from eavdash.store import StudyDir
study = StudyDir(Path(sys.argv[1]))
while True:
    ensure_scheduler(study.path.parent)
    snapshot(study)
    time.sleep(1)
"""
KINDS = ("worker",) * 6 + ("scheduler",) * 2 + ("app", "all")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--subjects", type=int, default=42, help="(default: %(default)s)")
    options.add_argument("--kills", type=int, default=100, help="number of kills (default: %(default)s)")
    options.add_argument("--minutes", type=float, default=40, help="time limit (default: %(default)s)")
    options.add_argument("--seed", type=int, default=0, help="seed of the kills (default: %(default)s)")
    given = options.parse_args()
    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), given.subjects, given.kills, 60 * given.minutes, random.Random(given.seed))
    print(json.dumps(figures))
    for name, value in figures.items():
        print(f"{name:40} {value}")
    wrong = ("not done", "lost", "unexplained launches", "weights differ", "processes left")
    return int(any(figures[name] for name in wrong))


def measure(folder: Path, subjects: int, kills: int, seconds: float, rng: random.Random) -> dict[str, Any]:
    """Compute the study undisturbed, then with kills, and compare."""
    sys.path.insert(0, str(REPO / "tests" / "helpers"))
    from recordings import FAST, make_recordings

    table = make_recordings(folder / "recordings", subjects=subjects, groups=3)
    config = with_settings(with_epochs(preset("quick"), 8), [*FAST, "vision.crop=centre", "protocol.folds=3"])
    reference, disturbed = (
        prepare(table, "study", config, Selection(folds=(0,)), folder / name).study
        for name in ("reference", "disturbed")
    )
    started = time.monotonic()
    compute_undisturbed(reference)
    reference_seconds = time.monotonic() - started

    started = time.monotonic()
    submit(disturbed, execution=Execution(device="cpu"))
    app = start_app(disturbed)
    done: Counter[str] = Counter()
    killed: Counter[str] = Counter()  # run → its killed workers
    log = disturbed.path.parent / ".queue" / "conductor.log"
    next_kill = 0.0
    try:
        while time.monotonic() - started < seconds:
            states = snapshot(disturbed)
            if bool(states["ended"].all()):
                break
            # Spread the kills over the remaining work, so that the last runs are hit as well.
            left = int((~states["ended"]).sum())
            if kills > done.total() and time.monotonic() >= next_kill:
                kind = rng.choice(KINDS)
                if kind in ("app", "all"):
                    os.killpg(app.pid, signal.SIGKILL)
                    app.wait()
                    app = start_app(disturbed)
                if kind in ("scheduler", "all"):
                    kill_scheduler(disturbed)
                if kind in ("worker", "all"):
                    kill_workers(disturbed, rng, killed, every_one=kind == "all")
                done[kind] += 1
                pace = left / max(1, kills - done.total())
                next_kill = time.monotonic() + rng.uniform(0.0, 2 * min(5.0, 2.5 * pace))
            time.sleep(rng.uniform(0.05, 0.3))
    finally:
        os.killpg(app.pid, signal.SIGKILL)
        app.wait()
    disturbed_seconds = time.monotonic() - started
    time.sleep(3)
    final = snapshot(disturbed)
    starts = Counter(
        line.split()[2].split(":")[0].partition("/")[2] for line in log.read_text().splitlines() if ": started" in line
    )
    return {
        "runs": len(final),
        "done": int((final["state"] == "done").sum()),
        "not done": int((final["state"] != "done").sum()),
        "why": [f"{r.run}: {r.state}: {r.reason}" for r in final.itertuples() if r.state != "done"],
        "lost": len(reference.runs()) - len(final),
        "kills": done.total(),
        "kills of": dict(done),
        "workers killed": killed.total(),
        "launches": starts.total(),
        "unexplained launches": sum(max(0, starts[run] - 1 - killed[run]) for run in final["run"]),
        "weights differ": sum(differs(reference, disturbed, run) for run in final["run"]),
        "processes left": sum(bool(locks.pids_with_env("EAVDASH_RUN", str(run.path))) for run in disturbed.runs()),
        "undisturbed, one process, s": round(reference_seconds),
        "with kills, s": round(disturbed_seconds),
    }


def compute_undisturbed(study: StudyDir) -> None:
    """Compute every run in this process, one after another."""
    from eavdash.training.run import train_run

    for run in sorted(study.runs(), key=lambda run: bool(run.config().parents)):
        run.transition("running")
        train_run(run, device="cpu", threads=1)
        run.transition("done", checksums=run.seal())


def start_app(study: StudyDir) -> subprocess.Popen[bytes]:
    """Start a process that polls the study like the dashboard."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", APP, str(study.path)], start_new_session=True, env=with_package(dict(os.environ))
    )


def kill_scheduler(study: StudyDir) -> None:
    """Kill the scheduler, if it is running."""
    owner = locks.owner(queue_database(study.path.parent).lock_file)
    if owner is not None and owner.alive:
        os.kill(owner.pid, signal.SIGKILL)


def kill_workers(study: StudyDir, rng: random.Random, killed: Counter[str], every_one: bool) -> None:
    """Kill the worker of one running run, or of all."""
    alive = []
    for run in study.runs():
        owner = locks.owner(run.lock_file) if run.locked() else None
        # The queue gives up a run after three kills in a row without a finished epoch.
        spared = run.status().kills >= MAX_KILLS - 1
        if owner is not None and owner.alive and not (spared and not every_one):
            alive.append((run, owner.pid))
    for run, pid in alive if every_one else rng.sample(alive, min(1, len(alive))):
        try:
            os.kill(pid, signal.SIGKILL)
            killed[run.name] += 1
        except ProcessLookupError:
            continue


def differs(reference: StudyDir, disturbed: StudyDir, name: str) -> bool:
    """Return True if a run's weights or predictions differ from those of the undisturbed run."""
    for file in ("model.safetensors", "predictions.parquet"):
        one, other = reference.path / name / file, disturbed.path / name / file
        if not other.exists() or one.read_bytes() != other.read_bytes():
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
