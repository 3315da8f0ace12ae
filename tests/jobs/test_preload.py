"""Workers forked from a preloaded process: the same weights, locks, exit codes and signals as started ones."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_jobs_training import recordings

from eavdash.config.schema import AudioConfig, Execution, Selection, StudyConfig, TrainConfig, TrainConfigs
from eavdash.jobs.executors import Exit, Leases
from eavdash.jobs.executors.local import RUN_VARIABLE, LocalExecutor, worker_environment
from eavdash.jobs.forked import ForkedProcess
from eavdash.jobs.worker import STOPPED
from eavdash.store import RunDir, StudyDir, locks
from eavdash.store.record import write_record
from eavdash.studies.write import prepare

CPU = Execution(device="cpu")
pytestmark = pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="forks only on Linux")


def until(condition: Callable[[], Any], seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalExecutor]:
    """An executor whose preloaded process is ready."""
    monkeypatch.delenv("EAVDASH_WORKER", raising=False)
    made = LocalExecutor()
    made.preloaded.launch(worker_environment(1))
    until(lambda: made.preloaded.ready)
    yield made
    made.preloaded.close()


@pytest.fixture
def study(tmp_path: Path) -> StudyDir:
    config = StudyConfig(
        stages=("audio",),
        window=1.0,
        audio=AudioConfig(mels=32, width=16, depth=1, heads=2),
        train=TrainConfigs(audio=TrainConfig(epochs=4, batch=4)),
    )
    return prepare(recordings(tmp_path / "sounds"), "tried", config, Selection(), tmp_path / "c").study


def start(executor: LocalExecutor, run: RunDir) -> Any:
    return executor.start(run, CPU, Leases(), lambda: run.transition("running", attempt=1))


def ended(executor: LocalExecutor, job: Any) -> Exit:
    return until(lambda: executor.poll(job))


def slowly(run: RunDir) -> None:
    """Make a run long enough to be caught."""
    config = run.config()
    config.config["train"]["audio"]["epochs"] = 100_000
    write_record(run.config_file, config)


def test_a_forked_worker_ends_with_the_weights_of_a_started_one(executor: LocalExecutor, study: StudyDir) -> None:
    forked, started = study.run("s01-audio-fold0"), study.run("s01-audio-fold1")
    job = start(executor, forked)
    assert isinstance(job.process, ForkedProcess)
    assert ended(executor, job) == Exit(0)
    assert forked.status().state == "done"
    assert forked.status().pid == job.process.pid
    assert "epoch 4 of 4" in forked.log_file.read_text()
    assert not forked.locked()
    # The same run once more by its command: of another executor, whose preloaded process was never launched.
    write_record(started.config_file, forked.config().replace(fold=0))
    plain = LocalExecutor()
    job = start(plain, started)
    assert not isinstance(job.process, ForkedProcess)
    assert ended(plain, job) == Exit(0)
    assert started.model_file.read_bytes() == forked.model_file.read_bytes()
    plain.preloaded.close()


def test_a_forked_worker_is_known_by_its_run_and_ended_with_its_group(executor: LocalExecutor, study: StudyDir) -> None:
    run = study.run("s01-audio-fold0")
    slowly(run)
    job = start(executor, run)
    until(lambda: run.status().epoch >= 1)
    pid = job.process.pid
    assert locks.pids_with_env(RUN_VARIABLE, str(run.path)) == [pid]
    assert os.getpgid(pid) == pid
    owner = locks.owner(run.lock_file)
    assert owner is not None
    assert (owner.pid, owner.alive) == (pid, True)
    executor.stop(job)
    assert not run.locked()
    code = ended(executor, job).code
    assert code in (STOPPED, -signal.SIGKILL), run.log_file.read_text()
    assert locks.process_start_time(pid) is None


def test_a_killed_forked_worker_and_a_failed_one_are_told_apart(executor: LocalExecutor, study: StudyDir) -> None:
    killed, broken = study.run("s01-audio-fold0"), study.run("s01-audio-fold1")
    slowly(killed)
    job = start(executor, killed)
    until(lambda: killed.status().epoch >= 1)
    os.kill(job.process.pid, signal.SIGKILL)
    assert ended(executor, job) == Exit(-signal.SIGKILL)
    write_record(broken.config_file, broken.config().replace(fold=77))
    assert ended(executor, start(executor, broken)) == Exit(1)
    assert broken.status().state == "failed"


def test_workers_outlive_the_preloaded_process_and_later_ones_are_started(
    executor: LocalExecutor, study: StudyDir
) -> None:
    run, next_run = study.run("s01-audio-fold0"), study.run("s01-audio-fold1")
    slowly(run)
    job = start(executor, run)
    until(lambda: run.status().epoch >= 1)
    executor.preloaded.kill()
    until(lambda: job.process.lost)
    assert executor.poll(job) is None
    epoch = run.status().epoch
    until(lambda: run.status().epoch > epoch)  # it goes on
    other = start(executor, next_run)
    assert not isinstance(other.process, ForkedProcess)
    assert ended(executor, other) == Exit(0)
    executor.stop(job)
    assert ended(executor, job) == Exit()
    assert not locks.pids_with_env(RUN_VARIABLE, str(run.path))
