"""What the SLURM executor does by itself, without any SLURM: options, script, shared listing, words of an end."""

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

from eavdash.config.schema import Execution
from eavdash.errors import ConfigError, QueueError
from eavdash.jobs.executors import Exit, Leases, slurm_commands
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
def test_options_follow_from_the_settings_and_the_user_has_the_last_word(settings, asked):
    assert options(dataclasses.replace(SLURM, **settings)) == asked


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("output=x", "what a run prints goes to its log.txt"),
        ("array=1-3", "each run is one job"),
        ("wrap=true", "the job runs the worker"),
        ("no-requeue", "a run whose node is lost goes on"),
        ("outp=x", "the long name of an option of sbatch"),  # sbatch would take it for --output
        ("--partition=gpu", "did you mean partition"),
        ("p=gpu", "the long name of an option of sbatch"),
        ("", "the long name of an option of sbatch"),
        ("partition", "give the option a value"),
        ("partition=", "give the option a value"),
        ("comment=a\nb", "in one line"),
    ],
)
def test_options_that_would_break_the_contract_are_refused_with_a_sentence(given, said):
    with pytest.raises(ConfigError, match=f"--slurm .*{said}"):
        options(dataclasses.replace(SLURM, slurm=(given,)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 5400), ("1:30", 90), ("1:30:00", 5400), ("1-12", 129600), ("1-12:30", 131400), ("2-00:00:01", 172801),
     ("infinite", None), ("UNLIMITED", None)],
)  # fmt: skip
def test_times_are_read_as_slurm_writes_them(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [
        ("COMPLETED", "0:0", Exit(0)),
        ("FAILED", "1:0", Exit(1)),
        ("FAILED", "137:0", Exit(137)),
        ("FAILED", "0:9", Exit(-9)),
        ("TIMEOUT", "0:0", Exit(-15, "SLURM job 31: its time limit of 04:00:00 was over on n1")),
        (
            "OUT_OF_MEMORY",
            "0:125",
            Exit(-9, "SLURM job 31: it needed more memory than it was given on n1; ask for more (--ram)"),
        ),
        ("NODE_FAIL", "0:0", Exit(-9, "SLURM job 31: its node n1 was lost", external_cause=True)),
        ("PREEMPTED", "0:15", Exit(-15, "SLURM job 31: it had to give way to another on n1", external_cause=True)),
        ("CANCELLED", "0:15", Exit(-15, "SLURM job 31: it was cancelled in SLURM")),
    ],
)
def test_the_end_of_a_job_is_told_as_code_and_reason(state, code, expected):
    detail = {"JobState": state, "ExitCode": code, "TimeLimit": "04:00:00", "NodeList": "n1"}
    assert slurm_exit(ROW, state, detail) == expected


def test_the_environment_of_a_job_has_no_secrets_and_nothing_of_another_job():
    kept = {"PATH": "/bin", "SLURM_CONF": "/etc/slurm.conf", "EAVDASH_SLOTS": "4"}
    others = {"SLURM_JOB_ID": "7", "SBATCH_ARRAY_INX": "1-9", "SQUEUE_PARTITION": "x"}
    assert (
        clean_environment(kept | others | {"EAVDASH_QUEUE": "postgresql://me:secret@host/db", "PGPASSWORD": "x"})
        == kept
    )


def batch(tmp_path: Path, code: str) -> subprocess.Popen[bytes]:
    """The batch script at work, as SLURM would start it, on a program that is given here."""
    folder = tmp_path / "a b 'c' $HOME"
    folder.mkdir()
    (folder / "program.py").write_text(code)
    script = batch_script((sys.executable, str(folder / "program.py"), str(folder)), {"TOLD": "$PATH 'x'"})
    (tmp_path / "script").write_text(script)
    return subprocess.Popen(["sh", str(tmp_path / "script")], env={**os.environ, "SLURM_JOB_ID": f"t{time.time_ns()}"})


