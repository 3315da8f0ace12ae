"""Parts of the SLURM executor without SLURM: options, batch script, shared job list, exits."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from documents import run_config
from failing import fails

from eavdash.config.schema import Execution
from eavdash.errors import ConfigError, QueueError
from eavdash.jobs.executors import Leases, slurm_commands
from eavdash.jobs.executors.slurm import Job, SlurmExecutor, slurm_exit
from eavdash.jobs.executors.slurm_check import seconds
from eavdash.jobs.executors.slurm_commands import Row, batch_script, clean_environment
from eavdash.jobs.executors.slurm_options import options
from eavdash.store import RunDir, locks

SLURM = Execution(executor="slurm")
ROW = Row("31", "TIMEOUT", "TimeLimit", "n1", "eavdash-tried-s01-vision-0badcafe")


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({"threads": 3}, ["--cpus-per-task=3"]),
        ({"ram": 1.5}, ["--cpus-per-task=1", "--mem=1536M"]),
        ({"ram": 1.5, "slurm": ("mem-per-cpu=2G",)}, ["--mem-per-cpu=2G", "--cpus-per-task=1"]),
        ({"device": "cuda"}, ["--cpus-per-task=1", "--gres=gpu:1"]),
        ({"device": "cuda", "slurm": ("gpus=a100:1",)}, ["--gpus=a100:1", "--cpus-per-task=1"]),
        ({"priority": -2}, ["--cpus-per-task=1", "--nice=200"]),
        ({"priority": 2}, ["--cpus-per-task=1"]),
        ({"priority": -2, "slurm": ("nice=7",)}, ["--nice=7", "--cpus-per-task=1"]),
        (
            {"slurm": ("partition=gpu", "time=04:00:00", "comment=a b; rm", "exclusive", "cpus-per-task=8")},
            ["--partition=gpu", "--time=04:00:00", "--comment=a b; rm", "--exclusive", "--cpus-per-task=8"],
        ),
    ],
)
def test_options_are_derived_from_the_settings_and_the_user_may_override_them(settings, asked):
    assert options(dataclasses.replace(SLURM, **settings)) == asked


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        ("output=x", {"found": ("output", "log.txt")}),
        ("array=1-3", {"found": ("array", "one job")}),
        ("wrap=true", {"found": ("wrap", "worker")}),
        ("no-requeue", {"found": ("no-requeue", "node")}),
        ("outp=x", {"found": "'outp'"}),  # sbatch would take it for --output
        ("--partition=gpu", {"found": "'--partition'", "remedy": "partition"}),
        ("p=gpu", {"found": "'p'", "remedy": "man sbatch"}),
        ("", {"found": "''", "remedy": "man sbatch"}),
        ("partition", {"expected": "partition=VALUE", "found": "''"}),
        ("partition=", {"expected": "partition=VALUE", "found": "''"}),
        ("comment=a\nb", {"expected": "comment=VALUE", "found": repr("a\nb")}),
    ],
)
def test_options_that_would_break_the_queue_are_refused(given, facts):
    with fails(ConfigError, where=f"--slurm {given!r}", **facts):
        options(dataclasses.replace(SLURM, slurm=(given,)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 5400), ("1:30", 90), ("1:30:00", 5400), ("1-12", 129600), ("1-12:30", 131400), ("2-00:00:01", 172801),
     ("infinite", None), ("UNLIMITED", None)],
)  # fmt: skip
def test_times_are_parsed_in_slurms_format(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize(
    ("state", "code", "expected", "facts"),
    [
        ("COMPLETED", "0:0", 0, ()),
        ("FAILED", "1:0", 1, ()),
        ("FAILED", "137:0", 137, ()),
        ("FAILED", "0:9", -9, ()),
        ("TIMEOUT", "0:0", -15, ("time limit of 04:00:00", "n1")),
        ("OUT_OF_MEMORY", "0:125", -9, ("memory", "n1", "--ram")),
        ("NODE_FAIL", "0:0", -9, ("node n1",)),
        ("PREEMPTED", "0:15", -15, ("preempted", "n1")),
        ("CANCELLED", "0:15", -15, ("cancelled",)),
    ],
)
def test_the_end_of_a_job_becomes_a_code_and_a_reason(state, code, expected, facts):
    detail = {"JobState": state, "ExitCode": code, "TimeLimit": "04:00:00", "NodeList": "n1"}
    found = slurm_exit(ROW, state, detail)
    assert found.code == expected
    assert found.external_cause == (state in ("NODE_FAIL", "PREEMPTED"))
    assert found.reason.startswith("SLURM job 31: ") if facts else not found.reason
    assert all(fact in found.reason for fact in facts)


def test_the_environment_of_a_job_has_no_secrets_and_no_variables_of_another_job():
    kept = {"PATH": "/bin", "SLURM_CONF": "/etc/slurm.conf", "EAVDASH_SLOTS": "4"}
    others = {"SLURM_JOB_ID": "7", "SBATCH_ARRAY_INX": "1-9", "SQUEUE_PARTITION": "x"}
    assert (
        clean_environment(kept | others | {"EAVDASH_QUEUE": "postgresql://me:secret@host/db", "PGPASSWORD": "x"})
        == kept
    )


def batch(tmp_path: Path, code: str) -> subprocess.Popen[bytes]:
    """Start the batch script as SLURM would, for the given program."""
    folder = tmp_path / "a b 'c' $HOME"
    folder.mkdir()
    (folder / "program.py").write_text(code)
    script = batch_script((sys.executable, str(folder / "program.py"), str(folder)), {"QUOTED": "$PATH 'x'"})
    (tmp_path / "script").write_text(script)
    return subprocess.Popen(["sh", str(tmp_path / "script")], env={**os.environ, "SLURM_JOB_ID": f"t{time.time_ns()}"})


PROGRAM = """
import os, pathlib, signal, subprocess, sys, time
here = pathlib.Path(sys.argv[1])
if {deaf}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
(here / "quoted").write_text(os.environ["QUOTED"])
(here / "part").write_text(f"{{os.getpid()}} {{child.pid}}")
(here / "part").rename(here / "pids")
{then}
"""


@pytest.mark.parametrize(
    ("deaf", "then", "sent", "expected"),
    [
        (False, "sys.exit(3)", None, 3),
        (False, "time.sleep(600)", "term", 143),
        (True, "time.sleep(600)", "term", 143),
        (False, "time.sleep(600)", "kill the worker", 137),
    ],
)
def test_the_batch_script_leaves_no_process_behind(tmp_path, deaf, then, sent, expected):
    process = batch(tmp_path, PROGRAM.format(deaf=deaf, then=then))
    folder = tmp_path / "a b 'c' $HOME"
    deadline = time.monotonic() + 60
    while not (folder / "pids").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None or sent is None
        time.sleep(0.02)
    worker, child = (int(pid) for pid in (folder / "pids").read_text().split())
    if sent == "term":
        process.terminate()  # only the script, which forwards the signal
    elif sent is not None:
        os.kill(worker, signal.SIGKILL)
    assert process.wait(60) == expected
    assert (folder / "quoted").read_text() == "$PATH 'x'"
    assert locks.process_start_time(worker) is None
    assert locks.process_start_time(child) is None


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Function that puts fake commands on PATH; each call is recorded in a file."""

    def make(**bodies: str) -> Path:
        for name, body in bodies.items():
            (tmp_path / name).write_text(f'#!/bin/sh\necho {name} >> "{tmp_path}/calls"\n{body}\n')
            (tmp_path / name).chmod(0o755)
        return tmp_path / "calls"

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return make


