"""Background tasks: progress, failure, cancel, recovery, slots; a task is never run twice at a time, nor lost."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from failing import fails
from lab import Lab

from eavdash.cli.main import main
from eavdash.errors import DataError, IntegrityError, UsageError
from eavdash.jobs import background
from eavdash.jobs.background import cancel_task, list_tasks, retry_task, running_tasks, submit_task
from eavdash.jobs.executors import Exit
from eavdash.jobs.queue import submit
from eavdash.jobs.task_supervisor import MAX_INTERRUPTIONS, state_after_exit
from eavdash.store import locks
from eavdash.store import task as task_files
from eavdash.store.task import TASK_VARIABLE, TaskDir, TaskStatus, find_task, report_progress, tasks
from eavdash.studies import archive

STANDIN = Path(__file__).with_name("standin_task.py")
Submit = Callable[..., TaskDir]


@pytest.fixture
def start(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Submit:
    """A function that submits a task of the stand-in command with some options."""
    monkeypatch.setenv("EAVDASH_TASK_WORKER", f"{sys.executable} -P {STANDIN}")

    def begin(word: str = "explain", study: str = "tried", **plan: Any) -> TaskDir:
        return submit_task(lab.root, [word, study, json.dumps(plan)], title="Counting", study=study)

    return begin


def launches(lab: Lab) -> list[str]:
    """Return the task of each launch."""
    file = lab.root / "launches.txt"
    return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []


def ended(lab: Lab, task: TaskDir) -> TaskStatus:
    """Wait until a task has ended; return its status."""
    lab.until(lambda: task.status().ended)
    return task.status()


def under_way(lab: Lab, task: TaskDir) -> int:
    """Wait until a task has reported a step; return its process id."""
    lab.until(lambda: task.status().doing.startswith("step") and task.locked())
    pid = task.status().pid
    assert pid is not None
    return pid


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_task_reports_its_progress_and_is_done(lab: Lab, start: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab.root.parent)
    task = start(steps=4, seconds=0.6)
    assert (task.id, task.status().state, task.status().reason) == ("explain-1", "queued", background.WAITS)
    under_way(lab, task)
    live = task.live_status()
    assert (live.shown, live.status.total, running_tasks(lab.study)) == ("running", 4, [task.id])
    seen = lab.until(lambda: task.status().seconds_left())
    assert 0 < seen < 60
    status = ended(lab, task)
    assert (status.state, status.done, status.total, status.doing, status.exit_code) == ("done", 4, 4, "all", 0)
    assert status.attempt == 1
    assert status.seconds_left() is None
    assert not task.locked()
    # Relative paths are those of the process that has submitted the task.
    assert str(lab.root.parent) in (lab.root / "ended.txt").read_text()
    assert {mode(task.path.parent), mode(task.path)} == {0o700}
    assert {mode(file) for file in task.path.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ({"exit": 2, "say": "eavdash: /x: expected a study, found none; name one."}, "/x: expected a study"),
        ({"exit": 1}, "exit code 1 without a message"),
        ({"crash": True}, "ValueError: no such thing"),
        ({"die_at": 1, "steps": 3}, "killed (signal 9)"),
    ],
)
def test_a_task_that_fails_has_a_reason(lab: Lab, start: Submit, plan: dict[str, Any], reason: str) -> None:
    status = ended(lab, start(**plan))
    assert status.state == "failed"
    assert reason in status.reason
    assert launches(lab) == ["explain-1"]
    assert status.exit_code == (plan.get("exit", 1) if "die_at" not in plan else None)


def test_what_a_check_has_found_is_no_failure_but_its_error_is(lab: Lab, start: Submit) -> None:
    found = ended(lab, start("check", exit=1, say="2 warnings"))
    assert (found.state, found.reason, found.exit_code) == ("done", "2 warnings", 1)
    assert ended(lab, start("check", exit=1, say="eavdash: no such folder")).state == "failed"
    assert ended(lab, start("explain", exit=1, say="2 warnings")).state == "failed"


def test_cancel_kills_the_process_and_its_children(lab: Lab, start: Submit) -> None:
    task = start(steps=1000, child=True, deaf=True)
    pid = under_way(lab, task)
    child = int((lab.root / "child.txt").read_text())
    assert cancel_task(task)
    assert cancel_task(task)  # twice has the effect of once
    status = ended(lab, task)
    assert (status.state, status.reason) == ("cancelled", "cancelled")
    assert locks.process_start_time(pid) is locks.process_start_time(child) is None
    assert not cancel_task(task)
    assert launches(lab) == [task.id]


def test_a_task_is_cancelled_before_it_starts_and_two_never_share_a_slot(
    lab: Lab, start: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAVDASH_SLOTS", "1")
    first, second, third = (start(steps=10, seconds=0.1, number=n) for n in range(3))
    under_way(lab, first)
    assert second.live_status().shown == "queued"
    cancel_task(second)
    assert second.status().state == "cancelled"
    assert ended(lab, first).state == ended(lab, third).state == "done"
    assert launches(lab) == [first.id, third.id]
    begun = [float(line.split()[2]) for line in (lab.root / "launches.txt").read_text().splitlines()]
    over = [float(line.split()[1]) for line in (lab.root / "ended.txt").read_text().splitlines()]
    assert begun[1] > over[0]


def test_a_task_waits_for_the_slot_of_a_run_but_not_for_the_runs_that_wait(
    lab: Lab, start: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAVDASH_SLOTS", "1")
    runs = [lab.run(f"s0{n}-vision", epochs=10) for n in (1, 2, 3)]
    submit(lab.study)
    lab.until(lambda: any(run.status().state == "running" for run in runs))
    task = start()
    assert task.status().state == "queued"
    assert ended(lab, task).state == "done"
    assert [run.status().state for run in runs].count("queued") >= 1
    lab.until(lambda: all(run.status().state == "done" for run in runs))


def test_a_task_goes_on_while_its_scheduler_is_killed(lab: Lab, start: Submit) -> None:
    task = start(steps=30, seconds=0.1)
    pid = under_way(lab, task)
    lab.kill_scheduler()
    assert task.live_status().shown == "running"
    again = start(steps=30, seconds=0.1)  # the same command: starts a scheduler, which takes the task up
    assert again == task
    assert ended(lab, task).state == "done"
    assert task.status().pid == pid
    assert launches(lab) == [task.id]


def test_a_task_that_died_with_its_scheduler_is_started_again_once(lab: Lab, start: Submit) -> None:
    task = start(steps=30, seconds=0.05)
    pid = under_way(lab, task)
    lab.kill_scheduler()
    os.kill(pid, signal.SIGKILL)
    lab.until(lambda: not task.locked())
    live = task.live_status()
    assert (live.shown, live.status.state) == ("not responding", "running")
    assert "process is gone" in live.reason
    background.ensure_scheduler(lab.root)
    status = ended(lab, task)
    assert (status.state, status.attempt, status.interrupted) == ("done", 2, 1)
    assert launches(lab) == [task.id] * 2


def test_a_task_without_a_place_in_the_queue_gets_one(lab: Lab, start: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as lost:
        lost.setattr(background, "activate_tasks", lambda *_: None)
        task = start()
    assert ended(lab, task).state == "done"


def test_a_task_that_is_interrupted_again_and_again_fails() -> None:
    status = TaskStatus(state="running")
    for number in range(MAX_INTERRUPTIONS):
        state, fields = state_after_exit(status, Exit(), counted=False)
        assert (state, fields["interrupted"]) == ("queued", number + 1)
        status = status.replace(**fields)
    state, fields = state_after_exit(status, Exit(), counted=False)
    assert state == "failed"
    assert f"{MAX_INTERRUPTIONS + 1} times" in fields["reason"]
    assert state_after_exit(status.replace(cancel="c"), Exit(1), counted=True)[0] == "cancelled"
    assert "disk is full" in state_after_exit(status, Exit(errno.ENOSPC), counted=True)[1]["reason"]


def test_a_failed_task_is_retried_and_a_finished_one_is_not(lab: Lab, start: Submit) -> None:
    task = start(die_at=0)
    assert ended(lab, task).state == "failed"
    assert retry_task(task) == task
    assert lab.until(lambda: task.status().attempt == 2 and task.status().ended)
    assert task.status().state == "failed"
    newer = start(die_at=0)  # the same command once more
    assert newer != task
    assert retry_task(task) in (newer, task)  # that of an unfinished one with the same command
    done = start()
    assert ended(lab, done).state == "done"
    with fails(UsageError, expected="a failed or cancelled task", found="done"):
        retry_task(done)


def test_of_simultaneous_and_repeated_requests_one_task_is_made(lab: Lab, start: Submit) -> None:
    barrier = threading.Barrier(4)

    def click(_: int) -> TaskDir:
        barrier.wait()
        return start(steps=1000)

    with ThreadPoolExecutor(4) as pool:
        (task,) = set(pool.map(click, range(4)))
    assert start(steps=1000) == task
    other = start(steps=999)
    assert [each.id for each in list_tasks(lab.root)] == [other.id, task.id] == ["explain-2", "explain-1"]
    assert list_tasks(lab.root, "another") == []
    under_way(lab, task)
    cancel_task(task)
    cancel_task(other)
    assert ended(lab, task).state == "cancelled"
    assert launches(lab).count(task.id) == 1


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("train", "x"),
        ("delete", "tried"),
        ("app",),
        ("-m", "explain"),
        ("explain\0",),
        ("explain", "\udce9"),
        ("probe", "tried", "--checkpoints", "/elsewhere"),
        ("probe", "tried", "--checkpoints=/elsewhere"),
        ("probe", "tried", "--checkpoints"),
    ],
)
def test_a_command_that_no_task_may_run_is_refused(lab: Lab, command: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        submit_task(lab.root, command, title="x")
    assert tasks(lab.root) == []


def test_the_folder_of_the_tasks_need_not_be_named(lab: Lab) -> None:
    named = ["probe", "--checkpoints", str(lab.root), "tried", f"--checkpoints={lab.root}", "--probes=time"]
    assert background.checked_command(lab.root, named) == ("probe", "tried", "--probes=time")


def test_a_task_that_came_with_a_copied_folder_is_not_run(lab: Lab, start: Submit, tmp_path: Path) -> None:
    """Somebody else's task, or one whose command was changed: nobody has asked for it here."""
    task = TaskDir(lab.root, "explain-1")
    task.create(TaskStatus(state="queued", submission="x", command=("explain", "tried", "{}"), seal="0" * 64))
    other = start()  # the scheduler finds the foreign one too
    assert ended(lab, other).state == "done"
    lab.until(lambda: task.status().ended)
    assert (task.status().state, launches(lab)) == ("failed", [other.id])
    assert "found one without your seal" in task.status().reason
    assert f"eavdash tasks retry {task.id}" in task.status().reason
    retry_task(task)  # now it was asked for
    assert ended(lab, task).state == "done"
    sealed = other.status()
    assert sealed.trusted
    assert not sealed.replace(command=("check", "/etc")).trusted
    assert not sealed.replace(folders=("/",)).trusted


