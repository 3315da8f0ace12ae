"""Exports to TensorBoard and MLflow, opened again with their own readers; what is not installed is skipped."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import socket
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from failing import fails
from fake_study import make_study

from eavdash.cli.main import main
from eavdash.errors import UsageError
from eavdash.report.trackers import event_files, mlflow_store
from eavdash.report.trackers.record import record
from eavdash.store import StudyDir, unit_name

HOSTILE = "Zoé & 50% $x_1$ <b>|`"
needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed (the extra of that name)"
)
needs_mlflow = pytest.mark.skipif(
    not (importlib.util.find_spec("mlflow") and importlib.util.find_spec("alembic")),
    reason="mlflow-skinny is not installed (the extra mlflow)",
)


@pytest.fixture
def study(tmp_path: Path) -> StudyDir:
    """A failed run, one that goes on, and one whose predictions are damaged."""
    made = make_study(
        tmp_path / "c",
        subjects=("1", HOSTILE),
        stages=("vision", "fusion"),
        seeds=(0, 1),
        states={"s01-vision-seed1": "failed", "s01-fusion-seed1": "running"},
        protocol="paper",
    )
    made.run(f"{unit_name(HOSTILE)}-fusion-seed1").predictions_file.write_bytes(b"damaged")
    return made


def export(study: StudyDir, to: str, folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    words = ["export", study.name, "--to", to, "--output", str(folder), "--checkpoints", str(study.path.parent)]
    assert main([*words, "--json", *more]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def accuracies(study: StudyDir, run: str) -> tuple[float, float]:
    """Return the accuracy per trial and per window of a run's test rows, by pandas alone."""
    rows = pd.read_parquet(study.run(run).predictions_file)
    rows = rows[(rows["split"] == "test") & (rows["frame"] == -1)]
    p = [c for c in rows.columns if c.startswith("p_")]
    logs = rows.groupby(["trial", "label"])[p].agg(lambda x: x.map(math.log).mean())
    trial = (logs.idxmax(axis=1).str.removeprefix("p_") == logs.index.get_level_values("label")).mean()
    return float(trial), float((rows["label"] == rows["predicted"]).mean())


@needs_tensorboard
def test_tensorboard_shows_what_the_study_has_and_nothing_twice(
    study: StudyDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    def opened(run: str) -> Any:
        return EventAccumulator(str(tmp_path / "tb" / "demo" / run)).Reload()

    found = export(study, "tensorboard", tmp_path / "tb", capsys)
    assert (found["new"], found["replaced"], found["kept"], found["left_out"]) == (7, 0, 0, {"running": 1})
    assert len(found["problems"]) == 1
    good = opened("s01-vision-seed0")
    trial, window = accuracies(study, "s01-vision-seed0")
    assert good.Scalars("scores/trial/accuracy")[0].value == pytest.approx(trial)
    assert good.Scalars("scores/window/accuracy")[0].value == pytest.approx(window)
    lines = study.run("s01-vision-seed0").metrics()
    assert [(e.step, e.value) for e in good.Scalars("validation/loss")] == [
        (line["epoch"], pytest.approx(line["validation_loss"])) for line in lines
    ]
    text = good.Tensors("about/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "optimistic" in text
    assert "predictions.parquet.sha256" in text.replace("\\", "")
    data = good.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    hparams = plugin_data_pb2.HParamsPluginData.FromString(data).session_start_info.hparams
    assert (hparams["stage"].string_value, hparams["seed"].number_value) == ("vision", 0)
    assert opened("s01-vision-seed1").Tags()["scalars"]  # a failed run keeps its epochs
    damaged = opened(f"{unit_name(HOSTILE)}-fusion-seed1")
    assert not [tag for tag in damaged.Tags()["scalars"] if tag.startswith("scores/")]
    whole = opened("study")
    assert whole.Scalars("average/vision/trial/subjects")[0].value == 2
    assert "SIMULATED" in whole.Tensors("about/text_summary")[0].tensor_proto.string_val[0].decode()
    table = pd.read_csv(tmp_path / "tb" / "demo" / "study" / "scores-trial.csv", dtype={"subject": str})
    assert set(table["subject"]) == {"1", HOSTILE}
    assert {"protocol", "marks", "simulated", "schema"} <= {*table.columns}

    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "tb").rglob("events*")}
    assert export(study, "tensorboard", tmp_path / "tb", capsys)["kept"] == 7
    assert files == {p: p.stat().st_mtime_ns for p in (tmp_path / "tb").rglob("events*")}
    run = study.run("s01-fusion-seed0")  # trained again: its epochs differ
    run.metrics_file.write_text('{"epoch": 1, "loss": 0.5}\n')
    changed = export(study, "tensorboard", tmp_path / "tb", capsys)
    assert (changed["new"], changed["replaced"], changed["kept"]) == (0, 1, 6)
    assert [e.value for e in opened("s01-fusion-seed0").Scalars("train/loss")] == [0.5]
    copied = export(study, "tensorboard", tmp_path / "tb", capsys, "--copy")
    assert copied["replaced"] == 5  # those that are done and whole
    place = tmp_path / "tb" / "demo" / "s01-vision-seed0" / "predictions.parquet"
    assert place.read_bytes() == study.run("s01-vision-seed0").predictions_file.read_bytes()