PROGRAM = """
import os, pathlib, signal, subprocess, sys, time
here = pathlib.Path(sys.argv[1])
if {deaf}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
(here / "told").write_text(os.environ["TOLD"])
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
def test_the_batch_script_leaves_nothing_behind(tmp_path, deaf, then, sent, expected):
    process = batch(tmp_path, PROGRAM.format(deaf=deaf, then=then))
    told = tmp_path / "a b 'c' $HOME"
    deadline = time.monotonic() + 60
    while not (told / "pids").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None or sent is None
        time.sleep(0.02)
    worker, child = (int(pid) for pid in (told / "pids").read_text().split())
    if sent == "term":
        process.terminate()  # only the script: it passes the word on
    elif sent is not None:
        os.kill(worker, signal.SIGKILL)
    assert process.wait(60) == expected
    assert (told / "told").read_text() == "$PATH 'x'"
    assert locks.process_start_time(worker) is None
    assert locks.process_start_time(child) is None


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """A folder of stand-in commands on PATH; each notes that it was called."""

    def make(**bodies: str) -> Path:
        for name, body in bodies.items():
            (tmp_path / name).write_text(f'#!/bin/sh\necho {name} >> "{tmp_path}/calls"\n{body}\n')
            (tmp_path / name).chmod(0o755)
        return tmp_path / "calls"

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return make


def a_run(tmp_path: Path, number: int = 1) -> RunDir:
    run = RunDir(tmp_path / "checkpoints" / "tried" / f"s{number:02d}-vision")
    run.create({"run": run.name})
    return run


def hand_over(run: RunDir) -> None:
    run.update(job={"executor": "slurm", "name": f"eavdash-{run.name}-{int(run.status().get('launch') or 0)}"})


def test_all_runs_share_one_listing(tmp_path, commands, monkeypatch):
    monkeypatch.setattr(slurm_commands, "LISTING_AGE", 30.0)
    names = [f"eavdash-{i}" for i in range(40)]
    calls = commands(squeue="\n".join(f"echo '{i}|PENDING|Resources||{name}'" for i, name in enumerate(names)))
    executor, run = SlurmExecutor(("true",)), a_run(tmp_path)
    said: list[object] = []

    def ask(name: str) -> None:
        job = Job(run, name)
        said.append((executor.poll(job), executor.waiting_reason(job)))

    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == sorted((None, f"SLURM job {i}: Resources") for i in range(40))
    assert calls.read_text().split() == ["squeue"]


def test_silence_of_the_controller_is_no_news_of_a_job(tmp_path, commands):
    commands(squeue="echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1")
    executor, run = SlurmExecutor(("true",)), a_run(tmp_path)
    hand_over(run)
    assert executor.poll(Job(run, "eavdash-s01-vision-0")) is None
    with pytest.raises(QueueError, match=r"expected an answer of its controller, found .*Unable to contact"):
        executor.find(run)
    with pytest.raises(QueueError, match="expected an answer of its controller"):
        executor.stop(Job(run, "eavdash-s01-vision-0"))


def test_a_forgotten_job_has_ended_and_a_fresh_one_is_waited_for(tmp_path, commands, monkeypatch):
    monkeypatch.setattr(slurm_commands, "LISTING_AGE", 0.5)
    calls = commands(
        squeue="cat $0.jobs 2>/dev/null || true",
        sbatch=f"echo '9|PENDING|Priority||eavdash-s01-vision-0' > {tmp_path}/squeue.jobs",
    )
    executor, run = SlurmExecutor(("true",)), a_run(tmp_path)
    assert executor.find(run) is None
    assert executor.poll(Job(run, "eavdash-other")) == Exit(None, "SLURM no longer knows its job")
    job = executor.start(run, SLURM, Leases(), lambda: hand_over(run))
    # The last listing is older than the job.
    assert executor.poll(job) is None
    assert executor.find(run) == job
    assert calls.read_text().split() == ["squeue", "sbatch", "squeue"]
    assert executor.start(run, SLURM, Leases(), lambda: None) == job  # as if the answer had been lost
    assert "sbatch" not in calls.read_text().split()[3:]


def test_what_sbatch_refuses_is_asked_once_for_all_who_ask_the_same(tmp_path, commands):
    calls = commands(squeue="", sbatch="echo 'sbatch: error: Job violates accounting/QOS policy' >&2; exit 1")
    executor = SlurmExecutor(("true",))
    for number in range(3):
        run = a_run(tmp_path, number)
        with pytest.raises(QueueError, match="found Job violates accounting/QOS policy"):
            executor.start(run, SLURM, Leases(), lambda run=run: hand_over(run))
    with pytest.raises(QueueError, match="policy"):
        executor.start(run, dataclasses.replace(SLURM, threads=2), Leases(), lambda: None)
    assert calls.read_text().split().count("sbatch") == 2


def test_a_job_that_does_not_end_is_no_silent_wait(tmp_path, commands):
    commands(squeue="echo '9|COMPLETING|None|n7|eavdash-x'", scancel="")
    executor = SlurmExecutor(("true",), stop_timeout=0.5)
    with pytest.raises(QueueError, match=r"SLURM job 9: expected an end within 0.5 s .*found COMPLETING on n7"):
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


def test_a_job_that_slurm_has_given_up_ends_with_that_reason(tmp_path, commands):
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
    assert found == Exit(-15, "SLURM job 9: SLURM has put it back into its queue too often")