def test_a_damaged_status_stops_nothing_but_its_task(lab: Lab, start: Submit) -> None:
    bad = start(steps=1000)
    under_way(lab, bad)
    bad.status_file.write_text("{")
    lab.until(lambda: not bad.locked())  # the process has no status to write to: it ends
    good = start()
    assert ended(lab, good).state == "done"
    assert set(list_tasks(lab.root)) == {bad, good}
    assert list_tasks(lab.root, "tried") == [good]
    with fails(IntegrityError, where="status.json", remedy=f"remove {bad.path}"):
        bad.live_status()
    assert main(["tasks", "--json", "--checkpoints", str(lab.root)]) == 0


def test_links_are_not_followed(lab: Lab, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "log.txt").write_text("secret")
    (precious / "status.json").write_text('{"state": "done"}')
    (lab.root / ".tasks").mkdir(mode=0o700)
    (lab.root / ".tasks" / "explain-1").symlink_to(precious)
    assert tasks(lab.root) == []
    linked = TaskDir(lab.root, "explain-1")
    assert linked.log(5) == []
    with fails(IntegrityError, found="symbolic link"):
        linked.status()
    mine = TaskDir(lab.root, "explain-2")
    mine.create(TaskStatus(state="done"))
    mine.log_file.unlink()
    mine.log_file.symlink_to(precious / "log.txt")
    assert mine.log(5) == []
    (lab.root / ".tasks").rename(tmp_path / "moved")
    (lab.root / ".tasks").symlink_to(tmp_path / "moved")
    assert tasks(lab.root) == []
    with fails(DataError, found="symbolic link"):
        submit_task(lab.root, ["explain", "x"], title="x")