def a_run(tmp_path: Path, number: int = 1) -> RunDir:
    run = RunDir(tmp_path / "checkpoints" / "tried" / f"s{number:02d}-vision")
    run.create(run_config(run.name))
    return run


def assign_job(run: RunDir) -> None:
    run.update(job={"executor": "slurm", "name": f"eavdash-{run.name}-{run.status().launch}"})


def test_all_runs_share_one_job_list(tmp_path, commands, monkeypatch):
    monkeypatch.setattr(slurm_commands, "LISTING_AGE", 30.0)
    names = [f"eavdash-{i}" for i in range(40)]
    calls = commands(squeue="\n".join(f"echo '{i}|PENDING|Resources||{name}'" for i, name in enumerate(names)))
    executor, run = SlurmExecutor(("true",)), a_run(tmp_path)
    answers: list[tuple[object, str]] = []

    def ask(name: str) -> None:
        job = Job(run, name)
        answers.append((executor.poll(job), executor.waiting_reason(job)))

    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == sorted((None, f"SLURM job {i}: Resources") for i in range(40))
    assert calls.read_text().split() == ["squeue"]


def test_without_an_answer_of_the_controller_no_job_has_ended(tmp_path, commands):
    commands(squeue="echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1")
    executor, run = SlurmExecutor(("true",)), a_run(tmp_path)
    assign_job(run)
    assert executor.poll(Job(run, "eavdash-s01-vision-0")) is None
    with fails(QueueError, where="SLURM", expected="controller", found="Unable to contact"):
        executor.find(run)
    with fails(QueueError, where="SLURM", expected="controller", found="Unable to contact"):
        executor.stop(Job(run, "eavdash-s01-vision-0"))


