"""Pausing, resuming, moving and preferring runs, and what is refused: with real processes of the stand-in worker."""

from __future__ import annotations

import os
import signal
import time

import pytest
from test_jobs_kill import undisturbed

from eavdash.cli.main import main
from eavdash.config.schema import Execution
from eavdash.errors import IntegrityError, QueueError, UsageError
from eavdash.jobs import executors
from eavdash.jobs.choose import unreadable
from eavdash.jobs.queue import cancel, move, pause, prioritise, resume, retry, submit, wait
from eavdash.store import status
from eavdash.store.atomic import write_json


def test_a_paused_study_starts_nothing_and_goes_on_where_it_was(lab, monkeypatch):
    monkeypatch.setenv("EAVDASH_SLOTS", "1")
    first = lab.run("s01-vision", epochs=60)
    others = [lab.run(f"s0{n}-vision", epochs=2) for n in (2, 3)]
    submit(lab.study)
    lab.at_epoch(first, 2)
    pause(lab.study)
    pause(lab.study)
    assert lab.states()[first.name] == "running"  # what has begun is finished
    pause(lab.study, now=True)
    lab.until(lambda: first.status()["state"] == "queued")
    status = first.status()
    assert status["reason"].startswith("paused after epoch ")
    assert (status["cancel"], status["attempt"], status["history"][-1]["state"]) == (None, 1, "queued")
    assert not lab.processes()
    lab.kill_conductor()  # a new one compares all runs with the queue, and leaves those of a paused study alone
    submit(lab.study)
    time.sleep(1.5)
    assert set(lab.states().values()) == {"queued"}
    with pytest.raises(QueueError, match="found a paused one; eavdash resume tried"):
        wait(lab.study, timeout=60)
    resume(lab.study)
    table = wait(lab.study, timeout=120).set_index("run")
    assert set(table["state"]) == {"done"}
    assert first.model_file.read_bytes() == undisturbed(first.name, 60)
    assert lab.launches() == {first.name: 2, **{run.name: 1 for run in others}}
    assert [a["state"] for a in first.status()["history"]] == ["queued", "done"]
    assert first.status()["history"][1]["from_epoch"] >= 2


def test_a_paused_run_can_be_cancelled_and_a_cancelled_one_is_not_paused(lab):
    run = lab.run("s01-vision", epochs=200)
    submit(lab.study)
    lab.at_epoch(run)
    cancel(lab.study)
    pause(lab.study, now=True)
    lab.until(lambda: run.status()["state"] == "cancelled")
    assert retry(lab.study) == [run.name]
    assert cancel(lab.study) == [run.name]
    assert run.status()["state"] == "cancelled"
    assert not lab.processes()


def test_the_preferred_go_first(lab, monkeypatch):
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
    assert runs[2].status()["execution"]["priority"] == 5


def test_unfinished_runs_go_on_elsewhere(lab, monkeypatch):
    """To another setting of the same place here; to other places in the scenarios that all places share."""
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
    assert running.model_file.read_bytes() == undisturbed(running.name, 60)
    assert running.status()["history"][0]["reason"].startswith("moved to local after epoch ")
    for run in (running, waiting, child):
        assert run.status()["execution"]["device"] == "cpu"
    assert done.status()["execution"]["device"] == "auto"
    assert lab.launches() == {done.name: 1, running.name: 2, waiting.name: 1, child.name: 1}


def test_an_archived_study_is_left_alone(lab):
    lab.run("s01-vision")
    lab.study.set_control(archived=True)
    for action in (submit, retry, resume, lambda study: prioritise(study, None, 1)):
        with pytest.raises(UsageError, match="expected a study in use, found an archived one"):
            action(lab.study)
    lab.study.set_control(archived=False)
    submit(lab.study)
    assert set(wait(lab.study, timeout=60)["state"]) == {"done"}
    with pytest.raises(UsageError, match="expected one of local, ray, slurm, found 'moon'"):
        executors.make("moon")


def test_a_worker_that_stands_still_is_never_shown_as_running(lab, monkeypatch):
    monkeypatch.setattr(status, "HEARTBEAT_LOST", 5.0)
    run = lab.run("s01-vision", epochs=40)
    submit(lab.study)
    pid = lab.at_epoch(run)
    os.kill(pid, signal.SIGSTOP)
    lab.until(lambda: lab.states()[run.name] == "not responding", 40)
    assert run.status()["state"] == "running"
    assert run.live_status()["reason"].startswith("no heartbeat for ")
    os.kill(pid, signal.SIGCONT)
    lab.until(lambda: lab.states()[run.name] == "running", 30)
    table = wait(lab.study, timeout=120)
    assert (table["state"].item(), table["attempt"].item()) == ("done", 1)
    assert run.model_file.read_bytes() == undisturbed(run.name, 40)


def test_a_stopped_worker_can_be_cancelled(lab):
    run = lab.run("s01-vision", epochs=200, child=True)
    submit(lab.study)
    os.kill(lab.at_epoch(run), signal.SIGSTOP)
    assert cancel(lab.study) == [run.name]
    lab.until(lambda: run.status()["state"] == "cancelled")
    assert not lab.processes()


