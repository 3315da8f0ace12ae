"""Queue operations on a study of many runs: submit, list, run, cancel, and the size of the database.

``python benchmarks/many_runs.py [--runs 10000] [--seconds 60]`` plans that many runs (subjects x four stages x seeds)
in a temporary folder, computed by the tests' stand-in worker, which does not load torch. It prints one JSON line and a
table. Times are those of whole calls, as made by the page and the command line; on a shared machine compare processor
times, which are those of the calling process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eavdash.config.choices import MODALITIES
from eavdash.jobs.queue import cancel, pause, prioritise, resume, submit
from eavdash.jobs.queue_database import queue_database
from eavdash.jobs.snapshot import snapshot
from eavdash.store import StudyDir, locks
from eavdash.store.record import write_record

TESTS = Path(__file__).resolve().parents[1] / "tests"
STANDIN = TESTS / "jobs" / "standin_worker.py"
sys.path.insert(0, str(TESTS / "helpers"))

from documents import run_config, study_document  # noqa: E402


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=10_000, help="number of runs (default: %(default)s)")
    options.add_argument("--seconds", type=float, default=60, help="duration of computing runs (default: %(default)s)")
    given = options.parse_args()
    os.environ |= {"EAVDASH_WORKER": f"{sys.executable} -P {STANDIN}", "EAVDASH_IDLE": "2"}
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(StudyDir(Path(folder) / "many"), given.runs, given.seconds)
    print(json.dumps(figures))
    for name, value in figures.items():
        print(f"{name:32} {value}")


def measure(study: StudyDir, runs: int, seconds: float) -> dict[str, Any]:
    """Measure the operations on one study."""
    figures: dict[str, Any] = {"runs": make(study, runs)}
    figures |= costs("submit", lambda: submit(study))
    figures |= costs("submit again", lambda: submit(study))
    started, before = time.monotonic(), time.process_time()
    polls = []
    while time.monotonic() - started < seconds:
        polls.append(timed(lambda: snapshot(study)))
        time.sleep(2)
    table = snapshot(study)
    done = int((table["state"] == "done").sum())
    figures["list while runs end, s, median"] = round(statistics.median(polls), 3)
    figures["list, processor s per poll"] = round((time.process_time() - before) / len(polls), 3)
    figures["runs done per minute"] = round(60 * done / seconds, 1)
    scheduler = locks.owner(queue_database(study.path.parent).lock_file)
    if scheduler is not None:
        figures |= _process(scheduler.pid)
    figures |= costs("prioritise all", lambda: prioritise(study, None, 1))
    figures |= costs("pause", lambda: pause(study))
    figures |= costs("resume", lambda: resume(study))
    figures |= costs("cancel all", lambda: cancel(study))
    ended = time.monotonic()
    while not bool(snapshot(study)["ended"].all()) and time.monotonic() - ended < 120:
        time.sleep(0.2)
    figures["until all are cancelled, s"] = round(time.monotonic() - ended, 2)
    launches = (study.path / "launches.txt").read_text().split("\n")
    names = [line.split()[0] for line in launches if line]
    figures["launched twice"] = len(names) - len(set(names))
    files = list((study.path.parent / ".queue").glob("queue.sqlite*"))
    figures["database, MB"] = round(sum(f.stat().st_size for f in files) / 1e6, 1)
    return figures


def make(study: StudyDir, count: int) -> int:
    """Plan about ``count`` runs, an encoder per modality and their fusion for each subject and seed."""
    study.path.mkdir(parents=True)
    write_record(study.study_file, study_document(study.name))
    made = 0
    seeds = max(1, -(-count // (42 * 4)))
    for subject in range(1, 43):
        for seed in range(seeds):
            scope = f"s{subject:02d}"
            parents = {m: f"{scope}-{m}-seed{seed}" for m in MODALITIES}
            for stage in (*MODALITIES, "fusion"):
                if made >= count:
                    return made
                run = study.run(f"{scope}-{stage}-seed{seed}")
                needed = parents if stage == "fusion" else {}
                run.create(run_config(run.name, seed=seed, parents=needed, standin={"epochs": 1, "seconds": 0.0}))
                made += 1
    return made


def timed(call: Callable[[], Any]) -> float:
    """Return the duration of a call in seconds."""
    started = time.monotonic()
    call()
    return round(time.monotonic() - started, 3)


def costs(name: str, call: Callable[[], Any]) -> dict[str, float]:
    """Return the duration of a call, and the processor time of this process, in seconds."""
    before = time.process_time()
    return {f"{name}, s": timed(call), f"{name}, processor s": round(time.process_time() - before, 2)}


def _process(pid: int) -> dict[str, Any]:
    import psutil

    process = psutil.Process(pid)
    with process.oneshot():
        return {
            "scheduler, MB": round(process.memory_info().rss / 1e6),
            "scheduler, threads": process.num_threads(),
            "scheduler, processor s": round(process.cpu_times().user + process.cpu_times().system, 1),
        }


if __name__ == "__main__":
    main()
