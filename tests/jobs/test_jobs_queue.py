"""Submit, order, slots, failures and retry: real processes, a stand-in training."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy
from documents import study_document
from failing import fails
from lab import change_standin

from eavdash.config.schema import Execution
from eavdash.errors import IntegrityError, QueueError, UsageError
from eavdash.jobs.broker import SLOTTED, VERSION, Broker, Task
from eavdash.jobs.queue import ensure_scheduler, retry, scheduler_alive, submit, wait
from eavdash.jobs.queue_database import queue_database
from eavdash.jobs.snapshot import snapshot
from eavdash.store import StudyDir
from eavdash.store.record import write_record

SUBMIT = """
import sys
from pathlib import Path
from eavdash.jobs.queue import submit
from eavdash.store import StudyDir
submit(StudyDir(Path(sys.argv[1])))
"""


def test_four_submit_at_once_and_each_run_is_launched_once(lab, monkeypatch):
    monkeypatch.setenv("EAVDASH_IDLE", "1")
    runs = lab.subject(1) + lab.subject(2, fusion={"epochs": 100})
    callers = [subprocess.Popen([sys.executable, "-c", SUBMIT, str(lab.study.path)]) for _ in range(4)]
    assert [caller.wait(60) for caller in callers] == [0, 0, 0, 0]
    seen = []
    table = wait(lab.study, report=seen.append, timeout=120)
    assert table["state"].tolist() == ["done"] * 8
    assert table["accuracy"].tolist() == [0.5] * 8
    assert table["attempt"].tolist() == [1] * 8
    assert lab.launches() == dict.fromkeys((run.name for run in runs), 1)
    assert len(seen) > 1
    # Fusion began when the last of its parents was done.
    row = table.set_index("run")
    for unit in ("s01", "s02"):
        ends = [row.loc[f"{unit}-{m}", "finished"] for m in ("vision", "audio", "eeg")]
        assert row.loc[f"{unit}-fusion", "started"] >= max(ends)
    assert (lab.root / ".queue").stat().st_mode & 0o077 == 0  # private, because it decides what is executed
    for run in runs:
        assert set(run.status().checksums) == {"model.safetensors", "predictions.parquet"}
        assert not run.resume_file.exists()
        assert run.log_file.read_text().startswith("--- attempt 1, ")
    # No work is left: the scheduler exits by itself, and none is started again.
    lab.until(lambda: not scheduler_alive(lab.root))
    assert not ensure_scheduler(lab.root)
    submit(lab.study)
    wait(lab.study, timeout=10)
    assert sum(lab.launches().values()) == 8


def test_a_chain_of_three_waits_is_blocked_and_is_retried_as_a_whole(lab):
    """A run of all subjects, a subject's encoder that starts from it, and the fusion."""
    first = lab.run("all-eeg", fail="no common channel")
    lab.run("s01-eeg", ("all-eeg",))
    last = lab.run("s01-fusion", ("s01-eeg",))
    submit(lab.study, [last.name])  # brings its encoder, and what that needs
    table = wait(lab.study, timeout=90).set_index("run")
    assert table["state"].to_dict() == {"all-eeg": "failed", "s01-eeg": "blocked", "s01-fusion": "blocked"}
    assert "all-eeg failed: no common channel" in table.loc["s01-fusion", "reason"]
    change_standin(first, fail="")
    assert set(retry(lab.study, ["all-eeg"])) == {"all-eeg", "s01-eeg", "s01-fusion"}
    done = wait(lab.study, timeout=90).set_index("run")
    assert set(done["state"]) == {"done"}
    assert done.loc["s01-fusion", "started"] >= done.loc["s01-eeg", "finished"]
    assert done.loc["s01-eeg", "started"] >= done.loc["all-eeg", "finished"]


def test_waiting_holds_no_slot_and_threads_take_slots(lab, monkeypatch):
    monkeypatch.setenv("EAVDASH_SLOTS", "2")
    lab.run("s01-vision", epochs=8)
    lab.run("s01-fusion", ("s01-vision",))
    lab.run("s02-vision", epochs=8)
    lab.run("s02-fusion", ("s02-vision",))
    others = [lab.run(f"s{i:02d}-audio") for i in range(3, 7)]
    submit(lab.study)
    lab.until(lambda: lab.states()["s01-fusion"] == "blocked")
    assert lab.study.run("s01-fusion").status().reason == "waits for s01-vision"
    table = wait(lab.study, timeout=120)
    assert set(table["state"]) == {"done"}
    assert most_at_once(table) == 2

    for run in others:
        shutil.rmtree(run.path)
    wide = [lab.run(run.name).name for run in others]
    submit(lab.study, wide, Execution(threads=2))
    table = wait(lab.study, wide, timeout=120)
    assert set(table["state"]) == {"done"}
    assert most_at_once(table) == 1


