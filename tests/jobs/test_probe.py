"""The probe of a cluster's nodes: what runs there, run here, and what its answer means."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from eavdash.jobs.executors.probe import Probe, prepared, printed
from eavdash.store import locks
from eavdash.store.processes import with_package


@pytest.fixture
def probe(tmp_path: Path) -> Iterator[Probe]:
    with prepared(tmp_path) as made:
        yield made
    assert not list((tmp_path / ".queue").iterdir())


def ask(probe: Probe, gpu: bool = False, **environment: str) -> str:
    """Run the job of a node here; return its answer."""
    env = with_package({**os.environ, **environment})
    done = subprocess.run(probe.command(1, gpu), capture_output=True, text=True, env=env)
    answer = probe.answer(1) if done.returncode == 0 else printed(done.stdout)
    assert answer is not None
    return answer


def test_a_node_like_this_one_has_no_problem(probe: Probe) -> None:
    assert probe.answer(1) is None
    assert probe.problems("n1", ask(probe)) == []
    assert sorted(json.loads(ask(probe))) == ["eavdash", "numpy", "python", "torch"]


def test_a_node_that_does_not_see_the_lock_is_reported(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "acquire", lambda path: None)
    with prepared(probe.root) as unlocked:
        (problem,) = unlocked.problems("n1", ask(unlocked))
    assert "locks" in problem


def test_a_node_without_the_storage_is_reported(probe: Probe, tmp_path: Path) -> None:
    elsewhere = tmp_path / "none" / "question"
    for other, found in (
        (dataclasses.replace(probe, question=elsewhere), "No such file or directory"),
        (dataclasses.replace(probe, nonce="another"), "another folder of that name"),
    ):
        (problem,) = probe.problems("n1", ask(other))
        assert str(tmp_path) in problem
        assert found in problem
    probe.file(1).mkdir()  # it can be read but not written
    (problem,) = probe.problems("n1", ask(probe))
    assert "found Is a directory" in problem
    probe.file(1).rmdir()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"torch": "0.1"}, "found torch 0.1"),
        ({"python": "3.8.1"}, "found python 3.8.1"),
        ({"eavdash": "x"}, "the same eavdash"),
        ({"missing": "No module named 'eavdash'"}, "No module named"),
        ({"gpu": False}, "a GPU that torch can use"),
    ],
)
def test_a_node_with_another_environment_is_reported(probe: Probe, change: dict[str, object], expected: str) -> None:
    (problem,) = probe.problems("n1", json.dumps(json.loads(ask(probe)) | change))
    assert expected in problem


def test_a_gpu_is_looked_for_only_if_it_is_needed(probe: Probe) -> None:
    (problem,) = probe.problems("n1", ask(probe, gpu=True, CUDA_VISIBLE_DEVICES=""))
    assert "a GPU that torch can use" in problem


def test_the_last_line_of_a_job_that_could_not_start_is_its_problem(probe: Probe) -> None:
    (problem,) = probe.problems("n1", printed("x\nsh: 1: exec: python: not found\n\n"))
    assert "found sh: 1: exec: python: not found;" in problem
    assert printed("") == "nothing"
