"""Execution settings from the command line to the training loop, and the benchmarks."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from eavdash.cli.main import main
from eavdash.config.schema import Execution
from eavdash.jobs import worker

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_options_become_the_execution(monkeypatch):
    from eavdash.jobs import queue
    from eavdash.studies import write

    seen = []

    class Plan:
        study, runs = SimpleNamespace(name="x"), ()

    monkeypatch.setattr(write, "prepare", lambda *args, **options: Plan)
    monkeypatch.setattr(queue, "submit", lambda study, runs, execution: seen.append(execution))
    monkeypatch.setattr("eavdash.cli.console.print_plan", lambda plan: None)
    command = ["train", "data", "--study", "x", "--device", "cpu", "--compile", "--memory", "3.5"]
    assert main(command) == 0
    assert seen == [Execution(device="cpu", compile=True, memory=3.5)]


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1e400"])
def test_a_negative_memory_limit_is_refused(capsys, value):
    assert main(["train", "data", "--study", "x", "--memory", value]) == 2
    error = capsys.readouterr().err
    assert "eavdash: --memory: " in error
    assert f"found {float(value)};" in error


def test_the_worker_passes_it_to_the_training(monkeypatch):
    seen = {}
    monkeypatch.setattr("eavdash.training.run.train_run", lambda run, phase, **given: seen.update(given))
    ignore = lambda *_: None  # noqa: E731  # of phases
    worker._train(
        None, {"device": "cpu", "threads": None, "compile": True, "memory": 2.0, "of another version": 1}, ignore
    )
    assert seen == {"device": "cpu", "threads": 1, "execution": Execution(device="cpu", compile=True, memory=2.0)}
    worker._train(None, {}, ignore)
    assert seen["execution"] == Execution()


@pytest.mark.parametrize(
    ("name", "arguments", "key"),
    [
        ("stage_one", ["--size", "tiny", "--steps", "1"], "rows"),
        ("throughput", ["--models", "vision:tiny,audio:tiny", "--steps", "1"], "peak_gflops"),
        ("paper_gpu", [], "skipped"),
    ],
)
def test_benchmarks_print_one_json_line_and_a_table(monkeypatch, capsys, name, arguments, key):
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    if name == "paper_gpu":
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if name == "throughput":
        import machine  # type: ignore[import-not-found]

        monkeypatch.setattr(machine, "matmul_peak", lambda *args: 1e9)
    runpy.run_path(str(BENCHMARKS / f"{name}.py"), run_name="__main__")
    first, *table = capsys.readouterr().out.splitlines()
    found = json.loads(first)
    assert found["benchmark"] == name
    assert found[key]
    assert table
    for row in found.get("rows", []):
        assert row.get("head_phase_ratio", 1) > 0
        assert row.get("of_peak", 1) > 0


@pytest.mark.parametrize(("option", "value"), [("--threads", "99999"), ("--ram", "inf")])
def test_numbers_beyond_any_machine_are_refused(capsys, option, value):
    assert main(["train", "data", "--study", "x", option, value]) == 2
    assert value in capsys.readouterr().err
