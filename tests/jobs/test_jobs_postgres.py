"""Several machines with one checkpoints folder and one Postgres, simulated by processes with different host names."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from failing import fails
from lab import expected_weights

from eavdash.errors import ConfigError, QueueError
from eavdash.jobs.queue import cancel, submit
from eavdash.jobs.queue_database import queue_database, without_password
from eavdash.store.processes import with_package


class Machine:
    """Another machine: a scheduler with its own host name."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        command = [sys.executable, "-P", "-m", "eavdash.jobs.scheduler", str(lab.root)]
        environment = with_package({**os.environ, "EAVDASH_HOST": name})
        with (lab.root / ".queue" / f"{name}.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        lab.until(lambda: (lab.root / ".queue" / "hosts" / name).exists())

    def kill(self):
        self.process.kill()
        self.process.wait()

    def runs(self):
        """Return the runs that it computes or has computed."""
        return [run for run in self.lab.study.runs() if run.status().host == self.name]


@pytest.fixture
def shared(lab, postgres, monkeypatch):
    """The lab with its queue in Postgres, served by machines with few slots; this machine computes nothing."""
    monkeypatch.setenv("EAVDASH_QUEUE", postgres)
    monkeypatch.setenv("EAVDASH_SLOTS", "2")
    queue_database(lab.root)
    lab.machines = []

    def machine(name):
        lab.machines.append(Machine(lab, name))
        return lab.machines[-1]

    lab.machine = machine
    yield lab
    for one in lab.machines:
        one.kill()


def test_machines_share_the_runs_and_each_is_launched_once(shared):
    lab = shared
    submit(lab.study, [])
    lab.kill_scheduler()  # this machine computes nothing
    runs = lab.subject(1, epochs=10) + lab.subject(2, epochs=10)
    machines = [lab.machine(name) for name in ("anna", "bert")]
    queue_all(lab)
    lab.until(lambda: all(machine.runs() for machine in machines))
    busy = lab.machines[0].runs()[0]
    table = wait_without_scheduler(lab)
    assert set(table) == {"done"}
    assert lab.launches() == dict.fromkeys((run.name for run in runs), 1)
    assert {run.status().host for run in runs} == {"anna", "bert"}
    assert busy.model_file.read_bytes() == expected_weights(busy)
    assert queue_database(lab.root).shared
    assert not list((lab.root / ".queue").glob("*.sqlite"))


def test_a_run_is_cancelled_on_the_machine_that_computes_it(shared):
    lab = shared
    run = lab.run("s01-vision", epochs=400, child=True)
    anna = lab.machine("anna")
    queue_all(lab)
    lab.until(lambda: run.status().state == "running" and run.status().epoch >= 1)
    lab.machine("bert")
    cancel(lab.study)
    lab.until(lambda: run.status().state == "cancelled")
    assert run.status().host == anna.name
    assert not lab.processes()


def test_another_machine_resumes_the_runs_of_a_lost_one(shared, monkeypatch):
    lab = shared
    monkeypatch.setenv("EAVDASH_SLOTS", "1")
    run, waiting = lab.run("s01-vision", epochs=60), lab.run("s02-vision", epochs=2)
    lost = lab.machine("anna")
    queue_all(lab)
    pid = lab.until(lambda: run.status().epoch >= 2 and run.status().pid)
    lost.kill()
    os.kill(pid, signal.SIGKILL)
    old = time.time() - 3600
    os.utime(lab.root / ".queue" / "hosts" / "anna", (old, old))
    # Its heartbeat is the only sign of life for the others: they wait until it is too old.
    run.update(heartbeat=old)
    lab.machine("bert")
    assert set(wait_without_scheduler(lab)) == {"done"}
    assert run.model_file.read_bytes() == expected_weights(run)
    assert [run.status().host, waiting.status().host] == ["bert", "bert"]
    assert [attempt.host for attempt in run.status().history] == ["anna", "bert"]
    assert lab.launches() == {run.name: 2, waiting.name: 1}


def test_a_run_with_a_heartbeat_from_another_machine_is_not_resumed(shared):
    """Its lock may be invisible on a network file system."""
    lab = shared
    run = lab.run("s01-vision")
    run.transition("running", host="far", heartbeat=time.time(), submission="x", attempt=1, job={"executor": "local"})
    over = threading.Event()

    def beat():
        while not over.wait(0.5):
            run.update(heartbeat=time.time())

    heart = threading.Thread(target=beat)
    heart.start()
    try:
        lab.machine("bert")
        waiting = lab.run("s02-vision", epochs=1)  # shows that bert is working
        queue_all(lab)
        lab.until(lambda: waiting.status().state == "done")
        assert run.status().host == "far"
    finally:
        over.set()
        heart.join()
    assert lab.launches() == {waiting.name: 1}


def test_the_address_is_validated_and_stored_without_its_password(tmp_path, monkeypatch):
    secret = "postgresql://anna:secret@127.0.0.1:1/lab?sslpassword=secret2&passfile=/secret3"
    monkeypatch.setenv("EAVDASH_QUEUE", secret)
    first = queue_database(tmp_path)
    assert first.url == "postgresql+psycopg://anna@127.0.0.1:1/lab"
    assert first.secrets == {"password": "secret", "sslpassword": "secret2", "passfile": "/secret3"}
    assert "secret2" not in repr(first)
    assert not any(b"secret" in file.read_bytes() for file in (tmp_path / ".queue").iterdir())
    monkeypatch.delenv("EAVDASH_QUEUE")
    again = queue_database(tmp_path)
    assert (again.url, again.schema, again.secrets) == (first.url, first.schema, {})
    note = tmp_path / ".queue" / "url"
    note.write_text("postgres://anna@127.0.0.1:1/lab?password=old-secret")  # as an earlier version stored it
    assert queue_database(tmp_path).secrets == {"password": "old-secret"}
    assert note.read_text() == "postgres://anna@127.0.0.1:1/lab"
    monkeypatch.setenv("EAVDASH_QUEUE", "postgresql://anna@elsewhere/lab")
    stored = "postgres://anna@127.0.0.1:1/lab"
    with fails(ConfigError, where="EAVDASH_QUEUE", expected=stored, found="postgres://anna@elsewhere"):
        queue_database(tmp_path)
    monkeypatch.setenv("EAVDASH_QUEUE", "mysql://x:secret@y/z")
    with fails(ConfigError, where="EAVDASH_QUEUE", expected="postgresql://", found="'y/z'"):
        queue_database(tmp_path / "other")
    assert without_password(secret) == "postgres://anna@127.0.0.1:1/lab"


def test_a_database_that_does_not_answer_is_named_without_its_password(lab, monkeypatch):
    lab.run("s01-vision")
    monkeypatch.setenv("EAVDASH_QUEUE", "postgresql://anna:secret@127.0.0.1:1/lab?password=other-secret")
    with fails(QueueError, where="postgres://anna@127.0.0.1:1/lab", remedy="EAVDASH_QUEUE") as error:
        submit(lab.study)
    assert "secret" not in str(error.value)
    root = str(lab.root)
    for arguments in (["eavdash", "retry", "demo", "--checkpoints", root], ["eavdash.jobs.scheduler", root]):
        command = [sys.executable, "-P", "-m", *arguments]
        done = subprocess.run(command, env=with_package(dict(os.environ)), capture_output=True, timeout=120)
        assert b"secret" not in done.stdout + done.stderr
    assert not [file for file in lab.root.rglob("*") if file.is_file() and b"secret" in file.read_bytes()]


def test_a_password_is_used_but_neither_stored_nor_shown_nor_an_argument(shared, monkeypatch):
    lab = shared
    address = os.environ["EAVDASH_QUEUE"]
    secret = "planted-secret"
    scheme, _, rest = address.partition("://")
    user, _, server = rest.rpartition("@")
    user = user.partition(":")[0] or os.environ.get("USER", "postgres")
    mark = "&" if "?" in server else "?"
    monkeypatch.setenv("EAVDASH_QUEUE", f"{scheme}://{user}:{secret}@{server}{mark}sslpassword={secret}-2")
    run = lab.run("s01-vision", epochs=2)
    lab.machine("anna")
    arguments = Path(f"/proc/{lab.machines[0].process.pid}/cmdline").read_bytes()
    assert secret.encode() not in arguments
    queue_all(lab)
    assert set(wait_without_scheduler(lab)) == {"done"}
    assert run.status().state == "done"
    files = [file for file in lab.root.rglob("*") if file.is_file()]
    assert any(file.suffix == ".log" for file in files)
    assert not [file for file in files if secret.encode() in file.read_bytes()]


def queue_all(lab):
    """Queue all runs without starting a scheduler on this machine."""
    from eavdash.config.schema import Execution
    from eavdash.jobs import queue_tasks, requests
    from eavdash.jobs.scheduler_process import queue_session

    with queue_session(lab.root) as broker:
        for run in lab.study.runs():
            requests.submit(run, Execution(), {run: run.status()})
        queue_tasks.activate(broker, lab.study.runs())


def wait_without_scheduler(lab):
    """Wait until all runs have ended; return their states."""
    ends = ("done", "failed", "cancelled")
    lab.until(lambda: all(run.status().state in ends for run in lab.study.runs()), 120)
    return [run.status().state for run in lab.study.runs()]
