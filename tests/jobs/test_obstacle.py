"""What keeps the queue from going on is named: a stopped scheduler, a full disk, damaged files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import time
from types import SimpleNamespace

import pytest
from failing import fails
from lab import expected_weights

from eavdash.cli.main import main
from eavdash.errors import VersionError
from eavdash.jobs import obstacle, queue_tasks, reconcile
from eavdash.jobs.queue import cancel, retry, submit, wait
from eavdash.jobs.queue_database import queue_database
from eavdash.jobs.snapshot import snapshot
from eavdash.store import atomic, status
from eavdash.studies import write


def test_a_stopped_scheduler_is_named_by_whatever_needs_it(lab, monkeypatch, capsys):
    monkeypatch.setattr(obstacle, "HEARTBEAT_LOST", 3.0)
    running, late = lab.run("s01-vision", epochs=200), lab.run("s02-vision")
    submit(lab.study, [running.name])
    lab.at_epoch(running)
    assert obstacle.obstacle(lab.root) == ""
    pid = lab.scheduler_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        sentence = lab.until(lambda: obstacle.obstacle(lab.root), 10)
        assert f"kill -CONT {pid}" in sentence
        submit(lab.study, [late.name])
        assert cancel(lab.study, [running.name]) == [running.name]
        table = snapshot(lab.study).set_index("run")
        assert list(table["state"]) == ["running", "queued"]
        assert all("responds" in reason for reason in table["reason"])
        assert main(["status", "tried", "--checkpoints", str(lab.root)]) == 0
        assert f"its process {pid} is stopped" in capsys.readouterr().err
        assert main(["cancel", "tried", "--checkpoints", str(lab.root), "--run", running.name]) == 0
        assert f"its process {pid} is stopped" in capsys.readouterr().err
        warned: list[str] = []
        with pytest.raises(Exception, match="unfinished"):
            wait(lab.study, [late.name], timeout=1.5, warn=warned.append)
        assert [f"process {pid}" in text for text in warned] == [True]
    finally:
        os.kill(pid, signal.SIGCONT)
    lab.until(lambda: not obstacle.obstacle(lab.root), 10)
    wait(lab.study, timeout=60)
    assert lab.states() == {running.name: "cancelled", late.name: "done"}
    assert snapshot(lab.study)["reason"].iloc[1] == ""


def test_a_scheduler_whose_loop_hangs_counts_as_stopped(lab, monkeypatch):
    run = lab.run("s01-vision", epochs=200)
    submit(lab.study)
    lab.at_epoch(run)
    file = obstacle.beat_file(queue_database(lab.root))
    lab.until(file.exists)
    assert len(file.read_bytes()) == obstacle.LENGTH
    monkeypatch.setattr(obstacle, "LOOP_LOST", -1.0)
    sentence = obstacle.obstacle(lab.root)
    assert "a scheduler that responds" in sentence
    assert "busy, or the machine is; wait" in sentence
    assert "kill -CONT" not in sentence


def test_a_sign_of_life_of_an_earlier_scheduler_names_no_process_to_end(lab, monkeypatch):
    monkeypatch.setattr(obstacle, "scheduler_alive", lambda _: True)
    file = obstacle.beat_file(queue_database(lab.root))
    file.parent.mkdir(parents=True, exist_ok=True)
    boot, now = atomic.boot_clock()
    beat = {"host": atomic.host(), "boot": boot, "at": now - 9000, "turned": now - 9000}
    for pid, written, named in ((os.getpid(), 0, True), (os.getpid(), 9 * 86_400, False), (2**22 + 1, 0, False)):
        file.write_text(json.dumps({"pid": pid, **beat}))
        os.utime(file, (time.time() - written,) * 2)
        assert (f"kill -9 {pid}" in obstacle.obstacle(lab.root)) is named


def test_a_full_disk_is_the_reason_of_waiting_and_of_silent_runs(lab, monkeypatch):
    waiting, silent = lab.run("s01-vision"), lab.run("s02-vision")
    waiting.update(submission="x", reason="")
    silent.transition("running", host=atomic.host(), started=time.time())
    assert "its process is gone" in silent.live_status().reason
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
    for reason in snapshot(lab.study)["reason"]:
        assert "free some disk space" in reason
    assert silent.live_status().shown == "not responding"
    monkeypatch.undo()
    assert snapshot(lab.study)["reason"].iloc[0] == ""


def test_a_damaged_status_keeps_the_finished_epochs(lab):
    run, other = lab.run("s01-vision", epochs=60), lab.run("s02-vision")
    submit(lab.study)
    lab.at_epoch(run, 3)
    run.status_file.write_text("[" * 100_000)
    lab.until(lambda: not run.locked())  # the worker ends when it finds its status damaged
    wait(lab.study, [other.name], timeout=60)
    epoch = json.loads(run.resume_file.read_text())[0]
    run.metrics_file.write_text("".join(f'{{"epoch": {n + 1}}}\n' for n in range(epoch)))
    assert retry(lab.study) == []  # the queue leaves it alone
    assert write.retry(lab.study) == [run.name]
    assert run.status().epoch >= epoch >= 3
    wait(lab.study, timeout=90)
    assert (run.status().state, run.model_file.read_bytes()) == ("done", expected_weights(run))
    epochs = (lab.study.path / "launches.txt").read_text()
    assert epochs.count(run.name) == 2
    assert run.status_file.with_name("status.json.damaged").read_text().startswith("[[")


def test_a_status_of_a_later_version_is_not_replaced(lab):
    run = lab.run("s01-vision")
    content = json.dumps({"state": "mood", "schema_version": 2})
    run.status_file.write_text(json.dumps({**json.loads(content), "state": "queued"}))
    before = run.status_file.read_bytes()
    run.restore_status()
    assert run.status_file.read_bytes() == before
    with fails(VersionError, where="status.json", expected="version 1", found="2"):
        run.status()


def test_a_run_that_cannot_be_handled_does_not_stop_the_others(lab, monkeypatch, capsys):
    bad, good = lab.run("s01-vision"), lab.run("s02-vision")
    for run in (bad, good):
        run.update(submission="x", reason="")
    whole = queue_tasks._task

    def fail(run, *given):
        if run.name == bad.name:
            raise RecursionError("deep")
        return whole(run, *given)

    monkeypatch.setattr(queue_tasks, "_task", fail)
    added: list[str] = []
    database = SimpleNamespace(dead_hosts=list, shared=False)
    queue = SimpleNamespace(
        database=database, states=lambda ids, dead: {}, enqueue=lambda made: added.extend(task.run for task in made)
    )
    reconcile.reconcile(lab.root, queue)
    assert added == [good.name]
    assert f"{bad.name} is skipped: RecursionError" in capsys.readouterr().out


def test_a_queue_that_is_damaged_in_the_middle_is_made_again(lab, caplog):
    running = lab.run("s01-vision", epochs=40)
    submit(lab.study, [running.name])
    lab.at_epoch(running)
    pid = lab.scheduler_pid()
    file = queue_database(lab.root).file
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = file.stat().st_size
    with file.open("r+b") as content:  # keep the header, so that the file still opens
        content.seek(4096)
        content.write(os.urandom(size - 4096))
    late = lab.run("s02-vision")
    submit(lab.study, [late.name])
    assert "was damaged" in caplog.text or file.with_name("queue.sqlite.damaged").exists()
    wait(lab.study, timeout=90)
    assert lab.states() == {running.name: "done", late.name: "done"}
    assert running.status().attempt == 1
    assert lab.scheduler_pid() != pid
    assert max(lab.launches().values()) == 1


def test_the_constants_leave_room():
    assert status.HEARTBEAT_LOST >= 3 * status.HEARTBEAT_EVERY
