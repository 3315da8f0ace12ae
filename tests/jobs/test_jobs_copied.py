"""Runs whose files came from elsewhere: nothing of the user's is changed, ended, or told to a stranger."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from failing import fails
from lab import Lab

from eavdash.config.schema import Execution
from eavdash.errors import QueueError, UsageError
from eavdash.jobs import clusters, queue_tasks
from eavdash.jobs.executors import slurm
from eavdash.jobs.executors.local import Job, LocalExecutor
from eavdash.jobs.queue import move, queue_session, retry, submit, wait
from eavdash.jobs.queue_database import queue_folder
from eavdash.jobs.run_supervisor import RunSupervisor
from eavdash.jobs.slots import Machine, Slots
from eavdash.store import RunDir, locks
from eavdash.store.atomic import host

STRANGER = "http://203.0.113.9:8265"


@pytest.mark.parametrize("name", [".lock", "log.txt"])
def test_a_link_in_a_run_leads_to_no_change_elsewhere(lab: Lab, name: str) -> None:
    run = lab.run("s01-vision", epochs=1)
    precious = lab.root.parent / "precious"
    precious.write_text("keep")
    (run.path / name).symlink_to(precious)
    submit(lab.study)
    reason = lab.until(lambda: "cannot be started" in run.status().reason and run.status().reason)
    assert name in reason
    assert "symbolic link" in reason
    assert precious.read_text() == "keep"
    (run.path / name).unlink()
    assert set(wait(lab.study, timeout=60)["state"]) == {"done"}
    assert precious.read_text() == "keep"


def test_cancelling_ends_no_process_that_does_not_compute_the_run(lab: Lab) -> None:
    run = lab.run("s01-vision")
    hold = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    with (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as innocent,
        subprocess.Popen(
            [sys.executable, "-c", hold, str(run.lock_file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder,
    ):
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            owner = locks.Owner(pid=innocent.pid, born=locks.process_start_time(innocent.pid) or 0.0, host=host())
            run.lock_file.write_text(owner.model_dump_json())
            with fails(QueueError, where=run.name, found=f"process {innocent.pid}"):
                LocalExecutor(grace=0.2).stop(Job(run, owner))  # the lock is held, but not by this process
            holder.communicate(b"\n")
            run.transition("running", host="elsewhere", heartbeat=time.time() + 3600, attempt=1)
            with fails(QueueError, where=run.name, found=f"process {innocent.pid}"):
                LocalExecutor(grace=0.2).stop(Job(run, owner))  # the lock is free, and another machine's heartbeat new
            assert innocent.poll() is None
        finally:
            for process in (innocent, holder):
                process.kill()


def supervised(lab: Lab, run: RunDir, task: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Carry out a task of a run; return the executors that were used."""
    used: list[str] = []

    class Recorded:
        has_queue = True

        def __init__(self, name: str) -> None:
            used.append(name)

        def find(self, _run: RunDir) -> Any:
            raise UsageError("asked")

    monkeypatch.setattr("eavdash.jobs.run_supervisor.activate", lambda broker, runs: None)
    supervisor = RunSupervisor(lab.root, None, Recorded, Slots(lab.root / "slots", Machine(1)))  # type: ignore[arg-type]
    getattr(supervisor, task)(lab.study.name, run.name, run.status().submission)
    return used


FOREIGN = {
    "ray, waiting": {"execution": {"executor": "ray", "ray_address": STRANGER}},
    "ray, submitted": {"job": {"executor": "ray", "name": "eavdash-tried-s01-vision-1", "address": STRANGER}},
    "slurm, waiting": {"execution": {"executor": "slurm", "slurm": ["bbf=/etc/shadow"]}},
    "slurm, another job": {"job": {"executor": "slurm", "name": "thesis"}, "execution": {"executor": "slurm"}},
}


