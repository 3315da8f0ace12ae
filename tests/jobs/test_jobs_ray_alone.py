"""The Ray executor without a Ray cluster: its job specifications, its handling of answers, its checks of nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from failing import fails
from lab import Lab

from eavdash.config.schema import Execution
from eavdash.errors import QueueError
from eavdash.jobs.executors import JOB_VARIABLE, ray, ray_check, ray_head
from eavdash.jobs.executors.ray import Job, RayExecutor, job_spec
from eavdash.jobs.executors.ray_head import gpu_share
from eavdash.store import RunDir, locks
from eavdash.store.atomic import host

ADDRESS = "http://head:8265"
NO_HEAD = ray_head.UnreachableHeadError.at(
    f"Ray at {ADDRESS}", expected="the head of a Ray cluster", found="no server", remedy="start it"
)


def row(status: str, submission_id: str = "eavdash-tried-s01-vision-1", **details: Any) -> Any:
    class Status(str):
        def is_terminal(self) -> bool:
            return self in ("SUCCEEDED", "FAILED", "STOPPED")

    fields = {"driver_exit_code": None, "error_type": None, "message": "", **details}
    return SimpleNamespace(status=Status(status), submission_id=submission_id, **fields)


class FakeHead:
    """A head that returns a given answer and records submitted and stopped jobs."""

    def __init__(self) -> None:
        self.answer: Any = NO_HEAD
        self.submitted: list[str] = []
        self.stopped: list[str] = []

    def jobs(self, fresh: bool = False) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"eavdash-tried-s01-vision-1": self.answer} if self.answer else {}, time.monotonic()

    def submit(self, name: str, **_: Any) -> None:
        self.submitted.append(name)

    def stop(self, submission_id: str) -> None:
        self.stopped.append(submission_id)


@pytest.fixture
def head() -> FakeHead:
    return FakeHead()


@pytest.fixture
def executor(head: FakeHead) -> RayExecutor:
    return RayExecutor(heads={ADDRESS: head})  # type: ignore[dict-item]


def submitted_job(lab: Lab, state: str = "running", **fields: Any) -> Job:
    """Create a run that another machine computes in Ray; return its job."""
    run = lab.run("s01-vision")
    job = {"executor": "ray", "name": "eavdash-tried-s01-vision-1", "address": ADDRESS, "handed": 1.0}
    run.update(job=job, host="elsewhere", heartbeat=time.time(), **fields)
    if state != "queued":
        run.transition("running")
    if state not in ("queued", "running"):
        run.transition(state)
    return Job(run, job["name"], ADDRESS)


def test_the_command_is_quoted_correctly_for_any_folder_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "output.json"
    code = (
        f"import json, os, sys; print('hello'); json.dump([sys.argv[1:], dict(os.environ)], open({str(output)!r}, 'w'))"
    )
    monkeypatch.setenv("EAVDASH_WORKER", f'{sys.executable} -c "{code}"')
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret-of-mine")
    run = RunDir(tmp_path / "it's a $(folder) & more" / "s01-vision")
    run.path.mkdir(parents=True)
    job = job_spec(run, "eavdash-x", Execution(executor="ray", threads=3, ram=1.5))
    assert "secret-of-mine" not in json.dumps(job)
    assert subprocess.run(job["entrypoint"], shell=True, env={"PATH": os.environ["PATH"]}).returncode == 0
    arguments, environment = json.loads(output.read_text())
    assert arguments == [str(run.path)]
    assert run.log_file.read_text() == "hello\n"
    wanted = {JOB_VARIABLE: "eavdash-x", "EAVDASH_RUN": str(run.path), "OMP_NUM_THREADS": "3"}
    assert {key: environment[key] for key in wanted} == wanted
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert (job["entrypoint_num_cpus"], job["entrypoint_memory"]) == (3, 3 * 2**29)
    assert "entrypoint_num_gpus" not in job


@pytest.mark.parametrize("sharing", [1, 2, 3, 4, 6, 12])
def test_runs_that_share_a_gpu_fit_on_it(sharing: int) -> None:
    settings = Execution(device="cuda", runs_per_gpu=sharing)
    assert sharing * gpu_share(settings) <= 1 < (sharing + 1) * gpu_share(settings)
    job = job_spec(RunDir(Path("/x/s/r")), "eavdash-x", settings)
    assert job["entrypoint_num_gpus"] == gpu_share(settings)
    assert "CUDA_VISIBLE_DEVICES" not in job["entrypoint"]
    assert ("EAVDASH_GPU_SHARE=" in job["entrypoint"]) == (sharing > 1)
    assert gpu_share(Execution(device="auto", runs_per_gpu=sharing)) == 0


def test_the_newest_submission_of_a_job_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = ["eavdash-a", "eavdash-a~10", "eavdash-a~9", "eavdash-b", "raysubmit_x", None]
    found = ray_head.newest([row("PENDING", name) for name in ids])  # type: ignore[arg-type]
    assert {name: found[name].submission_id for name in found} == {
        "eavdash-a": "eavdash-a~10",
        "eavdash-b": "eavdash-b",
    }
    assert ray_head.next_submission_id("eavdash-b") == "eavdash-b~2"
    assert ray_head.next_submission_id("eavdash-a~9") == "eavdash-a~10"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "there:1/")
    assert ray_head.address_of("https://here:2/") == "https://here:2"
    assert ray_head.address_of("") == "http://there:1"
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS")
    assert ray_head.address_of("") == ray_head.DEFAULT_ADDRESS


def test_a_package_that_is_missing_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ray_head.importlib.util, "find_spec", lambda name: None)
    (found,) = RayExecutor().check(tmp_path, Execution(executor="ray"))
    assert "pip install 'ray[default]==2.60.0'" in found


@pytest.mark.parametrize("answer", [NO_HEAD, None, row("FAILED", error_type="JOB_SUPERVISOR_ACTOR_DIED")])
def test_a_worker_with_a_heartbeat_is_alive_for_every_answer_of_the_head(
    answer: Any, lab: Lab, executor: RayExecutor, head: FakeHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    head.answer = answer
    job = submitted_job(lab)
    assert executor.find(job.run) is not None
    assert executor.poll(job) is None
    monkeypatch.setattr(ray, "HEARTBEAT_TIMEOUT", 0.2)
    time.sleep(0.3)
    job.run.update(heartbeat=time.time())
    assert executor.poll(job) is None
    time.sleep(0.3)
    ended = executor.poll(job)
    assert ended is not None
    assert ended.code is None
    assert ("lost" in ended.reason) or ("does not know its job" in ended.reason)
    job.run.update(job={"executor": "ray", "name": "eavdash-tried-s01-vision-2"}, heartbeat=time.time())
    assert executor.poll(job) is not None  # the heartbeat of another job


def test_a_worker_of_this_machine_is_alive_while_its_lock_is_held(
    lab: Lab, executor: RayExecutor, head: FakeHead
) -> None:
    head.answer = None
    job = submitted_job(lab)
    job.run.update(host=host(), heartbeat=time.time())
    lock = locks.acquire(job.run.lock_file)
    assert lock is not None
    assert executor.poll(job) is None
    os.close(lock)
    assert executor.poll(job) is not None
    assert executor.find(job.run) is None


def test_a_waiting_job_is_not_lost_if_the_head_does_not_answer(lab: Lab, executor: RayExecutor, head: FakeHead) -> None:
    job = submitted_job(lab, "queued")
    assert executor.find(job.run) is not None
    assert executor.poll(job) is None
    assert ADDRESS in executor.waiting_reason(job)
    head.answer = row("PENDING")
    assert executor.waiting_reason(job) == f"waits in Ray as job {job.name} (pending, for resources)"
    head.answer = row("RUNNING")
    assert executor.waiting_reason(job) == ""
    head.answer = None  # restarted: now the job is known to be lost
    assert executor.poll(job) is not None
    job.run.update(job={"executor": "ray", "name": job.name})
    head.answer = NO_HEAD
    assert executor.find(job.run) is None  # this one may never have been submitted


def test_a_job_that_ray_has_dropped_is_submitted_again(lab: Lab, executor: RayExecutor, head: FakeHead) -> None:
    job = submitted_job(lab, "queued")
    head.answer = row("FAILED", f"{job.name}~2", error_type="JOB_SUPERVISOR_ACTOR_START_TIMEOUT")
    assert executor.find(job.run) is not None
    assert executor.poll(job) is None
    assert head.submitted == [f"{job.name}~3"]


def test_a_job_that_does_not_stop_is_an_error(
    lab: Lab, executor: RayExecutor, head: FakeHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "STOP_TIMEOUT", 0.5)
    job = submitted_job(lab)
    with fails(QueueError, where=ADDRESS):
        executor.stop(job)  # it has a heartbeat and cannot be reached
    head.answer = row("RUNNING")
    with fails(QueueError, where=f"Ray job {job.name}"):
        executor.stop(job)
    assert head.stopped == [job.name]
    monkeypatch.setattr(ray, "HEARTBEAT_TIMEOUT", 0)
    head.answer = NO_HEAD
    executor.stop(job)  # neither head nor heartbeat: there is nothing to stop


def test_a_waiting_job_is_stopped_with_one_request(lab: Lab, executor: RayExecutor, head: FakeHead) -> None:
    job = submitted_job(lab, "queued")
    head.answer = row("PENDING", f"{job.name}~2")
    executor.stop(job)
    assert head.stopped == [f"{job.name}~2"]


@pytest.mark.parametrize(
    ("answer", "state", "code", "reason"),
    [
        (row("SUCCEEDED", driver_exit_code=0), "done", 0, ""),
        (row("FAILED", driver_exit_code=-9), "running", -9, ""),
        (row("FAILED", driver_exit_code=2, message="x\nsh: cannot create"), "queued", 2, "sh: cannot create"),
        (row("STOPPED"), "queued", -15, "stopped"),
        (row("FAILED", message="The actor died because its node has died."), "queued", None, "its Ray node was lost"),
    ],
)
def test_rays_job_states_become_exits(
    answer: Any, state: str, code: int | None, reason: str, lab: Lab, executor: RayExecutor, head: FakeHead
) -> None:
    head.answer = answer
    ended = executor.poll(submitted_job(lab, state))
    assert ended is not None
    assert ended.code == code
    assert reason in ended.reason


def test_a_single_node_must_have_all_resources_of_a_run() -> None:
    nodes = [
        {"resources_total": {"CPU": 8.0, "memory": 4 * 2**30}},
        {"resources_total": {"CPU": 1.0, "GPU": 1.0, "memory": 4 * 2**30}},
        {"resources_total": {"memory": 64 * 2**30}},
    ]

    def able(**settings: Any) -> list[int]:
        return [nodes.index(node) for node in ray_check.suitable_nodes(nodes, Execution(**settings))]

    assert able() == [0, 1]
    assert able(threads=2) == [0]
    assert able(device="cuda", runs_per_gpu=2) == [1]
    assert able(device="cuda", threads=2) == []
    assert able(ram=8) == []
