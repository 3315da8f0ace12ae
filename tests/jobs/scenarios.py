"""Common test suite of all executors, imported by the test module of each.

A module defines a fixture ``case`` (:class:`ExecutorCase`) and imports everything from here. The executor has four
cores, so that two runs of two threads fill it and a third one waits, for a slot of this machine or in the executor's
own queue. The tests are the same for every executor.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lab import Lab, change_standin, child_pid, expected_weights

from eavdash.config.schema import Execution
from eavdash.jobs.queue import cancel, ensure_scheduler, move, retry, scheduler_alive, submit, wait
from eavdash.store import RunDir, locks

__all__ = [
    "test_a_cancelled_run_leaves_no_process_behind",
    "test_a_failing_run_has_a_reason_blocks_its_child_and_is_retried",
    "test_a_job_that_its_executor_ends_resumes",
    "test_a_killed_worker_resumes_with_the_same_result",
    "test_a_study_moves_to_another_executor_and_back",
    "test_a_study_with_dependencies_is_computed_once",
    "test_running_and_waiting_jobs_of_a_killed_scheduler_are_adopted",
    "test_two_callers_launch_a_study_once",
]
#: Timeout of a scenario in seconds; no test asserts a duration.
PATIENCE = 150
SUBMIT = """
import json, sys
from pathlib import Path
from eavdash.config.convert import execution_of
from eavdash.jobs.queue import submit
from eavdash.store import StudyDir
submit(StudyDir(Path(sys.argv[1])), execution=execution_of(json.loads(sys.argv[2])))
"""


@dataclass
class ExecutorCase:
    """A lab whose runs are computed by one executor.

    ``end(run)`` ends the run's job without the queue; ``jobs()`` returns the names of live and waiting jobs in the
    executor's own queue (none for this machine, whose processes are checked anyway).
    """

    lab: Lab
    execution: Execution
    end: Callable[[RunDir], Any]
    jobs: Callable[[], list[str]]

    def with_threads(self, number: int) -> Execution:
        return dataclasses.replace(self.execution, threads=number)

    def done(self) -> Any:
        """Wait for the study's end; return its table, indexed by run."""
        return wait(self.lab.study, timeout=PATIENCE).set_index("run")

    def empty(self) -> bool:
        """Wait until no process and no queued job is left."""
        return bool(self.lab.until(lambda: not self.lab.processes() and not self.jobs()))


def test_a_study_with_dependencies_is_computed_once(case: ExecutorCase) -> None:
    runs = [*case.lab.subject(1), *case.lab.subject(2)]
    submit(case.lab.study, execution=case.execution)
    table = case.done()
    assert set(table["state"]) == {"done"}
    assert case.lab.launches() == dict.fromkeys(table.index, 1)
    assert set(table["attempt"]) == {1}
    for run in runs:
        status = run.status()
        assert run.model_file.read_bytes() == expected_weights(run)
        assert status.execution["executor"] == case.execution.executor
        for parent in run.config().parents.values():
            assert case.lab.study.run(parent).status().finished <= status.started
    assert case.empty()


def test_a_cancelled_run_leaves_no_process_behind(case: ExecutorCase) -> None:
    busy = case.lab.run("s01-vision", epochs=100000, child=True)
    deaf = case.lab.run("s02-vision", epochs=100000, child=True, deaf=True)
    submit(case.lab.study, execution=case.with_threads(2))
    pids = [case.lab.at_epoch(run) for run in (busy, deaf)]
    pids += [child_pid(run) for run in (busy, deaf)]
    case.lab.run("s03-vision")  # has to wait for a slot
    case.lab.run("s01-fusion", ("s01-vision",))
    submit(case.lab.study, execution=case.with_threads(2))
    assert set(case.lab.processes()) >= set(pids)
    cancel(case.lab.study)

    def check(table: Any) -> None:
        ended = table.set_index("run")["state"]
        for name, numbers in (("s01-vision", pids[::2]), ("s02-vision", pids[1::2])):
            alive = [pid for pid in numbers if locks.process_start_time(pid) is not None]
            assert ended[name] != "cancelled" or not alive, f"{name} is called cancelled while {alive} live"

    table = wait(case.lab.study, report=check, timeout=PATIENCE).set_index("run")
    assert set(table["state"]) == {"cancelled"}
    assert [locks.process_start_time(pid) for pid in pids] == [None] * 4
    assert case.lab.launches() == {"s01-vision": 1, "s02-vision": 1}
    assert case.empty()


def test_a_killed_worker_resumes_with_the_same_result(case: ExecutorCase) -> None:
    run = case.lab.run("s01-vision", epochs=60, child=True)
    submit(case.lab.study, execution=case.execution)
    pid, child = case.lab.at_epoch(run, 2), child_pid(run)
    os.kill(pid, signal.SIGKILL)
    table = case.done()
    assert table.loc["s01-vision", ["state", "attempt"]].tolist() == ["done", 2]
    assert run.model_file.read_bytes() == expected_weights(run)
    assert case.lab.launches() == {"s01-vision": 2}
    assert locks.process_start_time(child) is None
    assert case.empty()


