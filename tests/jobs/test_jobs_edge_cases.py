"""Edge cases of a running queue: damaged, moved or foreign files, changed host names, lost tasks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
from failing import fails
from lab import expected_weights

from eavdash.config.schema import Execution
from eavdash.errors import IntegrityError, TrainingError
from eavdash.jobs import requests
from eavdash.jobs.broker import Broker
from eavdash.jobs.executors import get_executor
from eavdash.jobs.queue import cancel, pause, resume, scheduler_alive, submit, wait
from eavdash.jobs.queue_tasks import activate, train_task
from eavdash.jobs.reconcile import reconcile
from eavdash.jobs.requests import change_execution, suspend
from eavdash.jobs.run_supervisor import RunSupervisor
from eavdash.jobs.slots import Machine, Slots
from eavdash.store import StudyDir, locks, status_folder

DEAF = """
import signal, sys
from pathlib import Path
from eavdash.jobs.queue import submit
from eavdash.store import StudyDir
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
submit(StudyDir(Path(sys.argv[1])))
"""
#: Reads and changes a study as a user who owns none of its files; all modules are imported before the user changes.
STRANGER = """
import contextlib, io, os, sys
from eavdash.cli.main import main
from eavdash.jobs import broker, queue, queue_tasks, requests
from eavdash.studies.write import retry
root = sys.argv[1]
def run(*command):
    code = main([*command, "--checkpoints", root])
    print(f"-- {command[0]} {code}", file=sys.stderr)
with contextlib.redirect_stdout(io.StringIO()):
    with contextlib.redirect_stderr(io.StringIO()):
        run("status", "tried")
        run("studies")
    os.setgroups([]), os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
    for command in ("status", "studies", "cancel", "retry", "pause"):
        run(command, *(["tried"] if command != "studies" else []))
    root = os.path.join(root, "tried", "closed")
    run("status", "tried")