@pytest.mark.parametrize("name", ["", "..", "explain", "explain-0", "../tried", "a/b-1", "Explain-1", "explain-1\n"])
def test_an_id_is_checked_before_it_becomes_a_path(lab: Lab, name: str) -> None:
    (lab.root / ".tasks").mkdir()
    with fails(UsageError, expected="the id of a task", found=repr(name)):
        find_task(lab.root, name)


def test_the_newest_finished_tasks_are_kept(lab: Lab, start: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "KEPT", 3)
    for number in range(1, 7):
        TaskDir(lab.root, f"check-{number}").create(TaskStatus(state="queued" if number == 2 else "done"))
    (lab.root / ".tasks" / "check-5" / "status.json").write_text("damaged")
    task = start()
    assert [each.id for each in tasks(lab.root)] == [task.id, "check-6", "check-5", "check-4", "check-2"]
    assert task.id == "explain-7"
    assert ended(lab, task).state == "done"


def test_progress_is_written_at_most_twice_a_second_and_nowhere_outside_of_a_task(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = TaskDir(lab.root, "check-1")
    task.create(TaskStatus(state="running"))
    monkeypatch.setattr(task_files, "_reports", task_files._Reports())
    report_progress(1, 2, "ignored")
    task_files.write_progress()
    assert task.status().total == 0
    monkeypatch.setenv(TASK_VARIABLE, str(task.path))
    for number in range(100):
        report_progress(number, 100, "counting")
    assert (task.status().done, task.status().total, task.status().doing) == (0, 100, "counting")
    task_files.write_progress()
    assert task.status().done == 99
    task.transition("done")
    report_progress(5, 100)
    task_files.write_progress()
    assert task.status().done == 99  # a task that has ended gets no progress
    monkeypatch.setenv(TASK_VARIABLE, str(task.path.with_name("check-2")))
    report_progress(1, 2)  # gone: no reason to fail
    task_files.write_progress()


def test_a_study_is_not_archived_while_a_task_works_on_it(lab: Lab, start: Submit) -> None:
    task = start(steps=1000)
    under_way(lab, task)
    with fails(UsageError, expected="no running task", found=task.id, remedy=f"eavdash tasks cancel {task.id}"):
        archive.archive(lab.study)
    cancel_task(task)
    assert ended(lab, task).state == "cancelled"
    archive.archive(lab.study)


def test_the_command_line_lists_cancels_retries_and_reads_tasks(
    lab: Lab, start: Submit, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["--checkpoints", str(lab.root)]
    assert main(["tasks", *folder]) == 0
    assert "no tasks in" in capsys.readouterr().err
    task = start(steps=1000, say="said")
    under_way(lab, task)
    assert main(["tasks", "--json", *folder]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["task"], row["state"], row["total"], row["study"]) == (task.id, "running", 1000, "tried")
    assert main(["tasks", "cancel", task.id, *folder]) == 0
    assert ended(lab, task).state == "cancelled"
    capsys.readouterr()
    assert main(["tasks", *folder]) == 0
    assert "cancelled" in capsys.readouterr().out
    assert main(["tasks", "cancel", task.id, *folder]) == 0
    assert "had ended" in capsys.readouterr().err
    failed = start(exit=3, say="the last word")
    assert ended(lab, failed).state == "failed"
    assert main(["tasks", "log", failed.id, *folder]) == 0
    assert "the last word" in capsys.readouterr().out
    assert main(["tasks", "retry", failed.id, *folder]) == 0
    lab.until(lambda: failed.status().attempt == 2 and failed.status().ended)
    assert main(["tasks", "log", *folder]) == 2
    assert main(["tasks", "log", "probe-99", *folder]) == 2