def test_a_worker_ends_itself_when_another_attempt_has_taken_over(lab):
    """As after its machine was cut off and another took the run up."""
    run = lab.run("s01-vision", epochs=400)
    submit(lab.study)
    pid = lab.at_epoch(run)
    lab.kill_conductor()
    run.update(submission="another", attempt=7)
    lab.until(lambda: pid not in lab.processes(), 30)
    assert run.status()["attempt"] == 7


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
def test_clocks_that_jump_change_no_state(lab, monkeypatch, jump):
    monkeypatch.setattr(status, "HEARTBEAT_LOST", 5.0)
    run = lab.run("s01-vision", epochs=60, clock=jump)  # the worker's own clock jumps after its first epoch
    submit(lab.study)
    lab.at_epoch(run, 3)
    assert abs(run.status()["heartbeat"] - time.time()) < abs(jump) + 60
    assert lab.states()[run.name] == "running"
    with monkeypatch.context() as context:  # and this one's
        real = time.time
        context.setattr(time, "time", lambda: real() + jump)
        assert lab.states()[run.name] == "running"
    pid = run.status()["pid"]
    os.kill(pid, signal.SIGSTOP)
    lab.until(lambda: lab.states()[run.name] == "not responding", 40)
    os.kill(pid, signal.SIGCONT)
    table = wait(lab.study, timeout=120)
    assert (table["state"].item(), table["attempt"].item()) == ("done", 1)


def test_whoever_looks_at_the_runs_brings_back_a_dead_conductor(lab, monkeypatch, capsys):
    from eavdash.cli.commands import training

    monkeypatch.setattr(training, "study_marks", lambda study: [])
    run = lab.run("s01-vision", epochs=40)
    submit(lab.study)
    pid = lab.at_epoch(run)
    lab.kill_conductor()
    os.kill(pid, signal.SIGKILL)
    lab.until(lambda: lab.states()[run.name] == "not responding")
    assert main(["status", "tried", "--json", "--checkpoints", str(lab.root)]) == 0
    assert "s01-vision" in capsys.readouterr().out
    lab.until(lambda: run.status()["attempt"] == 2)
    assert set(wait(lab.study, timeout=120)["state"]) == {"done"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--device", "banana"], "--device: expected auto, cpu, cuda or cuda:N, found 'banana'"),
        (["--slurm", "partition=gpu"], "--slurm: expected --executor slurm, found --executor local"),
        (["--ray-address", "http://lab"], "--ray-address: expected --executor ray"),
        (["--runs-per-gpu", "5"], "--runs-per-gpu: expected one of 1, 2, 3, 4, 6, 12, found 5"),
        (["--priority", "99999"], "--priority: expected a number from -10000 to 10000"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_changed(lab, capsys, options, sentence):
    run = lab.run("s01-vision")
    before = run.status()
    assert main(["move", "tried", *options, "--checkpoints", str(lab.root)]) == 2
    assert sentence in capsys.readouterr().err
    assert run.status() == before


def test_a_run_that_cannot_be_read_holds_up_no_other(lab, capsys):
    broken, blind, *others = [lab.run(f"s0{n}-vision", fail="no file") for n in (1, 2, 3, 4)]
    lab.run("s01-fusion", ("s01-vision",))
    submit(lab.study)
    wait(lab.study, timeout=120)
    for run in others:
        write_json(run.config_file, {**run.config(), "standin": {"epochs": 2, "seconds": 0.05}})
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
    for run in (broken, blind):
        with pytest.raises(
            IntegrityError, match="remove this folder and have the run made again: eavdash extend tried"
        ):
            retry(lab.study, [run.name])
    # The others of these go on as well; one without a status.json alone is an error.
    assert cancel(lab.study) == ["s01-fusion"]
    pause(lab.study)
    resume(lab.study)
    prioritise(lab.study, None, 2)
    with pytest.raises(IntegrityError):
        cancel(lab.study, [blind.name])
    place = ["tried", "--checkpoints", str(lab.root)]
    assert main(["cancel", *place, "--run", broken.name]) == 0
    assert main(["cancel", *place]) == 1
    capsys.readouterr()
    assert main(["retry", *place]) == 1
    said = capsys.readouterr()
    assert "s01-vision was left as it is" in said.err
    assert "s02-vision was left as it is" in said.err
    assert "s01-fusion" in said.out


def test_a_run_that_waits_and_cannot_be_read_has_failed(lab):
    run = lab.run("s01-vision")
    child = lab.run("s01-fusion", ("s01-vision",))
    pause(lab.study)
    submit(lab.study)
    run.config_file.write_text("{")
    resume(lab.study)
    table = wait(lab.study, timeout=120).set_index("run")
    assert run.status()["state"] == "failed"
    assert table.loc[child.name, "state"] == "blocked"
    assert not lab.launches()