def most_at_once(table):
    """Return the maximum number of runs that were running at the same time."""
    return max(((table["started"] <= t) & (t < table["finished"])).sum() for t in table["started"])


def test_a_failure_has_a_reason_blocks_only_its_child_and_is_retried(lab):
    lab.subject(1, audio={"fail": "voice.wav: expected sound, found none; record it."})
    lab.subject(2, eeg={"crash": True})
    submit(lab.study)
    table = wait(lab.study, timeout=120).set_index("run")
    assert table.loc["s01-audio", ["state", "reason"]].tolist() == [
        "failed",
        "voice.wav: expected sound, found none; record it.",
    ]
    assert table.loc["s02-eeg", "reason"] == "ValueError: no such thing"
    assert "Traceback" in lab.study.run("s02-eeg").log_file.read_text()
    for unit, stage, reason in (("s01", "audio", "voice.wav"), ("s02", "eeg", "ValueError")):
        assert table.loc[f"{unit}-fusion", "state"] == "blocked"
        assert table.loc[f"{unit}-fusion", "reason"].startswith(f"{unit}-{stage} failed: {reason}")
    assert (table["state"] == "done").sum() == 4
    launches = lab.launches()
    assert set(launches.values()) == {1}  # a run that fails with an error is not retried automatically

    submit(lab.study)  # does not retry
    assert wait(lab.study, timeout=30)["state"].tolist() == table["state"].tolist()
    change_standin(lab.study.run("s01-audio"), fail="")
    assert set(retry(lab.study, ["s01-audio"])) == {"s01-audio", "s01-fusion"}
    table = wait(lab.study, ["s01-audio", "s01-fusion"], timeout=120)
    assert table["state"].tolist() == ["done", "done"]
    assert table["attempt"].tolist() == [2, 1]
    # Retrying the child takes the parent that failed with it.
    change_standin(lab.study.run("s02-eeg"), crash=False)
    assert set(retry(lab.study, ["s02-fusion"])) == {"s02-eeg", "s02-fusion"}
    assert set(wait(lab.study, timeout=120)["state"]) == {"done"}
    assert retry(lab.study) == []
    assert sum(lab.launches().values()) == sum(launches.values()) + 4


def test_a_damaged_result_is_trained_again_when_asked_by_name(lab):
    whole, broken = lab.run("s01-vision"), lab.run("s02-vision")
    submit(lab.study)
    wait(lab.study, timeout=120)
    weights = broken.model_file.read_bytes()
    broken.model_file.write_bytes(weights[:-1])
    assert retry(lab.study) == []
    assert retry(lab.study, ["s01-vision", "s02-vision"]) == ["s02-vision"]
    assert set(wait(lab.study, timeout=120)["state"]) == {"done"}
    assert broken.verify("model.safetensors").read_bytes() == weights
    assert lab.launches() == {"s01-vision": 1, "s02-vision": 2}
    assert whole.status().attempt == 1


def test_retrying_a_run_that_failed_for_a_damaged_parent_retries_the_parent(lab):
    parent = lab.run("s01-vision", epochs=1)
    submit(lab.study)
    wait(lab.study, timeout=120)
    weights = parent.model_file.read_bytes()
    parent.model_file.write_bytes(weights[:-1])
    with fails(IntegrityError, where="model.safetensors", remedy=f"--run {parent.name}") as found:
        parent.verify("model.safetensors")
    child = lab.run("s01-fusion", ("s01-vision",), fail=str(found.value))
    submit(lab.study)
    wait(lab.study, timeout=120)
    assert set(retry(lab.study, [parent.name])) == {parent.name, child.name}
    wait(lab.study, timeout=120)
    change_standin(child, fail="")
    parent.model_file.write_bytes(weights[:-1])
    assert set(retry(lab.study, [child.name])) == {parent.name, child.name}
    assert set(wait(lab.study, timeout=120)["state"]) == {"done"}
    assert parent.verify("model.safetensors").read_bytes() == weights
    assert lab.launches() == {"s01-vision": 3, "s01-fusion": 3}


def test_a_study_deleted_while_it_is_computed_ends_quietly(lab, monkeypatch):
    monkeypatch.setenv("EAVDASH_SLOTS", "1")
    doomed = lab.run("s01-vision", epochs=1000)
    lab.run("s02-vision")
    lab.run("s02-fusion", ("s02-vision",))
    submit(lab.study)
    pid = lab.at_epoch(doomed)
    launches = lab.launches()
    shutil.rmtree(lab.study.path.rename(lab.root / "away"), ignore_errors=True)  # atomic despite writers
    lab.until(lambda: not Path(f"/proc/{pid}").exists())
    assert launches == {"s01-vision": 1}
    # The scheduler keeps running, and the same name can be used again.
    lab.study.path.mkdir()
    write_record(lab.study.study_file, study_document("tried"))
    lab.run("s01-vision")
    lab.run("s01-fusion", ("s01-vision",))
    submit(lab.study)
    assert set(wait(lab.study, timeout=120)["state"]) == {"done"}
    assert lab.launches() == {"s01-vision": 1, "s01-fusion": 1}