@pytest.mark.parametrize("fields", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_cluster_that_nobody_asked_for_is_not_contacted(
    lab: Lab, fields: dict[str, Any], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = lab.run("s01-vision")
    with queue_session(lab.root):
        pass  # the folder has a queue before the run comes
    run.update(submission="zz", **fields)
    if state == "running":
        run.transition("running", heartbeat=time.time(), host="elsewhere")
    assert supervised(lab, run, "train", monkeypatch) == []
    assert run.status().state == "failed"
    assert "asked for" in run.status().reason
    assert f"eavdash retry tried --run {run.name}" in run.status().reason

    run.transition("queued")
    run.update(submission="zz", cancel="c", **fields)
    assert supervised(lab, run, "stop", monkeypatch) == []
    assert run.status().state == "cancelled"


def test_settings_that_a_user_gives_are_used_and_those_of_files_are_not(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eavdash.jobs.queue.ensure_scheduler", lambda root: False)
    monkeypatch.setattr(queue_tasks, "activate", lambda broker, runs, **_: None)
    runs = [lab.run(f"s0{number}-vision") for number in range(1, 6)]
    given = [
        Execution(executor="slurm", slurm=("partition=a",)),
        Execution(executor="ray", ray_address="head:8265"),
        Execution(executor="slurm", slurm=("partition=b",)),
        Execution(executor="slurm", slurm=("partition=c",)),
    ]
    submit(lab.study, [runs[0].name], given[0])
    submit(lab.study, [runs[1].name], given[1])
    runs[2].transition("failed")
    retry(lab.study, [runs[2].name], given[2])
    submit(lab.study, [runs[3].name])
    move(lab.study, [runs[3].name], given[3])
    for run in runs[:4]:
        clusters.check(run, run.status())
    submit(lab.study, [runs[4].name], Execution(executor="slurm", slurm=("partition=d",)), given=False)
    with fails(UsageError, where=runs[4].name, found="slurm partition=d", remedy="--executor slurm"):
        clusters.check(runs[4], runs[4].status())
    runs[4].transition("failed")
    retry(lab.study, [runs[4].name])  # with what its status says
    with fails(UsageError, found="slurm partition=d"):
        clusters.check(runs[4], runs[4].status())
    file = lab.root / ".queue" / "clusters.json"
    assert file.stat().st_mode & 0o077 == 0
    file.write_text("{")  # damaged: nothing is contacted
    with fails(UsageError):
        clusters.check(runs[0], runs[0].status())


def test_runs_of_an_earlier_version_are_taken_over_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def status(name: str) -> RunDir:
        run = lab.run(name)
        job = {"executor": "ray", "name": f"eavdash-tried-{name}-1", "address": f"http://{name}:1"}
        run.update(submission="a", job=job, execution={"executor": "slurm", "slurm": [f"comment={name}"]})
        return run

    old = status("s01-vision")
    (queue_folder(lab.root) / "queue.sqlite").touch()
    clusters.known(lab.root)
    copied = status("s02-vision")
    clusters.check(old, old.status())
    clusters.check(old, old.status().replace(job=None))
    for foreign in (copied.status(), copied.status().replace(job=None)):
        with fails(UsageError, where=copied.name):
            clusters.check(copied, foreign)
    with_env = copied.status().replace(job=None, execution={"executor": "ray"})
    clusters.check(copied, with_env)  # the address is that of this user's environment
    assert "s02" not in json.dumps(json.loads((lab.root / ".queue" / "clusters.json").read_text()))


def test_slurm_gets_no_log_that_is_a_link(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    run = lab.run("s01-vision")
    precious = lab.root.parent / "precious"
    precious.write_text("keep")
    run.log_file.symlink_to(precious)
    called: list[Any] = []
    executor = slurm.SlurmExecutor(sbatch=lambda *given: called.append(given))  # type: ignore[arg-type]
    name = {"executor": "slurm", "name": "eavdash-tried-s01-vision-1"}
    with fails(QueueError, where="log.txt", found="symbolic link"):
        executor.start(run, Execution(executor="slurm"), None, lambda: run.update(job=name))  # type: ignore[arg-type]
    assert called == []


@pytest.mark.parametrize("name", [".queue", ".queue/conductor.log"])
def test_a_queue_with_links_is_refused(lab: Lab, name: str) -> None:
    lab.run("s01-vision")
    home = lab.root.parent / "home"
    home.mkdir(mode=0o755)
    (home / "precious").write_text("keep")
    link = lab.root / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(home if name == ".queue" else home / "precious")
    with fails(QueueError, where=Path(name).name, found="symbolic link"):
        submit(lab.study)
    assert ([path.name for path in home.iterdir()], home.stat().st_mode & 0o777) == (["precious"], 0o755)
    assert (home / "precious").read_text() == "keep"
    link.unlink()
