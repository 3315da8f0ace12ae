"""The supervisor's states for jobs that end without one, and locks and slots, without other processes."""

from __future__ import annotations

import errno
import os
import threading
import time

import pytest
from failing import fails

from eavdash.errors import ConfigError, QueueError, TrainingError
from eavdash.jobs.dependencies import obstacles, unblock
from eavdash.jobs.executors import Exit, get_executor
from eavdash.jobs.exit_state import MAX_KILLS
from eavdash.jobs.run_supervisor import RunSupervisor
from eavdash.jobs.slots import Machine, Need, Slots, slot_count
from eavdash.store import locks, status_folder
from eavdash.store.atomic import is_locked


class OneJob:
    """An executor whose jobs end with given exit codes."""

    has_queue = False

    def __init__(self, *codes):
        self.codes = list(codes)
        self.started = 0

    def find(self, run):
        return None

    def start(self, run, settings, leases, claim):
        claim()
        self.started += 1
        return self.codes.pop(0)

    def poll(self, job):
        return job if isinstance(job, Exit) else Exit(job)


def supervise(lab, run, *codes, **status):
    """Supervise a queued run whose jobs end with these exit codes."""
    run.update(submission="x", **status)
    executor = OneJob(*codes)
    RunSupervisor(lab.root, None, lambda _: executor, Slots(lab.root / "slots", Machine(1))).train(
        lab.study.name, run.name, "x"
    )
    return executor, run.status()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EIO, "could not be written"),
        (3, "exit code 3"),
        (0, "exit code 0"),
    ],
)
def test_an_exit_without_a_result_is_a_failure(lab, code, reason):
    executor, status = supervise(lab, lab.run("s01-vision"), code)
    assert status.state == "failed"
    assert reason in status.reason
    assert executor.started == 1


def test_kills_are_counted_only_without_progress(lab):
    run = lab.run("s01-vision")
    executor, status = supervise(lab, run, -9, 128 + 15, -9)
    assert (status.state, executor.started, status.attempt) == ("failed", MAX_KILLS, MAX_KILLS)
    other = lab.run("s02-vision")
    executor, status = supervise(lab, other, -9, -9, 1, kills=2, killed_epoch=0, epoch=1)
    assert executor.started == 3  # an epoch was finished since the second kill, so the third is the first again
    assert "exit code 1" in status.reason
    preempted = Exit(-15, "it had to give way", external_cause=True)
    executor, status = supervise(lab, lab.run("s03-vision"), *[preempted] * (MAX_KILLS + 1), 1)
    assert executor.started == MAX_KILLS + 2  # external causes do not count
    reasons = {attempt.reason for attempt in status.history[:-1]}
    assert all("it had to give way" in reason and "epoch 0" in reason for reason in reasons)


def test_the_resume_file_of_a_finished_run_is_deleted(lab):
    run = lab.run("s01-vision")
    run.resume_file.write_bytes(b"x" * 100)  # killed after it was done, before this was deleted
    run.transition("running")
    run.transition("done")
    RunSupervisor(lab.root, None, lambda _: OneJob(), Slots(lab.root / "slots", Machine(1))).train(
        lab.study.name, run.name, "x"
    )
    assert not run.resume_file.exists()


def test_an_unknown_executor_fails_its_run(lab):
    run = lab.run("s01-vision")
    run.update(submission="x", execution={"executor": "moon"})
    RunSupervisor(lab.root, None, get_executor, Slots(lab.root / "slots", Machine(1))).train(
        lab.study.name, run.name, "x"
    )
    assert run.status().state == "failed"
    assert "'moon'" in run.status().reason
    assert "local, ray, slurm" in run.status().reason


def test_an_outdated_task_does_not_change_the_run(lab):
    run = lab.run("s01-vision")
    run.update(submission="y")
    executor = OneJob(0)
    supervisor = RunSupervisor(lab.root, None, lambda _: executor, Slots(lab.root / "slots", Machine(1)))
    supervisor.train(lab.study.name, run.name, "x")
    supervisor.train("none", "s01-vision", "x")
    assert executor.started == 0
    assert run.status().state == "queued"


def test_an_executor_that_does_not_answer_is_named_and_polled_again(lab, monkeypatch):
    run = lab.run("s01-vision")
    run.update(
        submission="x", job={"executor": "slurm", "name": "eavdash-tried-s01-vision-1"}, execution={"executor": "slurm"}
    )
    reasons = []

    class Silent(OneJob):
        has_queue = True

        def find(self, run):
            reasons.append(run.status().reason)
            if len(reasons) < 3:
                raise QueueError("SLURM: expected an answer, found none; wait.")
            return -9

        def waiting_reason(self, job):
            return ""

        def poll(self, job):
            run.update(cancel="now")
            return Exit(job)

    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    supervisor = RunSupervisor(lab.root, None, lambda _: Silent(), Slots(lab.root / "slots", Machine(1)))
    supervisor.train(lab.study.name, run.name, "x")
    assert [reason[:5] for reason in reasons] == ["plann", "SLURM", "SLURM"]
    assert run.status().state == "cancelled"


