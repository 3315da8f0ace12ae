"""What every place to compute runs must do: one suite, imported by the test module of each place.

A module brings a fixture ``place`` (:class:`Place`) and ``from scenarios import *``. The place has room for four
threads, so that two runs of two threads fill it and a third waits, for a slot of this machine or in the place's own
queue. Nothing here knows which place it is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from conftest import Lab

from eavdash.config.schema import Execution
from eavdash.jobs.queue import cancel, ensure_scheduler, move, retry, scheduler_alive, submit, wait
from eavdash.store import RunDir, locks
from eavdash.store.atomic import write_json

__all__ = [
    "test_a_cancelled_run_leaves_nothing_behind_whether_busy_deaf_or_waiting",
    "test_a_failing_run_says_why_blocks_its_child_and_is_retried",
    "test_a_job_that_the_place_ends_goes_on",
    "test_a_killed_worker_goes_on_as_if_nothing_had_happened",
    "test_a_study_moves_elsewhere_half_way_and_back",
    "test_a_study_with_dependencies_is_computed_once",
    "test_jobs_of_a_killed_conductor_are_adopted_living_and_waiting",
    "test_two_callers_launch_a_study_once",
]
#: Seconds that a scenario may take at most; what is asserted is never how long it took.
PATIENCE = 150
SUBMIT = """
import json, sys
from pathlib import Path
from eavdash.config.convert import execution_of
from eavdash.jobs.queue import submit
from eavdash.store import StudyDir
submit(StudyDir(Path(sys.argv[1])), execution=execution_of({"execution": json.loads(sys.argv[2])}))
"""


@dataclass
class Place:
    """A lab whose runs are computed in one place.

    ``end(run)`` ends the run's job by the place's own means, behind the queue's back; ``jobs()`` are the names of those
    that live or wait in the place's own queue (of this machine: none, its processes are looked at anyway).
    """

    lab: Lab
    execution: Execution
    end: Callable[[RunDir], Any]
    jobs: Callable[[], list[str]]

    def with_threads(self, number: int) -> Execution:
        return dataclasses.replace(self.execution, threads=number)

    def done(self) -> Any:
        """Wait for the study's end; its table by run."""
        return wait(self.lab.study, timeout=PATIENCE).set_index("run")

    def empty(self) -> bool:
        """Wait until nothing is left of any job: no process, and nothing in the place's queue."""
        return bool(self.lab.until(lambda: not self.lab.processes() and not self.jobs()))


def undisturbed(run: RunDir) -> bytes:
    """The weights of a stand-in run that computes every epoch once and in order."""
    chain = hashlib.sha256(run.name.encode()).hexdigest()
    for epoch in range(1, run.config()["standin"]["epochs"] + 1):
        chain = hashlib.sha256(f"{chain}{epoch}".encode()).hexdigest()
    return chain.encode()


def mend(run: RunDir, **standin: Any) -> None:
    """Change how a stand-in run goes."""
    config = run.config()
    config["standin"].update(standin)
    write_json(run.config_file, config)


def child_of(run: RunDir) -> int:
    return int((run.path / "child.txt").read_text())


def test_a_study_with_dependencies_is_computed_once(place: Place) -> None:
    runs = [*place.lab.subject(1), *place.lab.subject(2)]
    submit(place.lab.study, execution=place.execution)
    table = place.done()
    assert set(table["state"]) == {"done"}
    assert place.lab.launches() == dict.fromkeys(table.index, 1)
    assert set(table["attempt"]) == {1}
    for run in runs:
        status = run.status()
        assert run.model_file.read_bytes() == undisturbed(run)
        assert status["execution"]["executor"] == place.execution.executor
        for parent in run.config()["parents"].values():
            assert place.lab.study.run(parent).status()["finished"] <= status["started"]
    assert place.empty()


def test_a_cancelled_run_leaves_nothing_behind_whether_busy_deaf_or_waiting(place: Place) -> None:
    busy = place.lab.run("s01-vision", epochs=100000, child=True)
    deaf = place.lab.run("s02-vision", epochs=100000, child=True, deaf=True)
    submit(place.lab.study, execution=place.with_threads(2))
    pids = [place.lab.at_epoch(run) for run in (busy, deaf)]
    pids += [child_of(run) for run in (busy, deaf)]
    place.lab.run("s03-vision")  # for which there is no room
    place.lab.run("s01-fusion", ("s01-vision",))
    submit(place.lab.study, execution=place.with_threads(2))
    assert set(place.lab.processes()) >= set(pids)
    cancel(place.lab.study)

    def look(table: Any) -> None:
        ended = table.set_index("run")["state"]
        for name, numbers in (("s01-vision", pids[::2]), ("s02-vision", pids[1::2])):
            alive = [pid for pid in numbers if locks.process_start_time(pid) is not None]
            assert ended[name] != "cancelled" or not alive, f"{name} is called cancelled while {alive} live"

    table = wait(place.lab.study, report=look, timeout=PATIENCE).set_index("run")
    assert set(table["state"]) == {"cancelled"}
    assert [locks.process_start_time(pid) for pid in pids] == [None] * 4
    assert place.lab.launches() == {"s01-vision": 1, "s02-vision": 1}
    assert place.empty()


def test_a_killed_worker_goes_on_as_if_nothing_had_happened(place: Place) -> None:
    run = place.lab.run("s01-vision", epochs=60, child=True)
    submit(place.lab.study, execution=place.execution)
    pid, child = place.lab.at_epoch(run, 2), child_of(run)
    os.kill(pid, signal.SIGKILL)
    table = place.done()
    assert table.loc["s01-vision", ["state", "attempt"]].tolist() == ["done", 2]
    assert run.model_file.read_bytes() == undisturbed(run)
    assert place.lab.launches() == {"s01-vision": 2}
    assert locks.process_start_time(child) is None
    assert place.empty()