"""


def test_a_damaged_configuration_fails_only_its_run(lab, monkeypatch):
    monkeypatch.setenv("EAVDASH_SLOTS", "1")
    first, bad, other = (lab.run(f"s0{n}-vision", epochs=12 if n == 1 else 1) for n in (1, 2, 3))
    submit(lab.study)
    lab.at_epoch(first)
    bad.config_file.write_text("{")
    lab.until(lambda: other.status().state == "done")
    lab.until(lambda: bad.status().state == "failed")
    assert "config.json" in bad.status().reason


def test_a_run_that_cannot_be_started_has_a_reason_and_does_not_delay_others(lab, monkeypatch):
    monkeypatch.setenv("EAVDASH_SLOTS", "1")
    run, other = lab.run("s01-vision"), lab.run("s02-vision")
    run.lock_file.mkdir()
    submit(lab.study, [run.name])
    lab.until(lambda: "cannot be started" in run.status().reason)
    submit(lab.study)
    lab.until(lambda: other.status().state == "done", 25)
    assert "Is a directory" in run.status().reason
    assert len((lab.root / ".queue" / "conductor.log").read_text()) < 10_000
    run.lock_file.rmdir()
    assert set(wait(lab.study, timeout=60)["state"]) == {"done"}


@pytest.mark.parametrize("text", ["", "null", "5", "[]", '{"paused": 1}'])
def test_no_run_starts_while_the_control_file_is_unreadable(lab, text):
    run = lab.run("s01-vision")
    lab.study.control_file.write_text(text)
    with fails(IntegrityError, where="control.json", remedy="delete it"):
        submit(lab.study)
    assert run.status().state == "queued"
    lab.study.control_file.unlink()
    submit(lab.study)
    assert set(wait(lab.study, timeout=60)["state"]) == {"done"}


def test_an_unwritable_run_does_not_prevent_others_from_being_cancelled_or_computed(lab, monkeypatch):
    first, locked, other = (lab.run(f"s0{n}-vision") for n in (1, 2, 3))
    write = status_folder.write_record

    def refused(path, data):
        if path.parent == locked.path:
            raise TrainingError(f"{path}: read-only.")
        write(path, data)

    for run in (first, locked, other):
        run.update(submission="x")
    monkeypatch.setattr(status_folder, "write_record", refused)
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("eavdash.jobs.queue.ensure_scheduler", lambda _: False)
    with pytest.raises(TrainingError, match="read-only"):
        cancel(lab.study)
    assert [run.status().state for run in (first, locked, other)] == ["cancelled", "queued", "cancelled"]
    broker = Broker(lab.root)
    broker.enqueue([train_task(locked, locked.status())])
    broker.cancel([train_task(locked, locked.status()).id])
    reconcile(lab.root, broker)  # its lost task cannot be replaced now
    broker.close()
    slots = Slots(lab.root / "slots", Machine(1))
    RunSupervisor(lab.root, None, get_executor, slots).train(
        "tried", locked.name, "x"
    )  # comes to an end: others have their turn
    assert locked.status().state == "queued"


def test_a_queue_without_work_can_be_deleted_while_its_scheduler_runs(lab):
    lab.run("s01-vision", epochs=1)
    submit(lab.study)
    wait(lab.study, timeout=60)
    pid = lab.scheduler_pid()
    shutil.rmtree(lab.root / ".queue")
    lab.until(lambda: locks.process_start_time(pid) is None)
    assert not (lab.root / ".queue").exists()  # a new one would interfere with deleting the checkpoints folder


def test_a_queue_that_is_deleted_or_moved_while_its_scheduler_runs_is_restored(lab, monkeypatch):
    monkeypatch.setenv("EAVDASH_SLOTS", "1")
    runs = [lab.run("s01-vision", epochs=40), lab.run("s02-vision", epochs=150)]
    submit(lab.study)
    lab.at_epoch(runs[0])
    shutil.rmtree(lab.root / ".queue")
    lab.until(lambda: runs[1].status().state == "running")  # without another request
    pid, scheduler = lab.at_epoch(runs[1]), lab.scheduler_pid()
    moved = lab.root.rename(lab.root.with_name("elsewhere"))
    lab.root, lab.study = moved, StudyDir(moved / "tried")
    # Both processes exit because their folder does not exist any more.
    lab.until(lambda: locks.process_start_time(scheduler) is None and locks.process_start_time(pid) is None, 30)
    lab.until(lambda: not scheduler_alive(moved))
    assert set(wait(lab.study, timeout=60)["state"]) == {"done"}
    assert lab.launches() == {"s01-vision": 1, "s02-vision": 2}
    for run in lab.study.runs():
        assert run.model_file.read_bytes() == expected_weights(run)


def test_a_damaged_database_is_rebuilt(lab):
    odd = lab.root.rename(lab.root.with_name("50%20 dône?"))  # special characters in the folder's name do not matter
    lab.root, lab.study = odd, StudyDir(odd / "tried")
    lab.run("s01-vision")
    submit(lab.study)
    wait(lab.study, timeout=60)
    lab.kill_scheduler()
    file = lab.root / ".queue" / "queue.sqlite"
    file.write_bytes(b"no database" * 1000)
    lab.run("s02-vision")
    submit(lab.study)
    assert set(wait(lab.study, timeout=60)["state"]) == {"done"}
    assert lab.launches() == {"s01-vision": 1, "s02-vision": 1}
    assert file.with_name("queue.sqlite.damaged").exists()


def test_jobs_without_an_owner_or_of_a_renamed_machine_are_cancelled(lab, monkeypatch):
    monkeypatch.setenv("EAVDASH_HOST", "before")
    unsigned, renamed = (lab.run(f"s0{n}-vision", epochs=2000, child=True) for n in (1, 2))
    submit(lab.study)
    pids = [lab.at_epoch(run) for run in (unsigned, renamed)]
    lab.kill_scheduler()
    unsigned.lock_file.write_text("")  # as if the disk was full when the owner was to be written
    monkeypatch.setenv("EAVDASH_HOST", "after")  # like a laptop that gets another name in another network
    cancel(lab.study)
    assert set(wait(lab.study, timeout=30)["state"]) == {"cancelled"}
    assert [locks.process_start_time(pid) for pid in pids] == [None, None]
    assert not lab.processes()


def test_a_queue_started_from_inside_a_job_or_with_sigchld_ignored_works(lab, monkeypatch):
    for name, value in {"EAVDASH_JOB": "eavdash-other", "EAVDASH_LOCK_FD": "1", "EAVDASH_RUN": "/other"}.items():
        monkeypatch.setenv(name, value)
    run = lab.run("s01-vision", epochs=30)
    subprocess.run([sys.executable, "-c", DEAF, str(lab.study.path)], check=True, timeout=60)
    os.kill(lab.at_epoch(run, 2), signal.SIGKILL)
    assert wait(lab.study, timeout=60)[["state", "attempt"]].values.tolist() == [["done", 2]]
    assert run.model_file.read_bytes() == expected_weights(run)


def test_a_worker_outlives_the_loss_of_its_task(lab):
    run = lab.run("s01-vision", epochs=60)
    submit(lab.study)
    lab.at_epoch(run)
    broker = Broker(lab.root)
    broker.cancel([train_task(run, run.status()).id])
    activate(broker, [run])
    broker.close()
    assert wait(lab.study, timeout=60)[["state", "attempt"]].values.tolist() == [["done", 1]]


def test_a_run_that_was_removed_from_the_queue_cannot_start_by_its_old_request(lab):
    run = lab.run("s01-vision")
    run.update(submission="old")
    assert suspend(run, run.status(), "paused", waiting_only=True).obsolete == "tried/s01-vision#old"
    assert run.status().submission != "old"
    pause(lab.study)
    resume(lab.study)
    assert set(wait(lab.study, timeout=60)["state"]) == {"done"}


def test_a_run_that_is_retried_while_all_are_cancelled_does_not_wait_for_a_cancelled_one(lab, monkeypatch):
    lab.run("s01-vision")
    fusion = lab.run("s01-fusion", ("s01-vision",))
    fusion.transition("cancelled")
    whole = requests.cancel

    def cancel_and_retry(run, status):
        found = whole(run, status)
        if run.name == fusion.name:
            requests.retry(run, Execution(), named=True)
        return found

    monkeypatch.setattr(requests, "cancel", cancel_and_retry)
    monkeypatch.setattr("eavdash.jobs.queue.ensure_scheduler", lambda _: None)
    assert fusion.name not in cancel(lab.study)
    assert fusion.status().blocked_by == ("s01-vision",)


def test_changes_of_settings_at_the_same_time_all_take_effect(lab):
    run = lab.run("s01-vision")
    run.transition("blocked", submission="asked", reason="waits for another", execution=asdict(Execution()))
    read = run.status()
    change_execution(run, read, lambda old: replace(old, priority=3))
    change_execution(run, read, lambda old: replace(old, threads=2))  # it has read the status before the other's change
    assert run.status().execution == asdict(Execution(priority=3, threads=2)) | {"slurm": []}


def test_another_users_folder_is_shown_and_cannot_be_changed(lab):
    if os.geteuid():
        pytest.skip("changing the user requires root")
    run = lab.run("s01-vision", epochs=10000)
    (lab.root / "lost+found").mkdir(mode=0o700)
    (lab.study.path / "closed").mkdir(mode=0o700)
    submit(lab.study)
    lab.at_epoch(run)
    for folder in (lab.root, *list(lab.root.parents)[:-2]):
        folder.chmod(0o755)
    before = run.status().submission
    done = subprocess.run([sys.executable, "-c", STRANGER, str(lab.root)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("--")] == [
        "-- status 0", "-- studies 0", "-- cancel 1", "-- retry 1", "-- pause 1", "-- status 1",
    ]  # fmt: skip
    assert "closed/tried/study.json: Permission denied" in done.stderr
    assert ".queue: expected a queue that you may use, found Permission denied" in done.stderr
    assert (run.status().submission, run.status().state) == (before, "running")