def test_invalid_requests_are_refused(lab, monkeypatch):
    lab.run("s01-vision")
    with fails(UsageError, where="tried", expected="'s09-vision'"):
        submit(lab.study, ["s09-vision"])
    with fails(QueueError, where="s01-vision", expected="queue", found="never submitted"):
        wait(lab.study)
    monkeypatch.setenv("EAVDASH_SLOTS", "many")
    with fails(QueueError, where=str(lab.root), found=("EAVDASH_SLOTS", "many"), remedy="conductor.log"):
        submit(lab.study)


def test_the_snapshot_needs_neither_queue_nor_torch(lab):
    lab.subject(1)
    code = "import sys, eavdash.jobs.queue, eavdash.jobs.snapshot; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"dbos", "torch", "timm", "mne", "sqlalchemy"} & set(loaded)
    table = snapshot(lab.study)
    assert table["run"].tolist() == ["s01-audio", "s01-eeg", "s01-fusion", "s01-vision"]
    assert table["state"].tolist() == ["queued"] * 4
    assert not table["ended"].any()
    assert table["accuracy"].isna().all()
    assert snapshot(StudyDir(lab.root / "none")).empty
    # A damaged status fails one run, not the table.
    lab.study.run("s01-eeg").status_file.write_text("{")
    assert snapshot(lab.study).set_index("run").loc["s01-eeg", "state"] == "failed"
    assert "status.json" in snapshot(lab.study).set_index("run").loc["s01-eeg", "reason"]


def test_opening_a_queue_that_another_process_creates_waits(tmp_path: Path) -> None:
    # SQLite does not wait for a locked file to change its journal mode: the second process used to fail.
    database = queue_database(tmp_path)
    assert database.file is not None
    with (
        contextlib.closing(sqlite3.connect(database.file, isolation_level=None)) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute("CREATE TABLE begun (x)")
        other.execute("BEGIN IMMEDIATE")
        engine = database.engine()
        with engine.connect():
            pass
        engine.dispose()
        second = pool.submit(database.migrate)
        with pytest.raises(TimeoutError):
            second.result(1)
        other.execute("COMMIT")
        second.result(60)
        other.execute("SELECT * FROM begun")  # makes it read the new journal mode
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        with contextlib.closing(Broker(tmp_path)) as broker:
            assert broker.states(["-"]) == {}


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_tasks_that_are_added_together_are_stored_as_dbos_stores_a_single_one(tmp_path, database, request, monkeypatch):
    if database == "postgres":
        monkeypatch.setenv("EAVDASH_QUEUE", request.getfixturevalue("postgres"))

    def rows(table):
        table = f'"{broker.database.schema}".{table}' if broker.database.shared else table
        changing = ("workflow_uuid", "creator_xid", "created_at", "updated_at", "retention_timestamp")
        with broker.engine.begin() as connection:
            found = connection.execute(sqlalchemy.text(f"SELECT * FROM {table} ORDER BY workflow_uuid")).mappings()
            return {row["workflow_uuid"]: {k: v for k, v in row.items() if k not in changing} for row in found}

    broker = Broker(tmp_path)
    task = Task("1 together", "train", "study", "run", "1", SLOTTED, 5)
    broker.enqueue([task, dataclasses.replace(task, id="2 together"), dataclasses.replace(task, priority=7)])
    broker.enqueue([dataclasses.replace(task, priority=8)])
    options = {"workflow_name": "train", "queue_name": SLOTTED, "workflow_id": "3 alone", "app_version": VERSION}
    with broker.engine.begin() as connection:
        broker._client.enqueue_in_transaction(connection, {**options, "priority": 5}, "study", "run", "1")
    for table in ("workflow_status", "workflow_input"):
        found = rows(table)
        assert list(found) == ["1 together", "2 together", "3 alone"]
        assert found["1 together"] == found["2 together"] == found["3 alone"]
    assert broker.states(list(found)) == dict.fromkeys(found, True)
    broker.close()


def test_the_time_of_a_task_is_known_to_an_older_sqlite(tmp_path: Path) -> None:
    engine = queue_database(tmp_path).engine()
    with engine.begin() as connection:  # as DBOS's tables with Python 3.12 and newer
        connection.exec_driver_sql("CREATE TABLE t (name, made INTEGER NOT NULL DEFAULT (unixepoch('subsec') * 1000))")
        connection.exec_driver_sql("INSERT INTO t (name) VALUES ('a')")
        (made,) = connection.exec_driver_sql("SELECT made FROM t").one()
    engine.dispose()
    assert made == pytest.approx(1000 * time.time(), abs=60_000)
