"""kill -9 of any process at any moment: no run is lost, launched twice, or shown as running when it is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from lab import change_standin, expected_weights

from eavdash.jobs.queue import ensure_scheduler, retry, scheduler_alive, submit, wait
from eavdash.jobs.snapshot import snapshot

APP = """
import sys, time
from pathlib import Path
from eavdash.jobs.queue import submit
from eavdash.store import StudyDir
submit(StudyDir(Path(sys.argv[1])))
print("submitted", flush=True)
time.sleep(600)
"""


def test_worker_and_app_are_killed(lab):
    run = lab.run("s01-vision", epochs=20)
    lab.run("s01-fusion", ("s01-vision",))
    dying = lab.run("s02-vision", epochs=4, die_at=2)
    app = subprocess.Popen(
        [sys.executable, "-c", APP, str(lab.study.path)], stdout=subprocess.PIPE, start_new_session=True
    )
    with app:
        assert app.stdout.readline() == b"submitted\n"
        os.killpg(app.pid, signal.SIGKILL)
    os.kill(lab.at_epoch(run, 2), signal.SIGKILL)

    # A second scheduler exits because the first one is running.
    first = lab.scheduler_pid()
    command = [sys.executable, "-m", "eavdash.jobs.scheduler", str(lab.root)]
    assert subprocess.run(command, timeout=120).returncode == 0
    assert lab.scheduler_pid() == first

    table = wait(lab.study, timeout=120).set_index("run")
    assert table["state"].to_dict() == {"s01-fusion": "done", "s01-vision": "done", "s02-vision": "failed"}
    assert run.model_file.read_bytes() == expected_weights(run)
    assert table.loc["s01-vision", "attempt"] == 2
    assert "(signal 9) 3 times" in table.loc["s02-vision", "reason"]
    assert lab.launches() == {"s01-vision": 2, "s01-fusion": 1, "s02-vision": 3}
    assert (
        "s01-vision: queued: its process was killed (signal 9)" in (lab.root / ".queue" / "conductor.log").read_text()
    )

    change_standin(dying, die_at=None)
    assert retry(lab.study) == ["s02-vision"]
    assert set(wait(lab.study, timeout=120)["state"]) == {"done"}
    assert dying.model_file.read_bytes() == expected_weights(dying)


def test_jobs_outlive_the_scheduler_and_are_adopted(lab, monkeypatch):
    monkeypatch.setenv("EAVDASH_SLOTS", "3")
    names = {"s01-vision": 12, "s02-vision": 60, "s03-vision": 60}
    runs = [lab.run(name, epochs=epochs) for name, epochs in names.items()]
    waiting = [lab.run("s01-fusion", ("s01-vision",)), lab.run("s04-vision")]
    submit(lab.study)
    pids = [lab.at_epoch(run) for run in runs]
    lab.kill_scheduler()
    lab.until(lambda: lab.states()["s01-vision"] == "done")  # it ended while no scheduler was running
    assert lab.states()["s02-vision"] == "running"
    assert [lab.states()[run.name] for run in waiting] == ["blocked", "queued"]
    assert ensure_scheduler(lab.root)
    assert not ensure_scheduler(lab.root)
    os.kill(pids[2], signal.SIGKILL)  # an adopted job
    table = wait(lab.study, timeout=120).set_index("run")
    assert set(table["state"]) == {"done"}
    assert lab.launches() == dict.fromkeys(table.index, 1) | {"s03-vision": 2}
    assert [run.status().pid for run in runs[:2]] == pids[:2]
    for run in runs:
        assert run.model_file.read_bytes() == expected_weights(run)
    # An orphan keeps its slot: never more than three runs at once.
    assert max(((table["started"] <= t) & (t < table["finished"])).sum() for t in table["started"]) <= 3


def test_after_all_processes_and_the_queue_were_lost_each_run_resumes_once(lab):
    runs = lab.subject(1, epochs=25)
    submit(lab.study)
    pids = [lab.at_epoch(run) for run in runs[:3]]
    os.kill(lab.scheduler_pid(), signal.SIGKILL)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    # A killed process of several threads looks like a zombie before the last of them has let go of the run's lock.
    killed = [run.name for run in runs[:3]]
    lab.until(lambda: set(snapshot(lab.study).set_index("run").loc[killed, "shown"]) == {"not responding"})
    lab.until(lambda: not scheduler_alive(lab.root))
    assert ensure_scheduler(lab.root)
    pid = lab.until(lambda: (status := runs[0].status()).attempt == 2 and status.pid)

    lab.kill_scheduler()
    for file in (lab.root / ".queue").glob("queue.sqlite*"):
        file.unlink()
    assert ensure_scheduler(lab.root)
    table = wait(lab.study, timeout=120)
    assert set(table["state"]) == {"done"}
    for run in runs:
        assert run.model_file.read_bytes() == expected_weights(run)
    assert lab.launches() == {"s01-vision": 2, "s01-audio": 2, "s01-eeg": 2, "s01-fusion": 1}
    assert runs[0].status().pid == pid