def test_jobs_of_a_killed_conductor_are_adopted_living_and_waiting(place: Place) -> None:
    living = [place.lab.run(f"s0{i}-vision", epochs=80) for i in (1, 2)]
    submit(place.lab.study, execution=place.with_threads(2))
    pids = [place.lab.at_epoch(run) for run in living]
    others = [place.lab.run("s03-vision"), place.lab.run("s01-fusion", ("s01-vision",))]
    submit(place.lab.study, execution=place.with_threads(2))
    place.lab.kill_conductor()
    assert ensure_scheduler(place.lab.root)
    place.lab.until(lambda: scheduler_alive(place.lab.root))
    place.lab.kill_conductor()  # the second perhaps before it has looked at everything
    assert place.lab.launches() == {"s01-vision": 1, "s02-vision": 1}
    assert ensure_scheduler(place.lab.root)
    table = place.done()
    assert set(table["state"]) == {"done"}
    assert place.lab.launches() == dict.fromkeys(table.index, 1)
    assert [run.status()["pid"] for run in living] == pids
    assert all(run.model_file.read_bytes() == undisturbed(run) for run in living + others)
    assert place.empty()


def test_a_failing_run_says_why_blocks_its_child_and_is_retried(place: Place) -> None:
    runs = place.lab.subject(1, audio={"fail": "the loss is not finite"}, eeg={"crash": True})
    submit(place.lab.study, execution=place.execution)
    table = place.done()
    assert table["state"].to_dict() == {
        "s01-vision": "done",
        "s01-audio": "failed",
        "s01-eeg": "failed",
        "s01-fusion": "blocked",
    }
    assert table.loc["s01-audio", "reason"] == "the loss is not finite"
    assert table.loc["s01-eeg", "reason"] == "ValueError: no such thing"
    # Whichever failed first has blocked it.
    told = table.loc["s01-fusion", "reason"]
    assert "s01-audio failed: the loss is not finite" in told or "s01-eeg failed: ValueError: no such thing" in told
    assert "no such thing" in runs[2].log_file.read_text()
    for run in runs[1:3]:
        mend(run, fail="", crash=False)
    assert set(retry(place.lab.study)) == {"s01-audio", "s01-eeg", "s01-fusion"}
    assert set(place.done()["state"]) == {"done"}
    assert place.lab.launches() == {"s01-vision": 1, "s01-audio": 2, "s01-eeg": 2, "s01-fusion": 1}
    assert place.empty()


def test_two_callers_launch_a_study_once(place: Place) -> None:
    runs = place.lab.subject(1)
    settings = json.dumps(dataclasses.asdict(place.execution))
    command = [sys.executable, "-c", SUBMIT, str(place.lab.study.path), settings]
    with contextlib.ExitStack() as stack:
        callers = [stack.enter_context(subprocess.Popen(command)) for _ in range(2)]
        assert [caller.wait(PATIENCE) for caller in callers] == [0, 0]
    submit(place.lab.study, execution=place.execution)
    assert set(place.done()["state"]) == {"done"}
    assert place.lab.launches() == {run.name: 1 for run in runs}
    assert place.empty()


def test_a_job_that_the_place_ends_goes_on(place: Place) -> None:
    run = place.lab.run("s01-vision", epochs=60, child=True)
    other = place.lab.run("s02-vision", epochs=60)
    submit(place.lab.study, execution=place.execution)
    place.lab.at_epoch(other)
    pid = place.lab.at_epoch(run, 2)
    place.end(run)
    table = place.done()
    assert set(table["state"]) == {"done"}
    assert run.status()["pid"] != pid
    assert run.model_file.read_bytes() == undisturbed(run)
    assert place.lab.launches() == {"s01-vision": 2, "s02-vision": 1}
    assert place.empty()


def test_a_study_moves_elsewhere_half_way_and_back(place: Place) -> None:
    elsewhere = Execution(executor="local", threads=3)
    runs = place.lab.subject(1, audio={"epochs": 1}, eeg={"epochs": 60, "seconds": 0.1}, vision={"epochs": 40})
    audio, eeg = runs[1:3]
    submit(place.lab.study, [audio.name], execution=place.with_threads(2))  # places keep no order among those that wait
    place.lab.until(lambda: audio.status()["state"] == "done")
    submit(place.lab.study, execution=place.with_threads(2))
    place.lab.at_epoch(eeg, 2)
    move(place.lab.study, None, elsewhere)
    place.lab.until(lambda: eeg.status()["attempt"] == 2 and eeg.status()["state"] == "running")
    assert eeg.status()["job"]["executor"] == "local"
    place.lab.at_epoch(eeg, eeg.status()["from_epoch"] + 1)
    move(place.lab.study, None, place.execution)
    table = place.done()
    assert set(table["state"]) == {"done"}
    assert all(run.model_file.read_bytes() == undisturbed(run) for run in runs)
    history = [(entry["executor"], entry["state"]) for entry in eeg.status()["history"]]
    assert history[:2] == [(place.execution.executor, "queued"), ("local", "queued")]
    assert history[-1] == (place.execution.executor, "done")
    assert place.lab.launches()["s01-audio"] == place.lab.launches()["s01-fusion"] == 1
    assert place.lab.launches()["s01-eeg"] == 3
    assert place.empty()
