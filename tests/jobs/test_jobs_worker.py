"""The worker started by hand, and its exits; with the stand-in's training."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from eavdash.config.schema import Execution
from eavdash.jobs import requests, scheduler_process
from eavdash.jobs import worker as module
from eavdash.jobs.executors import Exit
from eavdash.jobs.exit_state import EXIT_REASONS, state_after_exit
from eavdash.jobs.queue import cancel, submit, wait
from eavdash.jobs.scheduler import main as run_scheduler
from eavdash.store import locks
from eavdash.store.atomic import write_json
from eavdash.store.processes import with_package
from eavdash.store.readable import data_folders, set_data_folders
from eavdash.store.record import write_record
from eavdash.store.status import HEARTBEAT_EVERY


@pytest.fixture
def by_hand():
    """Function that starts a worker as a user would; it is killed at the end of the test."""
    started = []

    def start(run):
        command = os.environ["EAVDASH_WORKER"].split()
        own = with_package(dict(os.environ))
        started.append(subprocess.Popen([*command, str(run.path)], stderr=subprocess.PIPE, text=True, env=own))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_worker_by_hand_computes_a_run_once(lab, by_hand):
    run = lab.run("s01-vision", epochs=80)
    first = by_hand(run)
    assert lab.at_epoch(run) == first.pid
    assert run.status().host == os.uname().nodename
    second = by_hand(run)
    error = second.communicate(timeout=30)[1]
    assert second.returncode == 1
    assert f"process {first.pid}" in error
    assert "eavdash cancel tried --run s01-vision" in error
    # The queue waits for it instead of launching another, and notices its end.
    heartbeat = run.status().heartbeat
    submit(lab.study)
    assert wait(lab.study, timeout=120)["state"].tolist() == ["done"]
    assert first.wait(10) == 0
    assert run.status().heartbeat > heartbeat
    assert run.status().attempt == 1
    third = by_hand(run)
    assert "queued after done, found running" in third.communicate(timeout=30)[1]
    assert run.status().state == "done"


def test_a_worker_by_hand_stops_and_resumes(lab, by_hand):
    run = lab.run("s01-vision", epochs=100)
    worker = by_hand(run)
    lab.at_epoch(run, 2)
    worker.terminate()
    assert worker.wait(20) == 128 + signal.SIGTERM
    assert run.status().state == "cancelled"
    assert run.status().reason == "stopped by hand"
    config = run.config()
    config.standin["epochs"] = run.status().epoch + 1
    write_record(run.config_file, config)
    assert by_hand(run).wait(30) == 0
    assert run.status().state == "done"
    assert run.status().attempt == 2


def test_a_worker_by_hand_is_cancelled_from_the_app(lab, by_hand):
    run = lab.run("s01-vision", epochs=1000)
    other = lab.run("s02-vision", epochs=1000, child=True)
    worker, killed = by_hand(run), by_hand(other)
    lab.at_epoch(run)
    lab.at_epoch(other)
    orphan = int((other.path / "child.txt").read_text())
    killed.kill()
    killed.wait()
    cancel(lab.study, ["s01-vision"])
    assert wait(lab.study, ["s01-vision"], timeout=120)["state"].tolist() == ["cancelled"]
    assert worker.wait(10) == 128 + signal.SIGTERM
    # The queue did not start the other one, but its state must become true as well.
    lab.until(lambda: lab.states()["s02-vision"] == "failed")
    lab.until(lambda: locks.process_start_time(orphan) is None)


def test_a_worker_exits_when_its_run_was_deleted(lab, by_hand):
    run = lab.run("s01-vision", epochs=1, seconds=60)
    worker = by_hand(run)
    lab.until(lambda: run.status().state == "running")
    # By renaming, as studies are deleted: the worker still writes into the folder.
    hidden = run.path.rename(lab.root / "deleted")
    assert worker.wait(HEARTBEAT_EVERY + 20) == 1
    shutil.rmtree(hidden)
    missing = by_hand(run)
    assert f"{run.path}: expected a run's folder with config.json" in missing.communicate(timeout=30)[1]
    assert missing.returncode == 2


def test_a_full_disk_is_named_by_the_scheduler(lab):
    run = lab.run("s01-vision", full=True)
    lab.run("s02-vision")
    submit(lab.study)
    table = wait(lab.study, timeout=120).set_index("run")
    assert table.loc["s01-vision", "state"] == "failed"
    assert "the disk is full" in table.loc["s01-vision", "reason"]
    assert table.loc["s02-vision", "state"] == "done"
    assert run.status().attempt == 1


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, errno.ENOSPC), (errno.EACCES, errno.EIO)])
def test_a_worker_that_cannot_even_mark_its_run_says_why_by_its_exit_code(lab, monkeypatch, number, code):
    """As one that is started again while the disk is full: the run is still "running" from the attempt before."""
    run = lab.run("s01-vision")
    run.transition("running")
    monkeypatch.setenv("EAVDASH_RUN", "")

    def unwritable(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("eavdash.store.atomic.os.fsync", unwritable)
    assert module.main([str(run.path)]) == code
    assert run.status().state == "running"
    assert state_after_exit(run.status(), Exit(code), counted=True)[1]["reason"].startswith(EXIT_REASONS[code])


def test_a_worker_that_was_replaced_writes_no_result(lab, monkeypatch):
    """As one that was suspended while another machine resumed its run."""
    run = lab.run("s01-vision")
    monkeypatch.setenv("EAVDASH_RUN", "")  # the worker sets it for its children

    def replaced(*_):
        run.update(attempt=7, submission="another")

    monkeypatch.setattr(module, "_train", replaced)
    assert module.main([str(run.path)]) == 1
    assert (run.status().state, run.status().attempt) == ("running", 7)


def test_a_library_that_turns_the_stop_into_an_error_does_not_fail_the_run(lab, monkeypatch):
    run = lab.run("s01-vision")
    monkeypatch.setenv("EAVDASH_RUN", "")

    def translated(*_):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except module.Stopped as stop:
            raise RuntimeError("interrupted inside a library") from stop

    monkeypatch.setattr(module, "_train", translated)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert module.main([str(run.path)]) == module.STOPPED
    finally:
        signal.signal(signal.SIGTERM, before)
    assert run.status().state == "cancelled"  # started by hand


def test_a_study_on_another_disk_uses_the_cache_beside_the_other_studies(lab, monkeypatch):
    run = lab.run("s01-vision")
    lab.study.path.rename(lab.root.with_name("disk"))
    lab.study.path.symlink_to(lab.root.with_name("disk"))
    monkeypatch.chdir(lab.study.path)
    caches = []
    monkeypatch.setattr(module, "_train", lambda run, *_: caches.append(run.study.cache_dir))
    monkeypatch.setenv("EAVDASH_RUN", "")
    assert module.main([str(run.path)]) == 0
    assert caches == [lab.root / ".cache"]


@pytest.mark.parametrize(
    ("asked", "planned", "may"),
    [
        (["/data"], ["/"], ("/data",)),
        (["/data"], None, ("/data",)),
        (["/data"], ["/data/a", "/root"], ("/data/a",)),
        (["/data"], ["/root"], ()),
        (None, ["/data"], ("/data",)),
        (None, None, None),
    ],
)
def test_a_worker_reads_what_its_requester_may_and_a_study_adds_nothing(lab, monkeypatch, asked, planned, may):
    document = json.loads(lab.study.study_file.read_text())
    document["dataset"]["folders"] = planned
    write_json(lab.study.study_file, document)
    seen = []
    monkeypatch.setattr(module, "_train", lambda run, *_: seen.append(data_folders()))
    monkeypatch.setenv("EAVDASH_RUN", "")
    run = lab.run("s01-vision")
    monkeypatch.setenv("EAVDASH_DATA", "[]")  # restored afterwards
    set_data_folders(asked)
    requests.submit(run, Execution(), {run: run.status()})
    assert run.status().folders == (None if asked is None else tuple(asked))
    set_data_folders(None)  # as in the scheduler
    assert module.main([str(run.path)]) == 0
    assert seen == [may]


def test_a_scheduler_and_its_workers_are_not_restricted_by_who_starts_it(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(scheduler_process.subprocess, "Popen", lambda *_, env, **__: given.append(env))
    foreign = {"EAVDASH_DATA": '["/of/the/app"]', "EAVDASH_RUN": "/a/task", "EAVDASH_TASK": "/a/task"}
    for name, value in foreign.items():
        monkeypatch.setenv(name, value)
    scheduler_process._start(tmp_path, tmp_path / "log")
    assert "PATH" in given[0]
    assert not foreign.keys() & given[0].keys()


def test_heartbeats_continue_after_the_disk_was_unavailable(lab, monkeypatch):
    run = lab.run("s01-vision")
    monkeypatch.setattr("eavdash.jobs.process.HEARTBEAT_EVERY", 0.01)
    real, calls = type(run).update, []

    def unavailable(self, *given, **fields):
        calls.append(fields)
        if len(calls) == 1:
            raise OSError(errno.ESTALE, "Stale file handle")
        return real(self, *given, **fields)

    monkeypatch.setattr(type(run), "update", unavailable)
    with module.Heartbeat(run, {}):
        lab.until(lambda: len(calls) > 2, 20)
    assert run.status().heartbeat > 0


def test_a_stopped_process_does_not_respond(lab, by_hand, monkeypatch):
    monkeypatch.setattr("eavdash.store.status.HEARTBEAT_LOST", 0.5)
    run = lab.run("s01-vision", epochs=1000)
    worker = by_hand(run)
    lab.at_epoch(run)
    worker.send_signal(signal.SIGSTOP)
    lab.until(lambda: lab.states()["s01-vision"] == "not responding")
    assert "no heartbeat for" in run.live_status().reason


def test_a_scheduler_exits_when_another_is_running(lab, monkeypatch):
    (lab.root / ".queue").mkdir(mode=0o700)
    lock = locks.acquire(lab.root / ".queue" / "conductor.lock")
    begun = time.monotonic()
    assert run_scheduler([str(lab.root)]) == 0
    assert time.monotonic() - begun < 10
    os.close(lock)
