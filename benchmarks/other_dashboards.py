"""TensorBoard and the MLflow UI on the runs of a study, from their start to the data of all runs over HTTP.

``python other_dashboards.py FOLDER``: FOLDER has ``runs.json``, a list of name, lines of metrics and test accuracy.
It needs tensorboard and mlflow, which eavdash does not, and prints one JSON line; ``subjects_page.py`` calls it.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

Runs = list[tuple[str, list[dict[str, Any]], float]]


def main() -> None:
    folder = Path(sys.argv[1])
    runs: Runs = json.loads((folder / "runs.json").read_text())
    found = {"TensorBoard, s": tensorboard(runs, folder / "tensorboard"), "MLflow UI, s": mlflow(runs, folder)}
    print(json.dumps(found))


def scalars(metrics: list[dict[str, Any]], accuracy: float) -> list[tuple[int, str, float]]:
    """Return step, name and value of all scalars of a run."""
    lines = [*metrics, {"epoch": 1, "test": accuracy}]
    return [(line["epoch"], name, float(value)) for line in lines for name, value in line.items() if name != "epoch"]


def tensorboard(runs: Runs, folder: Path) -> float:
    """Return the seconds until TensorBoard lists the scalars of all runs."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    for name, metrics, accuracy in runs:
        writer = EventFileWriter(str(folder / name))
        for step, tag, value in scalars(metrics, accuracy):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.add_event(Event(step=step, wall_time=time.time(), summary=summary))
        writer.close()
    port = free_port()
    command = ["-m", "tensorboard.main", "--logdir", str(folder), "--port", str(port), "--load_fast=false"]
    address = f"http://127.0.0.1:{port}/data/plugin/scalars/tags"
    return until(command, lambda: len(json.load(urllib.request.urlopen(address))) >= len(runs))


def mlflow(runs: Runs, folder: Path) -> float:
    """Return the seconds until the MLflow UI's server has listed all runs with their last metrics."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    store = f"sqlite:///{folder / 'runs.db'}"
    client = MlflowClient(tracking_uri=store)
    experiment = client.create_experiment("demo")
    for name, metrics, accuracy in runs:
        run = client.create_run(experiment, run_name=name)
        client.log_batch(run.info.run_id, [Metric(t, v, 0, step) for step, t, v in scalars(metrics, accuracy)])
    port = free_port()
    command = ["-m", "mlflow", "ui", "--backend-store-uri", store, "--port", str(port), "--workers", "1"]

    def listed() -> bool:
        count, token = 0, ""
        while True:
            body = json.dumps({"experiment_ids": [experiment], "max_results": 1000, "page_token": token}).encode()
            address = f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/search"
            request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
            answer = json.load(urllib.request.urlopen(request))
            count, token = count + len(answer.get("runs", [])), answer.get("next_page_token", "")
            if not token:
                return count >= len(runs)

    return until(command, listed)


def until(command: list[str], done: Callable[[], bool]) -> float:
    """Start a server and return the seconds until ``done``; NaN if it ends or takes ten minutes."""
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.monotonic() - started < 600 and process.poll() is None:
            try:
                if done():
                    return round(time.monotonic() - started, 2)
            except OSError:
                pass
            time.sleep(0.1)
        return float("nan")
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """Return a port that is free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    main()
