"""Fault injection: kill -9 of workers, the scheduler and the app at random moments of a study with real training.

``python benchmarks/faults.py [--subjects 42] [--kills 100] [--troubles 20] [--minutes 40]`` makes small recordings of
three modalities, computes every run of a study once without the queue (the undisturbed weights), then queues the same
study and kills processes until it is done: a worker, the scheduler, the app, or all of them. The app is a process that
does the same as every full run of app.py: it starts the scheduler if necessary and polls all runs. It is restarted
after each kill. In between come troubles of :data:`TROUBLE` seconds: the scheduler is stopped (SIGSTOP), or the disk is
filled (with the rights to mount one). Runs that fail because the disk is full are retried once it is not, as their
message asks. All the time a thread compares the shown states with the processes.

It prints one JSON line and a table with the number of runs that did not finish, were launched more often than kills
explain, differ from the undisturbed weights, left a process behind, or whose state was shown wrongly for longer than
:data:`PATIENCE` seconds: running without a process, or queued without a reason during a trouble. The exit code is 1 if
any of these is not 0.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eavdash.config.convert import with_epochs, with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Execution, Selection
from eavdash.jobs.exit_state import MAX_KILLS
from eavdash.jobs.queue import retry, submit
from eavdash.jobs.queue_database import queue_database
from eavdash.jobs.snapshot import snapshot
from eavdash.store import RunDir, StudyDir, locks
from eavdash.store.processes import with_package
from eavdash.store.status import HEARTBEAT_EVERY, HEARTBEAT_LOST
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
#: Seconds that a trouble lasts, and that a state may be shown after it has become wrong: one lost heartbeat.
TROUBLE, PATIENCE = 20.0, HEARTBEAT_LOST + HEARTBEAT_EVERY
#: Size of the disk that is filled.
DISK = "3g"


class Watch(threading.Thread):
    """Thread that compares the shown states of a study with its processes, twice a second."""

    def __init__(self, study: StudyDir) -> None:
        super().__init__(daemon=True)
        self.study, self.trouble, self.done = study, threading.Event(), threading.Event()
        self.longest: dict[str, float] = {"running": 0.0, "queued": 0.0}
        self._since: dict[tuple[str, str], float] = {}

    def run(self) -> None:
        while not self.done.wait(0.5):
            wrong = set()
            for row in snapshot(self.study).itertuples():
                if row.shown == "running" and not self.study.run(row.run).locked():
                    wrong.add((row.run, "running"))
                if row.state == "queued" and not row.reason and self.trouble.is_set():
                    wrong.add((row.run, "queued"))
            now = time.monotonic()
            self._since = {which: self._since.get(which, now) for which in wrong}
            for (_, kind), since in self._since.items():
                self.longest[kind] = max(self.longest[kind], now - since)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a disk of its own on a folder if this user may; yield whether it is one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Fill a disk to the last byte; return the file that does."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(2**20)) == 2**20:
            pass
        while file.write(b"x"):
            pass
    return ballast


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--subjects", type=int, default=42, help="(default: %(default)s)")
    options.add_argument("--kills", type=int, default=100, help="number of kills (default: %(default)s)")
    options.add_argument("--troubles", type=int, default=20, help="(default: %(default)s)")
    options.add_argument("--minutes", type=float, default=40, help="time limit (default: %(default)s)")
    options.add_argument("--seed", type=int, default=0, help="seed of the kills (default: %(default)s)")
    given = options.parse_args()
    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        disturbed = Path(folder) / "disturbed"
        with small_disk(disturbed) as disk:
            figures = measure(
                Path(folder),
                given.subjects,
                (given.kills, given.troubles),
                60 * given.minutes,
                random.Random(given.seed),
                disk,
            )
    print(json.dumps(figures))
    for name, value in figures.items():
        print(f"{name:40} {value}")
    wrong = ("not done", "lost", "unexplained launches", "weights differ", "processes left", "states wrong for long")
    return int(any(figures[name] for name in wrong))


def measure(
    folder: Path, subjects: int, faults: tuple[int, int], seconds: float, rng: random.Random, disk: bool
) -> dict[str, Any]:
    """Compute the study undisturbed, then with ``faults`` (kills, troubles), and compare.

    ``disk``: the disturbed study has a disk of its own, which may be filled.
    """
    kills, troubles = faults
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
    had: Counter[str] = Counter()
    killed: Counter[str] = Counter()  # run → its killed workers
    retried: Counter[str] = Counter()  # run → its attempts that failed because the disk was full
    log = disturbed.path.parent / ".queue" / "conductor.log"
    next_kill = 0.0
    watch = Watch(disturbed)
    watch.start()
    try:
        while time.monotonic() - started < seconds:
            states = snapshot(disturbed)
            full = states["run"][(states["state"] == "failed") & states["reason"].str.contains("disk")].tolist()
            retried.update(retry(disturbed, full) if full else ())
            if not full and bool(states["ended"].all()):
                break
            # Spread the kills over the remaining work, so that the last runs are hit as well.
            left = int((~states["ended"]).sum())
            if kills > done.total() and time.monotonic() >= next_kill:
                kind = rng.choice(KINDS)
                due = max(1, kills // max(1, troubles))
                if troubles and done.total() % due == due - 1 and sum(had.values()) < troubles:
                    had[make_trouble(disturbed, watch, disk and bool(sum(had.values()) % 2))] += 1
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
        watch.done.set()
        watch.join()
        os.killpg(app.pid, signal.SIGKILL)
        app.wait()
    disturbed_seconds = time.monotonic() - started
    time.sleep(3)
    final = snapshot(disturbed)
    explained = {run: 1 + killed[run] + ended_by_disk(disturbed.run(run), log.read_text()) for run in final["run"]}
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
        "troubles": dict(had),
        "retried after a full disk": retried.total(),
        "longest shown running without a process, s": round(watch.longest["running"], 1),
        "longest queued without a reason in trouble, s": round(watch.longest["queued"], 1),
        "states wrong for long": sum(seconds > PATIENCE for seconds in watch.longest.values()),
        "launches": starts.total(),
        "unexplained launches": sum(max(0, starts[run] - most) for run, most in explained.items()),
        "weights differ": sum(differs(reference, disturbed, run) for run in final["run"]),
        "processes left": sum(bool(locks.pids_with_env("EAVDASH_RUN", str(run.path))) for run in disturbed.runs()),
        "undisturbed, one process, s": round(reference_seconds),
        "with kills, s": round(disturbed_seconds),
    }


def ended_by_disk(run: RunDir, log: str) -> int:
    """Return the number of attempts that a full disk ended, by their reason or, if none could be written, the log."""
    named = sum("disk" in attempt.reason for attempt in run.status().history)
    return named + sum(f"{run.status_file}: " in line and "No space left" in line for line in log.splitlines())


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


def make_trouble(study: StudyDir, watch: Watch, full: bool) -> str:
    """Fill the disk, or stop the scheduler, for a while; return which it was."""
    root = study.path.parent
    owner = locks.owner(queue_database(root).lock_file)
    stopped = owner is not None and owner.alive and not full
    ballast = fill(root) if full else None
    if stopped and owner is not None:
        os.kill(owner.pid, signal.SIGSTOP)
    watch.trouble.set()
    time.sleep(TROUBLE)
    watch.trouble.clear()
    if ballast is not None:
        ballast.unlink()
    if stopped and owner is not None:
        os.kill(owner.pid, signal.SIGCONT)
    return "full disk" if full else "stopped scheduler" if stopped else "no scheduler"


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
