"""The common suite of all executors on a real SLURM of one node, and tests of preemption, lost nodes and reasons."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import Lab, change_standin, expected_weights
from scenarios import *  # noqa: F403
from scenarios import ExecutorCase
from slurm_cluster import Cluster, missing

from eavdash.config.schema import Execution
from eavdash.jobs.executors import NOTE, probe
from eavdash.jobs.executors.slurm import SlurmExecutor
from eavdash.jobs.queue import cancel, ensure_scheduler, submit
from eavdash.store import RunDir
from eavdash.store.processes import with_package

pytestmark = pytest.mark.slurm
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "cluster.md"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if missing():
        pytest.skip("SLURM is not installed (make test-slurm)")
    made = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        made.open()
        yield made
    finally:
        left = made.close()
    assert left == []


@pytest.fixture
def slurm(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The cluster, for this process and its children; without jobs before and after the test."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    yield cluster
    for name in ("slurmctld", "slurmd"):
        if not cluster.runs(name):
            cluster.start(name)
    cluster.until_ready()
    cluster.empty()


@pytest.fixture
def case(slurm: Cluster, lab: Lab) -> ExecutorCase:
    def end(run: RunDir) -> None:
        assert slurm.command("scancel", "--verbose", f"--name={run.status().job.name}") is not None

    def jobs() -> list[str]:
        return slurm.command("squeue", "--noheader", "--format=%j").split()

    return ExecutorCase(lab, Execution(executor="slurm"), end, jobs)


def number_of(run: RunDir, slurm: Cluster) -> str:
    """Return the id of a run's job."""
    return slurm.command("squeue", "--noheader", "--format=%i", f"--name={run.status().job.name}")


def reason_of(case: ExecutorCase, run: RunDir, *words: str) -> str:
    """Wait until a run is queued with a reason that contains all of these words; return the reason."""

    def reason() -> str:
        status = run.status()
        found = str(status.reason)
        return found if status.state == "queued" and all(word in found for word in words) else ""

    return str(case.lab.until(reason))


def test_a_preempted_run_waits_in_slurm_and_resumes(case: ExecutorCase, slurm: Cluster) -> None:
    run = case.lab.run("s01-vision", epochs=40, child=True)
    submit(case.lab.study, execution=case.with_threads(4))
    case.lab.at_epoch(run, 2)
    number = number_of(run, slurm)
    urgent = [
        "sbatch",
        "--parsable",
        "--partition=urgent",
        "--cpus-per-task=4",
        "--output=/dev/null",
        "--wrap=sleep 3",
    ]
    assert slurm.command(*urgent)
    reason_of(case, run, f"SLURM job {number}:")
    assert case.done().loc["s01-vision", ["state", "attempt"]].tolist() == ["done", 2]
    assert run.model_file.read_bytes() == expected_weights(run)
    assert case.lab.launches() == {"s01-vision": 2}
    assert run.status().kills == 0
    assert "DUE TO PREEMPTION" in run.log_file.read_text()
    assert case.empty()


def test_a_job_that_can_never_start_has_a_reason_and_can_be_cancelled(case: ExecutorCase, slurm: Cluster) -> None:
    run = case.lab.run("s01-vision")
    execution = Execution(executor="slurm", slurm=("partition=short", "time=1:00:00"))
    submit(case.lab.study, execution=execution)
    found = reason_of(case, run, "PartitionTimeLimit", "--slurm")
    assert found.startswith(f"SLURM job {number_of(run, slurm)}: PartitionTimeLimit, ")
    cancel(case.lab.study)
    assert set(case.done()["state"]) == {"cancelled"}
    assert case.empty()
    assert not case.lab.launches()


def test_a_rejection_by_slurm_is_the_reason_of_the_waiting_run(case: ExecutorCase) -> None:
    wrong = case.lab.run("s01-vision")
    broken = case.lab.run("s02-vision")
    submit(case.lab.study, [wrong.name], execution=Execution(executor="slurm", slurm=("partition=nowhere",)))
    submit(case.lab.study, [broken.name], execution=Execution(executor="slurm", slurm=("outp=x",)))
    assert reason_of(case, wrong, "SLURM: expected", "invalid partition specified: nowhere")
    assert reason_of(case, broken, "--slurm 'outp=x': expected", "'outp'")
    cancel(case.lab.study)
    assert set(case.done()["state"]) == {"cancelled"}
    assert not case.lab.launches()


