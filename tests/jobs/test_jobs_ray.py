"""The common suite of all executors on a real Ray of two nodes, and tests of GPU shares, lost nodes and lost heads."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from lab import Lab, expected_weights
from ray_cluster import Cluster
from scenarios import *  # noqa: F403
from scenarios import ExecutorCase

from eavdash.config.schema import Execution
from eavdash.jobs.executors import ray_head
from eavdash.jobs.executors.ray import RayExecutor
from eavdash.jobs.queue import cancel, submit
from eavdash.store import RunDir

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(bool(ray_head.missing()), reason="ray is not installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="a second node needs a second loopback address"),
    # From Ray's libraries.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # contains sockets, whose paths must be short
    made = Cluster(folder)
    try:
        with pytest.MonkeyPatch.context() as patch:  # Ray reads them once, when it is imported
            for variable, value in made.environment.items():
                patch.setenv(variable, value)
            made.open()
            yield made
    finally:
        made.close()
        assert not made.processes("head") + made.processes("second")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(nodes: Cluster) -> Cluster:
    nodes.restart()
    return nodes


@pytest.fixture
def case(cluster: Cluster, lab: Lab) -> Iterator[ExecutorCase]:
    head = ray_head.Head(cluster.address)

    def living() -> dict[str, Any]:
        return {name: row for name, row in head.jobs(fresh=True)[0].items() if not row.status.is_terminal()}

    def end(run: RunDir) -> None:
        head.stop(living()[run.status().job.name].submission_id)

    yield ExecutorCase(lab, Execution(executor="ray", ray_address=cluster.address), end, lambda: list(living()))
    lab.close()
    for row in living().values():
        head.stop(row.submission_id)
    token = cluster.environment["RAY_AUTH_TOKEN"].encode()
    assert not [path for path in lab.root.rglob("*") if path.is_file() and token in path.read_bytes()]


def reason(run: RunDir) -> str:
    return str(run.status().reason)


def gpus_seen_by(pid: int) -> str | None:
    return psutil.Process(pid).environ().get("CUDA_VISIBLE_DEVICES")


def once(run: RunDir) -> bool:
    """Return True if every epoch was computed once and in order; two workers at once would repeat some."""
    epochs = [int(line) for line in (run.path / "epochs.txt").read_text().split()]
    return epochs == sorted(set(epochs)) and run.model_file.read_bytes() == expected_weights(run)


def test_two_runs_share_a_gpu_and_a_third_waits_beyond_rays_timeout(case: ExecutorCase) -> None:
    lab, address = case.lab, case.execution.ray_address
    half = Execution(executor="ray", ray_address=address, device="cuda", runs_per_gpu=2)
    first, second = (lab.run(f"s0{i}-vision", epochs=100000) for i in (1, 2))
    submit(lab.study, execution=half)
    assert [gpus_seen_by(lab.at_epoch(run)) for run in (first, second)] == ["0", "0"]
    third = lab.run("s03-vision")
    submit(lab.study, execution=half)
    plain = lab.run("s04-vision", epochs=100000)
    submit(lab.study, execution=case.execution)
    assert gpus_seen_by(lab.at_epoch(plain)) == ""  # processors are free, so it is the GPU that the third waits for
    lab.until(lambda: "waits in Ray as job" in reason(third))
    # Ray drops a job that waits too long; the run keeps waiting, as another submission.
    job = third.status().job.name
    head = ray_head.Head(address)
    lab.until(lambda: head.jobs(fresh=True)[0][job].submission_id != job)
    assert third.status().state == "queued"
    cancel(lab.study, [first.name, plain.name])
    lab.until(lambda: third.status().state == "done")
    assert (third.status().attempt, lab.launches()[third.name]) == (1, 1)
    assert second.status().state == "running"
    cancel(lab.study)
    assert case.empty()


def test_a_run_of_a_lost_node_resumes_on_another(case: ExecutorCase, cluster: Cluster) -> None:
    runs = [case.lab.run(f"s0{i}-vision", epochs=150) for i in (1, 2)]
    submit(case.lab.study, execution=case.with_threads(2))
    pids = {run: case.lab.at_epoch(run, 2) for run in runs}
    there = [run for run, pid in pids.items() if pid in cluster.processes("second")]
    assert len(there) == 1
    cluster.kill("second")
    (lost,) = there
    (kept,) = set(runs) - set(there)
    case.lab.until(lambda: len(lost.status().history) == 1)
    assert "its Ray node was lost" in lost.status().history[0].reason
    assert kept.status().pid == pids[kept]
    assert set(case.done()["state"]) == {"done"}
    assert lost.status().pid != pids[lost]
    assert all(once(run) for run in runs)
    assert case.lab.launches() == {lost.name: 2, kept.name: 1}
    assert case.empty()


def test_runs_outlast_a_lost_head_and_resume_with_the_next(case: ExecutorCase, cluster: Cluster) -> None:
    runs = [case.lab.run(f"s0{i}-vision", epochs=300) for i in (1, 2)]
    submit(case.lab.study, execution=case.with_threads(2))
    pids = {run: case.lab.at_epoch(run, 2) for run in runs}
    (orphan,) = [run for run, pid in pids.items() if pid in cluster.processes("second")]
    (lost,) = set(runs) - {orphan}
    cluster.kill("head")
    case.lab.until(lambda: cluster.address in reason(lost) and "no server" in reason(lost))
    assert lost.status().state == "queued"
    assert "was lost" in lost.status().history[0].reason
    # Ray does not know the other one, but its heartbeat shows that it is alive.
    assert orphan.status().state == "running"
    assert orphan.status().pid == pids[orphan]
    cluster.start("head")
    cluster.restart()
    assert set(case.done()["state"]) == {"done"}
    assert all(once(run) for run in runs)
    assert case.lab.launches()[lost.name] == 2
    assert case.empty()


def test_a_run_waits_for_a_head_that_is_missing_or_denies_access(
    cluster: Cluster, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 64)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        silent = lab.run("s01-vision")
        submit(lab.study, execution=Execution(executor="ray", ray_address=address))
        closed = lab.run("s02-vision")
        submit(lab.study, execution=Execution(executor="ray", ray_address=cluster.address))
        lab.until(lambda: address in reason(silent) and "no server" in reason(silent))
        lab.until(lambda: "found a wrong token" in reason(closed))
        assert {silent.status().state, closed.status().state} == {"queued"}
        cancel(lab.study)
        lab.until(lambda: set(lab.states().values()) == {"cancelled"})
    assert not lab.launches()


def test_a_cluster_is_checked_before_runs_are_submitted(
    case: ExecutorCase, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor, root = RayExecutor(), case.lab.root
    assert executor.check(root, case.execution) == []
    (found,) = executor.check(root, case.with_threads(4))
    assert "expected a node with 4 CPU for a run" in found
    (found,) = executor.check(root, Execution(executor="ray", ray_address=cluster.address, device="cuda", threads=4))
    assert "expected a node with 4 CPU, 1 GPU" in found
    monkeypatch.setattr(sys, "executable", "/there/is/no/python")
    found = executor.check(root, case.execution)
    assert len(found) == 2
    assert all("/there/is/no/python" in line and "same environment" in line for line in found)
    assert not list((root / ".queue").glob("probe-*"))