def test_a_forgotten_job_has_ended_and_a_new_one_is_waited_for(tmp_path, commands, monkeypatch):
    monkeypatch.setattr(slurm_commands, "LISTING_AGE", 0.5)
    calls = commands(
        squeue="cat $0.jobs 2>/dev/null || true",
        sbatch=f"echo '9|PENDING|Priority||eavdash-s01-vision-0' > {tmp_path}/squeue.jobs",
    )
    executor, run = SlurmExecutor(("true",)), a_run(tmp_path)
    assert executor.find(run) is None
    ended = executor.poll(Job(run, "eavdash-other"))
    assert ended is not None
    assert ended.code is None
    assert ended.reason
    job = executor.start(run, SLURM, Leases(), lambda: assign_job(run))
    # The last list is older than the job.
    assert executor.poll(job) is None
    assert executor.find(run) == job
    assert calls.read_text().split() == ["squeue", "sbatch", "squeue"]
    assert executor.start(run, SLURM, Leases(), lambda: None) == job  # as if the answer had been lost
    assert "sbatch" not in calls.read_text().split()[3:]


def test_a_rejection_by_sbatch_is_shared_by_all_runs_with_the_same_options(tmp_path, commands):
    calls = commands(squeue="", sbatch="echo 'sbatch: error: Job violates accounting/QOS policy' >&2; exit 1")
    executor = SlurmExecutor(("true",))
    for number in range(3):
        run = a_run(tmp_path, number)
        with fails(QueueError, where="SLURM", found="Job violates accounting/QOS policy"):
            executor.start(run, SLURM, Leases(), lambda run=run: assign_job(run))
    with fails(QueueError, where="SLURM", found="Job violates accounting/QOS policy"):
        executor.start(run, dataclasses.replace(SLURM, threads=2), Leases(), lambda: None)
    assert calls.read_text().split().count("sbatch") == 2


def test_a_job_that_does_not_end_is_an_error(tmp_path, commands):
    commands(squeue="echo '9|COMPLETING|None|n7|eavdash-x'", scancel="")
    executor = SlurmExecutor(("true",), stop_timeout=0.5)
    with fails(QueueError, where="SLURM job 9", expected="0.5 s", found="COMPLETING on n7"):
        executor.stop(Job(a_run(tmp_path), "eavdash-x"))


def test_a_waiting_job_whose_run_has_ended_is_cancelled(tmp_path, commands):
    calls = commands(squeue="echo '9|PENDING|BeginTime||eavdash-x'", scancel="")
    executor, run = SlurmExecutor(("true",)), a_run(tmp_path)
    assert executor.poll(Job(run, "eavdash-x")) is None
    assert "scancel" not in calls.read_text().split()
    run.transition("running")
    run.transition("done")
    assert executor.poll(Job(run, "eavdash-x")) is None
    assert "scancel" in calls.read_text().split()


def test_a_job_that_slurm_holds_after_too_many_requeues_is_cancelled(tmp_path, commands):
    commands(
        squeue='echo "9|$(cat $0.state)|JobHoldMaxRequeue||eavdash-x"',
        scancel=f"echo CANCELLED > {tmp_path}/squeue.state",
        scontrol="echo JobId=9 JobState=CANCELLED ExitCode=0:15",
    )
    (tmp_path / "squeue.state").write_text("PENDING")
    executor, job = SlurmExecutor(("true",)), Job(a_run(tmp_path), "eavdash-x")
    deadline = time.monotonic() + 30
    while (found := executor.poll(job)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert found.code == -15
    assert found.reason.startswith("SLURM job 9: ")
    assert "requeued" in found.reason