def test_jobs_continue_while_the_controller_is_down(case: ExecutorCase, slurm: Cluster) -> None:
    runs = [case.lab.run("s01-vision", epochs=60), case.lab.run("s02-vision", epochs=100000)]
    submit(case.lab.study, execution=case.with_threads(2))
    for run in runs:
        case.lab.at_epoch(run)
    case.lab.run("s03-vision")
    submit(case.lab.study, execution=case.with_threads(2))
    case.lab.until(lambda: case.lab.study.run("s03-vision").status().reason.startswith("SLURM job"))
    slurm.kill("slurmctld")
    case.lab.kill_scheduler()
    assert ensure_scheduler(case.lab.root)
    cancel(case.lab.study, ["s02-vision"])
    case.lab.until(lambda: runs[0].status().state == "done")
    assert runs[1].status().state == "running"  # it could not be stopped
    slurm.start("slurmctld")
    table = case.done()
    assert table["state"].to_dict() == {"s01-vision": "done", "s02-vision": "cancelled", "s03-vision": "done"}
    assert case.lab.launches() == dict.fromkeys(table.index, 1)
    assert case.empty()


def test_a_run_survives_the_loss_of_its_nodes_daemon(case: ExecutorCase, slurm: Cluster) -> None:
    run = case.lab.run("s01-vision", epochs=80)
    submit(case.lab.study, execution=case.execution)
    pid = case.lab.at_epoch(run)
    slurm.kill("slurmd")
    case.lab.at_epoch(run, 20)
    slurm.start("slurmd")
    assert set(case.done()["state"]) == {"done"}
    assert case.lab.launches() == {"s01-vision": 1}
    assert run.status().pid == pid
    assert case.empty()


def test_a_run_of_a_lost_node_resumes_when_the_node_is_back(case: ExecutorCase, slurm: Cluster) -> None:
    run = case.lab.run("s01-vision", epochs=60, child=True)
    submit(case.lab.study, execution=case.execution)
    case.lab.at_epoch(run, 2)
    slurm.lose_node()  # the daemon and the job
    reason_of(case, run, "SLURM job")
    slurm.start("slurmd")
    assert set(case.done()["state"]) == {"done"}
    assert run.model_file.read_bytes() == expected_weights(run)
    assert case.lab.launches() == {"s01-vision": 2}
    assert case.empty()


def test_a_scheduler_killed_between_sbatch_and_its_answer_submits_once(
    case: ExecutorCase, slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    real = slurm.path("sbatch")
    script = tmp_path / "bin" / "sbatch"
    # The caller is killed before it gets the answer.
    script.write_text(f'#!/bin/sh\n[ -e "{tmp_path}/once" ] && exec {real} "$@"\n{real} "$@"\n'
                      f'touch "{tmp_path}/once"\nkill -9 $PPID\nsleep 1\n')  # fmt: skip
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    run = case.lab.run("s01-vision", epochs=40)
    submit(case.lab.study, execution=case.execution)
    case.lab.until((tmp_path / "once").exists)
    assert case.done().loc["s01-vision", ["state", "attempt"]].tolist() == ["done", 1]
    assert case.lab.launches() == {"s01-vision": 1}
    assert run.model_file.read_bytes() == expected_weights(run)
    assert case.empty()


def test_a_run_that_reaches_its_time_limit_resumes(case: ExecutorCase, slurm: Cluster) -> None:
    run = case.lab.run("s01-vision", epochs=400, seconds=0.25)
    submit(case.lab.study, execution=case.execution)
    case.lab.at_epoch(run, 2)
    change_standin(run, seconds=0.005)  # from the second attempt on
    number = number_of(run, slurm)
    slurm.command("scontrol", "update", f"jobid={number}", "EndTime=now+1")  # takes effect within half a minute
    case.lab.until(lambda: run.status().attempt == 2)
    (first, *_) = run.status().history
    assert first.reason.startswith(f"SLURM job {number}: ")
    assert "time limit of 00:01:00" in first.reason
    assert set(case.done()["state"]) == {"done"}
    assert run.model_file.read_bytes() == expected_weights(run)
    assert case.lab.launches() == {"s01-vision": 2}
    assert case.empty()


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({}, []),
        ({"slurm": ("partition=nowhere",)}, ["expected a partition nowhere, found only main, short, urgent"]),
        ({"slurm": ("partition=short", "time=0-01")}, ["at most 5:00, found 0-01"]),
        ({"threads": 64}, ["found Requested node configuration is not available;", "main: 4 cores, 4000 MB"]),
        ({"ram": 100.0}, ["--mem=102400M", "Requested node configuration is not available"]),
        ({"slurm": ("gres=gpu:9",)}, ["Requested node configuration is not available", "gpu:2 per node"]),
        ({"slurm": ("constraint=none",)}, ["Invalid feature specification"]),
        ({"device": "cuda:1"}, ["--device: expected cuda", "found cuda:1"]),
        ({"slurm": ("array=1-9",)}, ["found array: each run is one job"]),
    ],
)
def test_each_unmet_requirement_is_reported(
    slurm: Cluster, tmp_path: Path, settings: dict[str, Any], facts: list[str]
) -> None:
    root = tmp_path / "check points 100%"
    root.mkdir()
    found = SlurmExecutor().check(root, Execution(executor="slurm", **settings))
    assert len(found) == bool(facts)
    assert all(fact in found[0] for fact in facts)
    assert not list((root / ".queue").glob("probe*"))


