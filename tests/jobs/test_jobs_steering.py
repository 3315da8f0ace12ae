"""Pausing, resuming, moving and prioritising runs, and refused requests, with real processes of the stand-in worker."""

from __future__ import annotations

import os
import signal
import time

import pytest
from failing import fails
from lab import change_standin, expected_weights

from eavdash.cli.main import main
from eavdash.config.schema import Execution
from eavdash.errors import IntegrityError, QueueError, UsageError
from eavdash.jobs import executors
from eavdash.jobs.choose import unreadable
from eavdash.jobs.queue import cancel, move, pause, prioritise, resume, retry, submit, wait
from eavdash.store import status


def test_a_paused_study_starts_no_run_and_resumes_where_it_stopped(lab, monkeypatch):
    monkeypatch.setenv("EAVDASH_SLOTS", "1")
    first = lab.run("s01-vision", epochs=60)
    others = [lab.run(f"s0{n}-vision", epochs=2) for n in (2, 3)]
    submit(lab.study)
    lab.at_epoch(first, 2)
    pause(lab.study)
    pause(lab.study)
    assert lab.states()[first.name] == "running"  # running runs finish
    pause(lab.study, now=True)
    lab.until(lambda: first.status().state == "queued")
    status = first.status()
    assert status.reason.startswith("paused")
    assert (status.cancel, status.attempt, status.history[-1].state) == (None, 1, "queued")
    assert not lab.processes()
    lab.kill_scheduler()  # a new one reconciles all runs, but not those of a paused study
    submit(lab.study)
    time.sleep(1.5)
    assert set(lab.states().values()) == {"queued"}
    with fails(QueueError, where="tried", found="paused", remedy="eavdash resume tried"):
        wait(lab.study, timeout=60)
    resume(lab.study)
    table = wait(lab.study, timeout=120).set_index("run")
    assert set(table["state"]) == {"done"}
    assert first.model_file.read_bytes() == expected_weights(first)
    assert lab.launches() == {first.name: 2, **{run.name: 1 for run in others}}
    assert [a.state for a in first.status().history] == ["queued", "done"]
    assert first.status().history[1].from_epoch >= 2


def test_a_paused_run_can_be_cancelled_and_a_cancelled_one_is_not_paused(lab):
    run = lab.run("s01-vision", epochs=200)
    submit(lab.study)
    lab.at_epoch(run)
    cancel(lab.study)
    pause(lab.study, now=True)
    lab.until(lambda: run.status().state == "cancelled")
    assert retry(lab.study) == [run.name]
    assert cancel(lab.study) == [run.name]
    assert run.status().state == "cancelled"
    assert not lab.processes()


def test_runs_start_by_priority(lab, monkeypatch):
    monkeypatch.setenv("EAVDASH_SLOTS", "1")
    names = ["s01-vision", "s02-vision", "s03-vision", "s04-vision"]
    runs = [lab.run(name, epochs=20 if name == names[0] else 1) for name in names]
    submit(lab.study, names[:1])
    lab.at_epoch(runs[0])
    submit(lab.study, names[1:3], Execution(priority=-1))
    submit(lab.study, names[3:])
    prioritise(lab.study, [names[2]], 5)
    table = wait(lab.study, timeout=120).set_index("run")
    assert list(table["started"].sort_values().index) == [names[0], names[2], names[3], names[1]]
    assert lab.launches() == dict.fromkeys(names, 1)
    assert runs[2].status().execution["priority"] == 5