def test_running_and_waiting_jobs_of_a_killed_scheduler_are_adopted(case: ExecutorCase) -> None:
    living = [case.lab.run(f"s0{i}-vision", epochs=80) for i in (1, 2)]
    submit(case.lab.study, execution=case.with_threads(2))
    pids = [case.lab.at_epoch(run) for run in living]
    others = [case.lab.run("s03-vision"), case.lab.run("s01-fusion", ("s01-vision",))]
    submit(case.lab.study, execution=case.with_threads(2))
    case.lab.kill_scheduler()
    assert ensure_scheduler(case.lab.root)
    case.lab.until(lambda: scheduler_alive(case.lab.root))
    case.lab.kill_scheduler()  # perhaps before it has adopted every job
    assert case.lab.launches() == {"s01-vision": 1, "s02-vision": 1}
    assert ensure_scheduler(case.lab.root)
    table = case.done()
    assert set(table["state"]) == {"done"}
    assert case.lab.launches() == dict.fromkeys(table.index, 1)
    assert [run.status().pid for run in living] == pids
    assert all(run.model_file.read_bytes() == expected_weights(run) for run in living + others)
    assert case.empty()


def test_a_failing_run_has_a_reason_blocks_its_child_and_is_retried(case: ExecutorCase) -> None:
    runs = case.lab.subject(1, audio={"fail": "the loss is not finite"}, eeg={"crash": True})
    submit(case.lab.study, execution=case.execution)
    table = case.done()
    assert table["state"].to_dict() == {
        "s01-vision": "done",
        "s01-audio": "failed",
        "s01-eeg": "failed",
        "s01-fusion": "blocked",
    }
    assert table.loc["s01-audio", "reason"] == "the loss is not finite"
    assert table.loc["s01-eeg", "reason"] == "ValueError: no such thing"
    # The one that failed first has blocked it.
    reason = table.loc["s01-fusion", "reason"]
    assert "s01-audio failed: the loss is not finite" in reason or "s01-eeg failed: ValueError: no such thing" in reason
    assert "no such thing" in runs[2].log_file.read_text()
    for run in runs[1:3]:
        change_standin(run, fail="", crash=False)
    assert set(retry(case.lab.study)) == {"s01-audio", "s01-eeg", "s01-fusion"}
    assert set(case.done()["state"]) == {"done"}
    assert case.lab.launches() == {"s01-vision": 1, "s01-audio": 2, "s01-eeg": 2, "s01-fusion": 1}
    assert case.empty()


def test_two_callers_launch_a_study_once(case: ExecutorCase) -> None:
    runs = case.lab.subject(1)
    settings = json.dumps(dataclasses.asdict(case.execution))
    command = [sys.executable, "-c", SUBMIT, str(case.lab.study.path), settings]
    with contextlib.ExitStack() as stack:
        callers = [stack.enter_context(subprocess.Popen(command)) for _ in range(2)]
        assert [caller.wait(PATIENCE) for caller in callers] == [0, 0]
    submit(case.lab.study, execution=case.execution)
    assert set(case.done()["state"]) == {"done"}
    assert case.lab.launches() == {run.name: 1 for run in runs}
    assert case.empty()


def test_a_job_that_its_executor_ends_resumes(case: ExecutorCase) -> None:
    run = case.lab.run("s01-vision", epochs=60, child=True)
    other = case.lab.run("s02-vision", epochs=60)
    submit(case.lab.study, execution=case.execution)
    case.lab.at_epoch(other)
    pid = case.lab.at_epoch(run, 2)
    case.end(run)
    table = case.done()
    assert set(table["state"]) == {"done"}
    assert run.status().pid != pid
    assert run.model_file.read_bytes() == expected_weights(run)
    assert case.lab.launches() == {"s01-vision": 2, "s02-vision": 1}
    assert case.empty()


def test_a_study_moves_to_another_executor_and_back(case: ExecutorCase) -> None:
    elsewhere = Execution(executor="local", threads=3)
    runs = case.lab.subject(1, audio={"epochs": 1}, eeg={"epochs": 60, "seconds": 0.1}, vision={"epochs": 40})
    audio, eeg = runs[1:3]
    submit(case.lab.study, [audio.name], execution=case.with_threads(2))  # executors keep no order among waiting jobs
    case.lab.until(lambda: audio.status().state == "done")
    submit(case.lab.study, execution=case.with_threads(2))
    case.lab.at_epoch(eeg, 2)
    move(case.lab.study, None, elsewhere)
    case.lab.until(lambda: eeg.status().attempt == 2 and eeg.status().state == "running")
    assert eeg.status().job.executor == "local"
    case.lab.at_epoch(eeg, eeg.status().from_epoch + 1)
    move(case.lab.study, None, case.execution)
    table = case.done()
    assert set(table["state"]) == {"done"}
    assert all(run.model_file.read_bytes() == expected_weights(run) for run in runs)
    history = [(entry.executor, entry.state) for entry in eeg.status().history]
    assert history[:2] == [(case.execution.executor, "queued"), ("local", "queued")]
    assert history[-1] == (case.execution.executor, "done")
    assert case.lab.launches()["s01-audio"] == case.lab.launches()["s01-fusion"] == 1
    assert case.lab.launches()["s01-eeg"] == 3
    assert case.empty()