def test_a_probe_reports_a_missing_environment_and_missing_locks(
    slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Execution(executor="slurm")
    with monkeypatch.context() as patch:
        patch.setattr(probe.sys, "executable", "/nowhere/python")
        (problem,) = SlurmExecutor().check(tmp_path, settings)
        assert "with eavdash at /nowhere/python, found" in problem
    with monkeypatch.context() as patch:
        patch.setattr(probe.locks, "acquire", lambda path: path.touch())
        (problem,) = SlurmExecutor().check(tmp_path, settings)
        assert "flock" in problem
    with monkeypatch.context() as patch:
        patch.setattr(probe.platform, "python_version", lambda: "2.7.18")
        (problem,) = SlurmExecutor().check(tmp_path, settings)
        assert "expected python 2.7.18, found python 3." in problem


def test_a_probe_without_a_free_node_is_a_note(slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eavdash.jobs.executors import slurm_check

    monkeypatch.setattr(slurm_check, "PROBE_START_TIMEOUT", 2.0)
    (note,) = SlurmExecutor().check(tmp_path, Execution(executor="slurm", slurm=("begin=now+600",)))
    assert note.startswith(NOTE)
    assert "2 s" in note
    assert slurm.command("squeue", "--noheader") == ""


def test_the_guides_array_script_computes_runs_that_were_removed_from_the_queue(
    case: ExecutorCase, slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", with_package({})["PYTHONPATH"])
    text = GUIDE.read_text(encoding="utf-8")
    script = next(part.split("```")[0] for part in text.split("```bash\n")[1:] if "SLURM_ARRAY_TASK_ID" in part)
    assert script.count("python -m eavdash.jobs.worker") == 1
    script = script.replace("python -m eavdash.jobs.worker", os.environ["EAVDASH_WORKER"])
    (tmp_path / "array.sh").write_text(script)
    runs = case.lab.subject(1, epochs=300)[:3]
    (tmp_path / "runs.txt").write_text("".join(f"{run.path}\n" for run in runs))
    # The runs first wait in jobs of their own; the scheduler is still running, and later a new one starts.
    submit(case.lab.study, execution=dataclasses.replace(case.execution, slurm=("begin=now+3600",)))
    for run in runs:
        reason_of(case, run, "BeginTime")
    cancel(case.lab.study)
    case.done()
    assert slurm.command("sbatch", "--array=1-3", f"--chdir={tmp_path}", str(tmp_path / "array.sh"))
    for run in runs:
        case.lab.at_epoch(run)
    case.lab.kill_scheduler()
    assert ensure_scheduler(case.lab.root)
    case.lab.until(lambda: [run.status().state for run in runs] == ["done"] * 3)
    assert case.lab.launches() == {run.name: 1 for run in runs}
    assert all(run.model_file.read_bytes() == expected_weights(run) for run in runs)
    assert case.empty()