def test_moved_runs_resume_with_the_new_settings(lab, monkeypatch):
    """Other settings of the same executor; the common suite of all executors moves runs between executors."""
    monkeypatch.setenv("EAVDASH_SLOTS", "1")
    done, running, waiting = (lab.run(f"s0{n}-vision", epochs=e) for n, e in ((1, 1), (2, 60), (3, 2)))
    child = lab.run("s02-fusion", ("s02-vision",))
    submit(lab.study, [done.name])
    wait(lab.study, [done.name], timeout=60)
    submit(lab.study)
    lab.at_epoch(running, 2)
    move(lab.study, None, Execution(device="cpu", priority=3))
    table = wait(lab.study, timeout=120).set_index("run")
    assert set(table["state"]) == {"done"}
    assert running.model_file.read_bytes() == expected_weights(running)
    assert running.status().history[0].reason.startswith("moved to local")
    for run in (running, waiting, child):
        assert run.status().execution["device"] == "cpu"
    assert done.status().execution["device"] == "auto"
    assert lab.launches() == {done.name: 1, running.name: 2, waiting.name: 1, child.name: 1}


def test_no_run_of_an_archived_study_starts(lab):
    lab.run("s01-vision")
    lab.study.set_control(archived=True)
    for action in (submit, retry, resume, lambda study: prioritise(study, None, 1)):
        with fails(UsageError, where="tried", found="archived", remedy="eavdash unarchive tried"):
            action(lab.study)
    lab.study.set_control(archived=False)
    submit(lab.study)
    assert set(wait(lab.study, timeout=60)["state"]) == {"done"}
    with fails(UsageError, where="executor", expected="local, ray, slurm", found="'moon'"):
        executors.get_executor("moon")


def test_a_stopped_worker_is_shown_as_not_responding(lab, monkeypatch):
    monkeypatch.setattr(status, "HEARTBEAT_LOST", 5.0)
    run = lab.run("s01-vision", epochs=40)
    submit(lab.study)
    pid = lab.at_epoch(run)
    os.kill(pid, signal.SIGSTOP)
    lab.until(lambda: lab.states()[run.name] == "not responding", 40)
    assert run.status().state == "running"
    assert "no heartbeat" in run.live_status().reason
    os.kill(pid, signal.SIGCONT)
    lab.until(lambda: lab.states()[run.name] == "running", 30)
    table = wait(lab.study, timeout=120)
    assert (table["state"].item(), table["attempt"].item()) == ("done", 1)
    assert run.model_file.read_bytes() == expected_weights(run)


def test_a_stopped_worker_can_be_cancelled(lab):
    run = lab.run("s01-vision", epochs=200, child=True)
    submit(lab.study)
    os.kill(lab.at_epoch(run), signal.SIGSTOP)
    assert cancel(lab.study) == [run.name]
    lab.until(lambda: run.status().state == "cancelled")
    assert not lab.processes()


def test_a_worker_exits_when_another_attempt_has_replaced_it(lab):
    """As after its machine was cut off and another one resumed the run."""
    run = lab.run("s01-vision", epochs=400)
    submit(lab.study)
    pid = lab.at_epoch(run)
    lab.kill_scheduler()
    run.update(submission="another", attempt=7)
    lab.until(lambda: pid not in lab.processes(), 30)
    assert run.status().attempt == 7


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
def test_clocks_that_jump_change_no_state(lab, monkeypatch, jump):
    monkeypatch.setattr(status, "HEARTBEAT_LOST", 5.0)
    run = lab.run("s01-vision", epochs=60, clock=jump)  # the worker's own clock jumps after its first epoch
    submit(lab.study)
    lab.at_epoch(run, 3)
    assert abs(run.status().heartbeat - time.time()) < abs(jump) + 60
    assert lab.states()[run.name] == "running"
    with monkeypatch.context() as context:  # and this process's
        real = time.time
        context.setattr(time, "time", lambda: real() + jump)
        assert lab.states()[run.name] == "running"
    pid = run.status().pid
    os.kill(pid, signal.SIGSTOP)
    lab.until(lambda: lab.states()[run.name] == "not responding", 40)
    os.kill(pid, signal.SIGCONT)
    table = wait(lab.study, timeout=120)
    assert (table["state"].item(), table["attempt"].item()) == ("done", 1)


