"""The page of subjects and ``eavdash results`` on studies of many subjects, beside TensorBoard and the MLflow UI.

``python benchmarks/subjects_page.py [--subjects 42,1000] [--others]`` makes simulated studies of that many subjects x
four stages in a temporary folder (``--keep DIR`` keeps them), measures the page's script by Streamlit's AppTest, cold
(a new process) and warm (median of further runs), a run that becomes new, and the command. ``--others``: the same runs
as scalars in TensorBoard and in MLflow, if they are installed, from their start to the data of all runs over HTTP. It
prints one JSON line per study.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eavdash.results.trial_scores import write_scores
from eavdash.store import RunDir, StudyDir
from eavdash.store.atomic import sha256

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))
TEMPLATES = 6  # subjects that are made; the others are copies with other decisions


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--subjects", default="42,1000", help="sizes of the studies (default: %(default)s)")
    options.add_argument("--keep", type=Path, help="folder that keeps the studies for the next time")
    options.add_argument("--repeat", type=int, default=5, help="warm runs of the page (default: %(default)s)")
    options.add_argument("--others", action="store_true", help="measure TensorBoard and MLflow too")
    options.add_argument("--page", type=Path, help=argparse.SUPPRESS)  # in the process that measures the page
    given = options.parse_args()
    if given.page:
        print(json.dumps(page(given.page, given.repeat)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        for count in map(int, given.subjects.split(",")):
            folder = (given.keep or Path(temporary)) / str(count)
            if not folder.exists():
                make(folder, count)
            figures: dict[str, Any] = {"subjects": count, **_child(["--page", str(folder)])}
            command = [sys.executable, "-m", "eavdash", "results", "demo", "--checkpoints", str(folder)]
            figures["results, s"], figures["results, processor s"] = timed([*command, "--format", "csv"])
            if given.others:
                figures |= others(StudyDir(folder / "demo"), Path(temporary) / f"others-{count}")
            print(json.dumps(figures), flush=True)


def make(folder: Path, count: int) -> None:
    """Make a study ``demo`` with ``count`` subjects, 20 test trials of 4 windows each, and baselines."""
    from fake_study import make_study

    names = [str(n + 1) for n in range(count)]
    with tempfile.TemporaryDirectory() as temporary:
        few = make_study(Path(temporary), subjects=names[:TEMPLATES], trials=20, windows=4)
        study = StudyDir(folder / "demo")
        study.path.mkdir(parents=True)
        document = json.loads(few.study_file.read_text())
        document["selection"]["subjects"] = names
        document["dataset"] |= {"trials": 20 * count, "fingerprint": dict.fromkeys(names, "0" * 12)}
        study.study_file.write_text(json.dumps(document))
        splits = pd.read_csv(few.splits_file, dtype=str)
        one = splits[splits["subject"] == "1"]
        pd.concat([one.assign(subject=name) for name in names]).to_csv(study.splits_file, index=False)
        for number, name in enumerate(names):
            template = names[number % TEMPLATES]
            for run in few.runs():
                if run.config().subject == template:
                    _copy(run, study.run(run.name.replace(f"s{int(template):02d}", f"s{int(name):02d}", 1)), name)


def _copy(run: RunDir, to: RunDir, subject: str) -> None:
    to.path.mkdir()
    config = json.loads(run.config_file.read_text())
    config |= {"run": to.name, "subject": subject, "unit": to.name.split("-")[0]}
    config["parents"] = {m: f"{config['unit']}-{m}" for m in config["parents"]}
    to.config_file.write_text(json.dumps(config))
    rng = np.random.default_rng([*to.name.encode()])
    for file in (run.predictions_file, run.baselines_file):
        frame = pd.read_parquet(file).assign(subject=subject)
        p = [c for c in frame.columns if c.startswith("p_")]
        for _, rows in frame.groupby([*[c for c in ("stage",) if c in frame.columns], "trial"]).indices.items():
            if rng.random() < 0.1 + 0.2 * (int(subject) % 3):  # other decisions on some trials
                frame.loc[rows, p] = frame.loc[rows, p].to_numpy()[:, rng.permutation(len(p))]
        frame["predicted"] = np.array([c[2:] for c in p])[frame[p].to_numpy().argmax(axis=1)]
        frame.to_parquet(to.path / file.name, index=False)
    shutil.copy(run.model_file, to.model_file)
    shutil.copy(run.metrics_file, to.metrics_file)
    shutil.copy(run.log_file, to.log_file)
    write_scores(to)
    status = json.loads(run.status_file.read_text())
    names = ("predictions.parquet", "baselines.parquet", "scores.parquet", "model.safetensors")
    status["checksums"] = {n: sha256(to.path / n) for n in names}
    status["sizes"] = {n: (to.path / n).stat().st_size for n in names}
    to.status_file.write_text(json.dumps(status))


def page(folder: Path, repeat: int) -> dict[str, float]:
    """Measure the page in this process: the first run, further ones, and one after a run has become new."""
    os.environ["EAVDASH_CHECKPOINTS"] = str(folder)
    os.chdir(ROOT)
    import eavdash.ui.results.subjects_page  # noqa: F401 - imports are not part of a script's time
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=600)
    found: dict[str, float] = {}

    def run(name: str) -> float:
        wall, cpu = time.perf_counter(), time.process_time()
        app.run()
        found[f"{name}, s"] = round(time.perf_counter() - wall, 3)
        found[f"{name}, processor s"] = round(time.process_time() - cpu, 3)
        assert not app.exception, app.exception[0].stack_trace
        return found[f"{name}, processor s"]

    run("page cold")
    run("page second")
    found["page warm, processor s"] = statistics.median(run("page last") for _ in range(repeat))
    status = next(iter(StudyDir(folder / "demo").runs())).status_file
    status.write_text(status.read_text())
    run("page with a new run")
    return found


def others(study: StudyDir, folder: Path) -> dict[str, float]:
    """Measure from the start of TensorBoard and of the MLflow UI to the scalars of all runs over HTTP."""
    found: dict[str, float] = {}
    rows = [(run.name, run.metrics(), run.status().accuracy or 0.0) for run in study.runs()]
    if importlib.util.find_spec("tensorboard"):
        found["TensorBoard, s"] = _tensorboard(rows, folder / "tensorboard")
    if importlib.util.find_spec("mlflow"):
        found["MLflow, s"] = _mlflow(rows, folder / "mlflow")
    return found


def _tensorboard(rows: Sequence[tuple[str, list[dict[str, Any]], float]], folder: Path) -> float:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    for name, metrics, accuracy in rows:
        writer = EventFileWriter(str(folder / name))
        for line in [*metrics, {"epoch": 1, "test": accuracy}]:
            values = [Summary.Value(tag=k, simple_value=v) for k, v in line.items() if k != "epoch"]
            writer.add_event(Event(step=line["epoch"], wall_time=time.time(), summary=Summary(value=values)))
        writer.close()
    port = _port()
    command = ["-m", "tensorboard.main", "--logdir", str(folder), "--port", str(port), "--load_fast=false"]
    address = f"http://127.0.0.1:{port}/data/plugin/scalars/tags"
    return _until(command, lambda: len(json.load(urllib.request.urlopen(address))) >= len(rows))


def _mlflow(rows: Sequence[tuple[str, list[dict[str, Any]], float]], folder: Path) -> float:
    import mlflow
    from mlflow.entities import Metric

    folder.mkdir(parents=True)
    store = f"sqlite:///{folder / 'runs.db'}"
    client = mlflow.MlflowClient(tracking_uri=store)
    experiment = client.create_experiment("demo")
    for name, metrics, accuracy in rows:
        run = client.create_run(experiment, run_name=name)
        lines = [*metrics, {"epoch": 1, "test": accuracy}]
        values = [Metric(k, float(v), 0, line["epoch"]) for line in lines for k, v in line.items() if k != "epoch"]
        client.log_batch(run.info.run_id, metrics=values)
    port = _port()
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
                return count >= len(rows)

    return _until(command, listed)


def _until(command: list[str], done: Any) -> float:
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.monotonic() - started < 600 and process.poll() is None:
            try:
                if done():
                    return round(time.monotonic() - started, 2)
            except OSError:
                time.sleep(0.1)
        return float("nan")
    finally:
        process.terminate()
        process.wait()


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _child(arguments: list[str]) -> dict[str, Any]:
    made = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(made.stdout.splitlines()[-1])
    return found


def timed(command: list[str]) -> tuple[float, float]:
    """Return elapsed and processor time of a command."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return round(time.monotonic() - started, 2), round(used, 2)


if __name__ == "__main__":
    main()
