"""How Python processes of this package are started."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import eavdash
from eavdash.store import processes
from eavdash.store.processes import THREAD_VARIABLES, python_environment, python_module, with_package

HOME = Path(eavdash.__file__).resolve().parents[1]


def test_a_process_imports_this_copy_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a package of that name nor a library's name in the working directory takes its place."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "eavdash").mkdir()
    for name in ("eavdash/__init__.py", "argparse.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong one')\n", encoding="utf-8")
    command = python_module("eavdash", "--version")
    done = subprocess.run(command, cwd=tmp_path, env=python_environment(1), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert eavdash.__version__ in done.stdout


def test_variables_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("PYTHONPATH", f"/elsewhere:{HOME}")
    as_here = python_environment(GIVEN="x")
    assert {key: as_here[key] for key in ("GIVEN", "OMP_NUM_THREADS", "PYTHONPATH")} == {
        "GIVEN": "x",
        "OMP_NUM_THREADS": "7",
        "PYTHONPATH": f"{HOME}:/elsewhere",
    }
    assert {python_environment(2)[name] for name in THREAD_VARIABLES} == {"2"}


def test_an_installed_copy_does_not_come_before_the_standard_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_HOME", Path("/usr/lib/python3/site-packages"))
    assert with_package({"PYTHONPATH": "/elsewhere"})["PYTHONPATH"] == "/elsewhere"
