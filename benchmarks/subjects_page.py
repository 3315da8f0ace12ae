"""The page of subjects and ``eavdash results`` on studies of many subjects, beside TensorBoard and the MLflow UI.

``python benchmarks/subjects_page.py [--subjects 42,1000] [--others]`` makes simulated studies of that many subjects x
four stages in a temporary folder (``--keep DIR`` keeps them), measures the page's script by Streamlit's AppTest, cold
(a new process) and warm (median of further runs), a run that becomes new, and the command. ``--others PYTHON``: the
same runs in TensorBoard and the MLflow UI, in the environment of that interpreter. It prints one JSON line per study.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from eavdash.store import RunDir, StudyDir
from eavdash.store.atomic import sha256

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))
TEMPLATES = 6  # subjects that are made; the others are copies of them under other names


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--subjects", default="42,1000", help="sizes of the studies (default: %(default)s)")
    options.add_argument("--keep", type=Path, help="folder that keeps the studies for the next time")
    options.add_argument("--repeat", type=int, default=5, help="warm runs of the page (default: %(default)s)")
    options.add_argument("--others", help="a python that has tensorboard and mlflow, to measure them too")
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
                figures |= others(StudyDir(folder / "demo"), Path(temporary) / f"others-{count}", given.others)
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
        templates = [_Template(run) for run in few.runs()]
        for number, name in enumerate(names):
            for template in templates:
                if template.config["subject"] == names[number % TEMPLATES]:
                    template.copy_to(study, name)


class _Template:
    """A made run, whose files are copied under the name of another subject."""

    def __init__(self, run: RunDir) -> None:
        self.config, self.status = (json.loads(file.read_text()) for file in (run.config_file, run.status_file))
        files = (run.predictions_file, run.baselines_file, run.scores_file)
        self.tables = {file.name: pq.read_table(file) for file in files}
        self.others = {file.name: file.read_bytes() for file in (run.model_file, run.metrics_file, run.log_file)}

    def copy_to(self, study: StudyDir, subject: str) -> None:
        unit = f"s{int(subject):02d}"
        run = study.run(f"{unit}-{self.config['stage']}")
        run.path.mkdir()
        parents = {m: f"{unit}-{m}" for m in self.config["parents"]}
        config = {**self.config, "run": run.name, "subject": subject, "unit": unit, "parents": parents}
        run.config_file.write_text(json.dumps(config))
        for name, content in self.others.items():
            (run.path / name).write_bytes(content)
        sums: dict[str, str] = {}
        for name, table in self.tables.items():
            place = table.column_names.index("subject")
            named = table.set_column(place, "subject", pa.array([subject] * table.num_rows))
            if name == run.scores_file.name:
                facts = {**json.loads(table.schema.metadata[b"eavdash"]), "of": sums, "scope": (unit, 0, 0)}
                named = named.replace_schema_metadata({b"eavdash": json.dumps(facts).encode()})
            pq.write_table(named, run.path / name)
            sums = {**sums, name: sha256(run.path / name)}
        sums["model.safetensors"] = sha256(run.model_file)
        sizes = {name: (run.path / name).stat().st_size for name in sums}
        run.status_file.write_text(json.dumps({**self.status, "checksums": sums, "sizes": sizes}))


def page(folder: Path, repeat: int) -> dict[str, float]:
    """Measure the page in this process: the first run, further ones, and one after a run has become new."""
    os.environ["EAVDASH_CHECKPOINTS"] = str(folder)
    os.chdir(ROOT)
    from streamlit.testing.v1 import AppTest

    importlib.import_module("eavdash.ui.results.subjects_page")  # imports are not part of a script's time
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=600)
    app.switch_page("pages/results/subjects.py")
    found: dict[str, float] = {}

    def run(name: str) -> float:
        wall, cpu = time.perf_counter(), time.process_time()
        app.run()
        found[f"{name}, s"] = round(time.perf_counter() - wall, 3)
        found[f"{name}, processor s"] = round(time.process_time() - cpu, 3)
        assert not app.exception, app.exception[0].stack_trace
        assert app.title[0].value == "Accuracy per subject"
        return found[f"{name}, processor s"]

    run("page cold")
    run("page second")
    found["page warm, processor s"] = statistics.median(run("page last") for _ in range(repeat))
    status = next(iter(StudyDir(folder / "demo").runs())).status_file
    status.write_text(status.read_text())
    run("page with a new run")
    return found


def others(study: StudyDir, folder: Path, python: str) -> dict[str, float]:
    """Measure TensorBoard and the MLflow UI on the same runs, in the environment of ``python``."""
    folder.mkdir(parents=True)
    runs = [(run.name, run.metrics(), run.status().accuracy or 0.0) for run in study.runs()]
    (folder / "runs.json").write_text(json.dumps(runs))
    script = Path(__file__).with_name("other_dashboards.py")
    made = subprocess.run([python, script, folder], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(made.stdout.splitlines()[-1])
    return found


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