def test_the_status_command_restarts_a_dead_scheduler(lab, monkeypatch, capsys):
    from eavdash.cli.commands import training

    monkeypatch.setattr(training, "study_marks", lambda study: [])
    run = lab.run("s01-vision", epochs=40)
    submit(lab.study)
    pid = lab.at_epoch(run)
    lab.kill_scheduler()
    os.kill(pid, signal.SIGKILL)
    lab.until(lambda: lab.states()[run.name] == "not responding")
    assert main(["status", "tried", "--json", "--checkpoints", str(lab.root)]) == 0
    assert "s01-vision" in capsys.readouterr().out
    lab.until(lambda: run.status().attempt == 2)
    assert set(wait(lab.study, timeout=120)["state"]) == {"done"}


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        (["--device", "banana"], ("auto, cpu, cuda", "found 'banana'")),
        (["--slurm", "partition=gpu"], ("--executor slurm", "--executor local")),
        (["--ray-address", "http://lab"], ("--executor ray", "--executor local")),
        (["--runs-per-gpu", "5"], ("1, 2, 3, 4, 6, 12", "found 5")),
        (["--priority", "99999"], ("-10000", "10000", "99999")),
    ],
)
def test_invalid_options_are_refused_before_anything_is_changed(lab, capsys, options, facts):
    run = lab.run("s01-vision")
    before = run.status()
    assert main(["move", "tried", *options, "--checkpoints", str(lab.root)]) == 2
    error = capsys.readouterr().err
    assert f"{options[0]}: expected " in error
    assert all(fact in error for fact in facts)
    assert run.status() == before


def test_an_unreadable_run_does_not_delay_others(lab, capsys):
    broken, blind, *others = [lab.run(f"s0{n}-vision", fail="no file") for n in (1, 2, 3, 4)]
    lab.run("s01-fusion", ("s01-vision",))
    submit(lab.study)
    wait(lab.study, timeout=120)
    for run in others:
        change_standin(run, epochs=2, seconds=0.05, fail="")
    broken.config_file.write_text("{")
    blind.status_file.write_text("[]")
    names = [run.name for run in others]
    assert retry(lab.study) == ["s01-fusion", *names]
    table = wait(lab.study, timeout=120).set_index("run")
    assert set(table.loc[names, "state"]) == {"done"}
    assert table.loc[[broken.name, blind.name], "shown"].tolist() == ["failed", "failed"]
    assert table.loc["s01-fusion", "state"] == "blocked"
    assert "s01-vision failed" in table.loc["s01-fusion", "reason"]
    assert list(unreadable(lab.study)) == [broken.name, blind.name]
    for run, command in ((broken, "eavdash extend tried"), (blind, "eavdash retry tried")):
        with pytest.raises(IntegrityError) as error:
            retry(lab.study, [run.name])
        assert run.name in str(error.value)
        assert command in str(error.value)
    # These skip unreadable runs as well; a single run without a status.json is an error.
    assert cancel(lab.study) == ["s01-fusion"]
    pause(lab.study)
    resume(lab.study)
    prioritise(lab.study, None, 2)
    with pytest.raises(IntegrityError):
        cancel(lab.study, [blind.name])
    study = ["tried", "--checkpoints", str(lab.root)]
    assert main(["cancel", *study, "--run", broken.name]) == 0
    assert main(["cancel", *study]) == 1
    capsys.readouterr()
    assert main(["retry", *study]) == 1
    output = capsys.readouterr()
    assert "s01-vision" in output.err
    assert "s02-vision" not in output.err  # its status was restored
    assert "s01-fusion" in output.out


def test_a_waiting_run_that_cannot_be_read_fails(lab):
    run = lab.run("s01-vision")
    child = lab.run("s01-fusion", ("s01-vision",))
    pause(lab.study)
    submit(lab.study)
    run.config_file.write_text("{")
    resume(lab.study)
    table = wait(lab.study, timeout=120).set_index("run")
    assert run.status().state == "failed"
    assert table.loc[child.name, "state"] == "blocked"
    assert not lab.launches()
