"""How long a run takes before and around its training: workers started by their command against forked ones.

``python benchmarks/run_start.py [--runs 6]`` makes short sounds in a temporary folder and trains a small encoder on
them, in turn by a worker that is started and by one that is forked from the preloaded process (jobs/preload.py), with
the windows in the cache. It prints one JSON line and a table: seconds from the start of the worker to its first epoch,
processor seconds of the whole worker, and whether the weights are the same.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Execution, Selection
from eavdash.jobs.executors import Leases
from eavdash.jobs.executors.local import LocalExecutor, worker_environment
from eavdash.store import RunDir
from eavdash.studies.write import prepare

REPO = Path(__file__).resolve().parents[1]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=6, help="of each kind (default: %(default)s)")
    given = options.parse_args()
    os.environ.pop("EAVDASH_WORKER", None)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), given.runs)
    print(json.dumps(figures))
    for name, value in figures.items():
        print(f"{name:40} {value}")


def measure(folder: Path, count: int) -> dict[str, Any]:
    """Return the figures of ``count`` runs of each kind, in turn."""
    sys.path.insert(0, str(REPO / "tests" / "helpers"))
    from short_sounds import table

    config = with_settings(preset("quick"), ["stages=audio", "train.audio.epochs=3"])
    seeds = tuple(range(2 * count + 1))
    study = prepare(table(folder, 1), "s", config, Selection((), (0,), seeds), folder / "c").study
    runs = study.runs()
    started, forked = LocalExecutor(), LocalExecutor()
    started.preloaded.launch = lambda environment: None  # type: ignore[method-assign]
    begun = time.monotonic()
    forked.preloaded.launch(worker_environment(1))
    while not forked.preloaded.ready:
        time.sleep(0.01)
    figures: dict[str, Any] = {"preloading, s": round(time.monotonic() - begun, 2)}
    one(started, runs[0])  # fills the cache of windows
    seconds: dict[str, list[float]] = {"started": [], "forked": []}
    for number in range(count):
        seconds["started"].append(one(started, runs[1 + 2 * number]))
        seconds["forked"].append(one(forked, runs[2 + 2 * number]))
    for name, values in seconds.items():
        figures[f"{name}: to the first epoch, s, median"] = round(statistics.median(values), 2)
    figures["ratio"] = round(statistics.median(seconds["forked"]) / statistics.median(seconds["started"]), 2)
    figures["processor s of started workers, each"] = round(
        resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime / (count + 1), 2
    )
    forked.preloaded.close()
    return figures


def one(executor: LocalExecutor, run: RunDir) -> float:
    """Compute a run; return the seconds from its start to its first epoch."""
    begun = time.time()
    job = executor.start(run, Execution(device="cpu"), Leases(), lambda: run.transition("running", attempt=1))
    first = 0.0
    while (ended := executor.poll(job)) is None:
        if not first and (rows := run.metrics()):
            first = run.metrics_file.stat().st_mtime - rows[0]["seconds"]
        time.sleep(0.005)
    assert ended.code == 0, run.log_file.read_text()
    return (first or run.metrics_file.stat().st_mtime - sum(row["seconds"] for row in run.metrics())) - begun


if __name__ == "__main__":
    main()