def test_the_state_is_written_as_soon_as_there_is_disk_space(lab, monkeypatch):
    run = lab.run("s01-vision")
    write, refused = status_folder.write_record, []

    def full(path, data):
        if data.state == "failed" and len(refused) < 2:
            refused.append(path)
            raise TrainingError("no space")
        write(path, data)

    monkeypatch.setattr(status_folder, "write_record", full)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    _, status = supervise(lab, run, errno.ENOSPC)
    assert status.state == "failed"
    assert len(refused) == 2


def test_obstacles_name_the_parents_and_their_reasons(lab):
    runs = lab.subject(1)
    fusion = runs[-1]
    assert obstacles(fusion) == (["s01-vision", "s01-audio", "s01-eeg"], {})
    runs[0].transition("failed", reason="no light.")
    runs[1].transition("cancelled")
    assert obstacles(fusion) == (
        ["s01-eeg"],
        {"s01-vision": "s01-vision failed: no light.", "s01-audio": "s01-audio was cancelled"},
    )


def test_a_blocked_run_names_every_failed_parent_and_is_released_when_none_is_left(lab):
    runs = lab.subject(1)
    fusion = runs[-1]
    fusion.transition("blocked", submission="x", reason="waits")
    runs[0].transition("failed", reason="no light")
    assert unblock(fusion).blocked_by == ("s01-vision",)
    runs[1].transition("failed", reason="no sound")
    status = unblock(fusion)
    assert status.blocked_by == ("s01-vision", "s01-audio")
    assert status.reason == "s01-vision failed: no light; s01-audio failed: no sound"
    for run in runs[:2]:  # computed by hand in the meantime: the reason is outdated
        run.transition("queued", reason="")
        run.transition("running")
        run.transition("done")
    assert unblock(fusion).reason == "waits for s01-eeg"
    assert fusion.status().blocked_by == ()
    runs[2].transition("running")
    runs[2].transition("done")
    assert unblock(fusion).state == "queued"


def test_a_change_is_refused_if_the_run_has_changed(lab):
    run = lab.run("s01-vision")
    run.update(submission="x")
    with fails(QueueError, where="status.json", expected=("submission", "'y'"), found="'x'"):
        run.transition("running", expect={"submission": "y"})
    assert run.transition("running", expect={"submission": "x", "cancel": None}).state == "running"


def test_locks_are_exclusive_signed_and_robust_against_polling(tmp_path):
    file = tmp_path / "lock"
    assert not is_locked(file)
    lock = locks.acquire(file)
    locks.sign(lock, os.getpid())
    assert is_locked(file)
    assert locks.acquire(file, timeout=0.1) is None
    assert locks.owner(file).alive
    assert locks.owner(file).pid == os.getpid()
    os.close(lock)
    assert not is_locked(file)
    assert not locks.Owner(pid=os.getpid(), born=-1.0, host=os.uname().nodename).alive  # same id, other start time
    assert not locks.Owner(pid=os.getpid(), born=locks.process_start_time(os.getpid()), host="elsewhere").alive

    stopped = threading.Event()

    def poll():
        while not stopped.is_set():
            is_locked(file)

    poller = threading.Thread(target=poll)
    poller.start()
    try:
        for _ in range(50):
            lock = locks.acquire(file, timeout=5)
            assert lock is not None
            os.close(lock)
    finally:
        stopped.set()
        poller.join()


def test_slots_are_all_or_nothing_and_given_back(tmp_path, monkeypatch):
    slots, again = Slots(tmp_path, Machine(2)), Slots(tmp_path, Machine(2))
    with slots.take(Need(1), lambda: True) as one:
        assert len(one.descriptors) == 1
        tries = iter([True, False])
        with again.take(Need(2), lambda: next(tries)) as none:
            assert none is None
        with again.take(Need(1), lambda: True) as other:
            assert len(other.descriptors) == 1
    with again.take(Need(5), lambda: True) as both:
        assert len(both.descriptors) == 2
    monkeypatch.setenv("EAVDASH_SLOTS", "0")
    with fails(ConfigError, where="EAVDASH_SLOTS", found="'0'"):
        slot_count()
    monkeypatch.delenv("EAVDASH_SLOTS")
    assert slot_count() >= 1