@needs_tensorboard
def test_tensorboard_spares_what_others_have_written(
    study: StudyDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "demo", "--to", "tensorboard", "--output", str(tmp_path / "tb"), "--checkpoints"]
    mine = tmp_path / "tb" / "demo" / "s01-vision-seed0"
    mine.mkdir(parents=True)
    (mine / "notes.txt").write_text("mine")
    assert main([*words, str(study.path.parent)]) == 2
    assert (mine / "notes.txt").read_text() == "mine"
    assert "move it elsewhere" in capsys.readouterr().err
    mine.rename(tmp_path / "elsewhere")
    assert main([*words, str(study.path.parent)]) == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "tb" / ".eavdash-unfinished").symlink_to(tmp_path / "mine")
    study.run("s01-vision-seed0").update(reason="changed")
    assert main([*words, str(study.path.parent), "--copy"]) == 0
    assert not list((tmp_path / "mine").iterdir())
    other = make_study(tmp_path / "d", subjects=("1",), stages=("vision",), dataset="/elsewhere")
    assert main([*words, str(other.path.parent)]) == 2
    assert "not of this study" in capsys.readouterr().err


@needs_mlflow
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of MLflow's own libraries
def test_mlflow_shows_what_the_study_has_and_nothing_twice(
    study: StudyDir, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    folder = tmp_path / "of mlflow"
    found = export(study, "mlflow", folder, capsys)
    assert (found["new"], found["left_out"]) == (7, {"running": 1})
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("demo").experiment_id

    def runs() -> dict[str, Any]:
        return {run.info.run_name: run for run in client.search_runs([experiment])}

    every = runs()
    assert len(every) == 8
    parent, good = every["study"], every["s01-vision-seed0"]
    trial, window = accuracies(study, "s01-vision-seed0")
    assert good.data.metrics["scores/trial/accuracy"] == pytest.approx(trial)
    assert good.data.metrics["scores/window/accuracy"] == pytest.approx(window)
    history = client.get_metric_history(good.info.run_id, "validation/loss")
    lines = study.run("s01-vision-seed0").metrics()
    assert [(m.step, m.value) for m in history] == [(line["epoch"], line["validation_loss"]) for line in lines]
    assert good.data.params["protocol.name"] == "paper"
    assert good.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (good.data.tags["eavdash.simulated"], good.data.tags["eavdash.protocol"]) == ("True", "paper")
    assert "optimistic" in good.data.tags["eavdash.marks"]
    assert every["s01-vision-seed1"].info.status == "FAILED"
    assert "SIMULATED" in parent.data.tags["mlflow.note.content"]
    assert parent.data.metrics["average/vision/trial/subjects"] == 2
    table = pd.read_csv(client.download_artifacts(parent.info.run_id, "scores-trial.csv"), dtype={"subject": str})
    assert set(table["subject"]) == {"1", HOSTILE}

    assert export(study, "mlflow", folder, capsys)["kept"] == 7
    assert {n: r.info.run_id for n, r in runs().items()} == {n: r.info.run_id for n, r in every.items()}
    client.delete_tag(every["s01-fusion-seed0"].info.run_id, "eavdash.digest")  # as if it had been interrupted
    assert export(study, "mlflow", folder, capsys)["replaced"] == 1
    assert len(runs()) == 8
    copied = export(study, "mlflow", folder, capsys, "--copy")
    assert copied["replaced"] == 5
    names = {file.path for file in client.list_artifacts(runs()["s01-vision-seed0"].info.run_id)}
    assert names == {"predictions.parquet", "baselines.parquet", "scores.parquet"}
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "mlflow.db").write_bytes(b"no database, but long enough to be read as one" * 50)
    words = ["export", "demo", "--to", "mlflow", "--output", str(tmp_path / "bad"), "--checkpoints"]
    assert main([*words, str(study.path.parent)]) == 1
    assert "a database of MLflow" in capsys.readouterr().err


