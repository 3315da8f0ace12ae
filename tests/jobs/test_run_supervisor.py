"""What is written about a job that ended without a word, and locks and slots, without any other process."""

from __future__ import annotations

import errno
import os
import threading
import time

import pytest

from eavdash.errors import ConfigError, QueueError, TrainingError
from eavdash.jobs.dependencies import obstacles, unblock
from eavdash.jobs.executors import Exit, get_executor
from eavdash.jobs.exit_state import MAX_KILLS
from eavdash.jobs.run_supervisor import RunSupervisor
from eavdash.jobs.slots import Machine, Need, Slots, slot_count
from eavdash.store import locks
from eavdash.store import run as run_files
from eavdash.store.atomic import is_locked


class OneJob:
    """An executor whose jobs end as they are told to."""

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


def carry_out(lab, run, *codes, **status):
    """Let a foreman see a queued run through whose jobs end with these exit codes."""
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
        (3, "ended with exit code 3 without a result"),
        (0, "ended with exit code 0 without a result"),
    ],
)
def test_an_exit_without_a_word_is_a_failure(lab, code, reason):
    executor, status = carry_out(lab, lab.run("s01-vision"), code)
    assert status["state"] == "failed"
    assert reason in status["reason"]
    assert executor.started == 1


def test_kills_are_counted_only_without_progress(lab):
    run = lab.run("s01-vision")
    executor, status = carry_out(lab, run, -9, 128 + 15, -9)
    assert (status["state"], executor.started, status["attempt"]) == ("failed", MAX_KILLS, MAX_KILLS)
    other = lab.run("s02-vision")
    executor, status = carry_out(lab, other, -9, -9, 1, kills=2, killed_epoch=0, epoch=1)
    assert executor.started == 3  # an epoch was finished since the second kill, so the third is the first again
    assert "exit code 1" in status["reason"]
    preempted = Exit(-15, "it had to give way", external_cause=True)
    executor, status = carry_out(lab, lab.run("s03-vision"), *[preempted] * (MAX_KILLS + 1), 1)
    assert executor.started == MAX_KILLS + 2  # what the place does to it is not held against it
    assert {attempt["reason"] for attempt in status["history"][:-1]} == {"it had to give way; it goes on after epoch 0"}


def test_what_a_killed_worker_has_left_beside_a_finished_run_goes(lab):
    run = lab.run("s01-vision")
    run.resume_file.write_bytes(b"x" * 100)  # killed after it was done, before this was deleted
    run.transition("running")
    run.transition("done")
    RunSupervisor(lab.root, None, lambda _: OneJob(), Slots(lab.root / "slots", Machine(1))).train(
        lab.study.name, run.name, "x"
    )
    assert not run.resume_file.exists()


def test_a_place_that_there_is_not_is_the_failure_of_its_run(lab):
    run = lab.run("s01-vision")
    run.update(submission="x", execution={"executor": "moon"})
    RunSupervisor(lab.root, None, get_executor, Slots(lab.root / "slots", Machine(1))).train(
        lab.study.name, run.name, "x"
    )
    assert run.status()["state"] == "failed"
    assert "expected one of local, ray, slurm, found 'moon'" in run.status()["reason"]


def test_a_task_out_of_date_leaves_the_run_alone(lab):
    run = lab.run("s01-vision")
    run.update(submission="y")
    executor = OneJob(0)
    foreman = RunSupervisor(lab.root, None, lambda _: executor, Slots(lab.root / "slots", Machine(1)))
    foreman.train(lab.study.name, run.name, "x")
    foreman.train("none", "s01-vision", "x")
    assert executor.started == 0
    assert run.status()["state"] == "queued"


def test_a_place_that_does_not_answer_is_named_and_asked_again(lab, monkeypatch):
    run = lab.run("s01-vision")
    run.update(submission="x", job={"executor": "slurm", "name": "eavdash-1"}, execution={"executor": "slurm"})
    reasons = []

    class Silent(OneJob):
        has_queue = True

        def find(self, run):
            reasons.append(run.status()["reason"])
            if len(reasons) < 3:
                raise QueueError("SLURM: expected an answer, found none; it is asked again.")
            return -9

        def waiting_reason(self, job):
            return ""

        def poll(self, job):
            run.update(cancel="now")
            return Exit(job)

    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    foreman = RunSupervisor(lab.root, None, lambda _: Silent(), Slots(lab.root / "slots", Machine(1)))
    foreman.train(lab.study.name, run.name, "x")
    assert [reason[:5] for reason in reasons] == ["plann", "SLURM", "SLURM"]
    assert run.status()["state"] == "cancelled"


def test_the_truth_is_written_as_soon_as_there_is_room(lab, monkeypatch):
    run = lab.run("s01-vision")
    write, refused = run_files.write_json, []

    def full(path, data):
        if data.get("state") == "failed" and len(refused) < 2:
            refused.append(path)
            raise TrainingError("no space")
        write(path, data)

    monkeypatch.setattr(run_files, "write_json", full)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    _, status = carry_out(lab, run, errno.ENOSPC)
    assert status["state"] == "failed"
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


def test_a_blocked_run_names_every_parent_that_is_lost_and_goes_on_once_none_is(lab):
    runs = lab.subject(1)
    fusion = runs[-1]
    fusion.transition("blocked", submission="x", reason="waits")
    runs[0].transition("failed", reason="no light")
    assert unblock(fusion)["blocked_by"] == ["s01-vision"]
    runs[1].transition("failed", reason="no sound")
    status = unblock(fusion)
    assert status["blocked_by"] == ["s01-vision", "s01-audio"]
    assert status["reason"] == "s01-vision failed: no light; s01-audio failed: no sound"
    for run in runs[:2]:  # computed by hand meanwhile: the reason would be a lie
        run.transition("queued", reason="")
        run.transition("running")
        run.transition("done")
    assert unblock(fusion)["reason"] == "waits for s01-eeg"
    assert fusion.status()["blocked_by"] == []
    runs[2].transition("running")
    runs[2].transition("done")
    assert unblock(fusion)["state"] == "queued"


def test_a_change_is_refused_when_the_run_has_moved_on(lab):
    run = lab.run("s01-vision")
    run.update(submission="x")
    with pytest.raises(QueueError, match="expected submission 'y', found 'x'"):
        run.transition("running", expect={"submission": "y"})
    assert run.transition("running", expect={"submission": "x", "cancel": None})["state"] == "running"


def test_locks_are_exclusive_signed_and_survive_onlookers(tmp_path):
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
    assert not locks.Owner(os.getpid(), -1.0, os.uname().nodename).alive  # the same number, born at another time
    assert not locks.Owner(os.getpid(), locks.process_start_time(os.getpid()), "elsewhere").alive

    seeing = threading.Event()

    def stare():
        while not seeing.is_set():
            is_locked(file)

    onlooker = threading.Thread(target=stare)
    onlooker.start()
    try:
        for _ in range(50):
            lock = locks.acquire(file, timeout=5)
            assert lock is not None
            os.close(lock)
    finally:
        seeing.set()
        onlooker.join()


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
    with pytest.raises(ConfigError, match="a whole number above 0"):
        slot_count()
    monkeypatch.delenv("EAVDASH_SLOTS")
    assert slot_count() >= 1
