"""Cancelling ends a run's process and its children, and a waiting run never starts."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from lab import change_standin, child_pid

from eavdash.jobs.queue import cancel, retry, submit, wait
from eavdash.store import locks


def test_cancel_ends_the_process_its_children_and_what_waits(lab, monkeypatch):
    monkeypatch.setenv("EAVDASH_SLOTS", "1")
    busy = lab.run("s01-vision", epochs=1000, child=True, deaf=True)
    lab.run("s01-fusion", ("s01-vision",))
    lab.run("s02-vision")
    submit(lab.study)
    pid = lab.at_epoch(busy)
    child = child_pid(busy)
    seen = []

    def record(table):
        state = table.set_index("run").loc["s01-vision", "state"]
        seen.append((state, locks.process_start_time(pid) is not None))

    cancel(lab.study)
    assert {lab.states()[name] for name in ("s01-fusion", "s02-vision")} == {"cancelled"}
    table = wait(lab.study, report=record, timeout=120)
    assert set(table["state"]) == {"cancelled"}
    assert ("cancelled", True) not in seen
    assert locks.process_start_time(pid) is None
    assert locks.process_start_time(child) is None
    assert lab.processes() == []
    assert lab.launches() == {"s01-vision": 1}
    assert table.set_index("run").loc["s01-vision", "reason"].startswith("cancelled after epoch")

    # A cancelled run resumes with a retry.
    change_standin(busy, epochs=busy.status().epoch + 2, child=False)
    assert set(retry(lab.study)) == {"s01-vision", "s01-fusion", "s02-vision"}
    assert set(wait(lab.study, timeout=120)["state"]) == {"done"}
    assert lab.launches() == {"s01-vision": 2, "s01-fusion": 1, "s02-vision": 1}


def test_cancel_of_one_run_blocks_its_child_and_spares_the_others(lab):
    runs = lab.subject(1, vision={"epochs": 1000})
    submit(lab.study)
    lab.at_epoch(runs[0])
    cancel(lab.study, ["s01-vision"])
    table = wait(lab.study, timeout=120).set_index("run")
    assert table["state"].to_dict() == {
        "s01-audio": "done",
        "s01-eeg": "done",
        "s01-fusion": "blocked",
        "s01-vision": "cancelled",
    }
    assert table.loc["s01-fusion", "reason"] == "s01-vision was cancelled"
    # Ended runs do not change. The blocked run would resume with a retry of its parent: not after this.
    assert cancel(lab.study) == ["s01-fusion"]
    assert lab.states() == {**table["state"].to_dict(), "s01-fusion": "cancelled"}
    assert "s01-vision was cancelled" in runs[3].status().reason
    assert cancel(lab.study) == []
    assert set(retry(lab.study)) == {"s01-fusion", "s01-vision"}
    cancel(lab.study)


def test_cancel_without_a_scheduler_and_of_orphans(lab, monkeypatch):
    monkeypatch.setenv("EAVDASH_SLOTS", "2")
    runs = [lab.run(f"s0{i}-vision", epochs=1000, child=True) for i in (1, 2)]
    lab.run("s03-vision")
    submit(lab.study)
    pids = [lab.at_epoch(run) for run in runs]
    children = [child_pid(run) for run in runs]
    lab.kill_scheduler()
    os.kill(pids[0], signal.SIGKILL)  # its child lives on
    assert Path(f"/proc/{children[0]}").exists()
    cancel(lab.study)
    assert set(wait(lab.study, timeout=120)["state"]) == {"cancelled"}
    assert [locks.process_start_time(pid) for pid in pids + children] == [None] * 4
    assert "s03-vision" not in lab.launches()
    assert sum(lab.launches().values()) == 2