def test_only_tables_of_the_run_that_are_there_are_copied(study: StudyDir, tmp_path: Path) -> None:
    """A status of somebody else's may name any path."""
    run = study.run("s01-vision-seed0")
    (tmp_path / "c" / "other.parquet").write_bytes(b"not of the run")
    names = ["../../other.parquet", str(tmp_path / "c" / "other.parquet"), "gone.parquet", "pipe.parquet"]
    os.mkfifo(run.path / "pipe.parquet")
    run.update(checksums={**run.status().checksums, **dict.fromkeys(names, "0" * 64)})
    found = record(study)
    (tracked,) = (each for each in found.runs if each.name == run.name)
    assert set(tracked.files) == {name for name in run.status().checksums if name.endswith(".parquet")} - set(names)
    assert all(any(f"{name}: expected a table of the run, found" in said for said in found.problems) for name in names)


@pytest.mark.parametrize("name", ["a?b", "a%41", "by\udcff"])
def test_a_folder_that_mlflow_would_take_for_another_is_refused(name: str, tmp_path: Path) -> None:
    with fails(UsageError, where="--output", expected="without ? and %", remedy="choose another --output"):
        mlflow_store.check_place(tmp_path / name)
    mlflow_store.check_place(tmp_path / "ü # &")


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(file)) as opened:
        opened.execute("CREATE TABLE runs (distance)")
    before = file.read_bytes()
    with fails(UsageError, where=str(file), expected="a database of MLflow", found="another program's"):
        mlflow_store.check_place(tmp_path)
    assert file.read_bytes() == before
    file.unlink()
    file.mkdir()
    with fails(UsageError, where=str(file), expected="a database of MLflow", found="no file"):
        mlflow_store.check_place(tmp_path)


def test_a_lock_that_is_no_file_is_named(
    study: StudyDir, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_files, "require", lambda: None)
    os.mkfifo(tmp_path / ".eavdash.lock")
    words = ["export", "demo", "--to", "tensorboard", "--output", str(tmp_path), "--checkpoints"]
    assert main([*words, str(study.path.parent)]) == 2
    assert "expected a file of its own, found no regular file" in capsys.readouterr().err


@pytest.mark.parametrize(("to", "module"), [("mlflow", "mlflow"), ("tensorboard", "tensorboard")])
def test_a_missing_extra_is_named_before_any_work(
    to: str, module: str, study: StudyDir, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    words = ["export", "demo", "--to", to, "--output", str(tmp_path / "x"), "--checkpoints", str(study.path.parent)]
    assert main(words) == 2
    assert capsys.readouterr().err.strip().endswith(f"pip install 'eavdash[{to}]'.")
    assert not (tmp_path / "x").exists()
