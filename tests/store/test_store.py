"""Files of a study: names, atomic writes, state transitions, liveness, damage."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from pathlib import Path
from typing import BinaryIO

import pytest
from documents import run_config
from failing import fails
from hypothesis import given
from hypothesis import strategies as st

from eavdash import store
from eavdash.errors import IntegrityError, QueueError, TrainingError, UsageError
from eavdash.store import RunDir, StudyDir, status
from eavdash.store.atomic import file_lock, is_locked, write_atomic, write_json
from eavdash.store.names import check_unit_names


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made = RunDir(tmp_path / "study" / "s01-eeg")
    made.create(run_config("s01-eeg"))
    return made


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ({}, "no state"),
        ({"state": "asleep"}, "state 'asleep'"),
        ({"state": "queued", "execution": "local"}, "execution 'local'"),
        ({"state": "running", "attempt": "first"}, "attempt 'first'"),
    ],
)
def test_an_invalid_status_is_refused(run: RunDir, status: dict[str, object], found: str) -> None:
    write_json(run.status_file, status)
    with fails(IntegrityError, where="status.json", found=found, remedy="eavdash retry study"):
        run.status()
    with fails(IntegrityError, where="status.json", found=found):
        run.transition("queued")


@pytest.mark.parametrize(
    ("subject", "name"), [("1", "s01"), ("42", "s42"), ("105", "s105"), ("anna", "s-anna"), ("01", "s-01")]
)
def test_unit_names(subject: str, name: str) -> None:
    assert store.unit_name(subject) == name


@pytest.mark.parametrize("text", ["a" * 5000, "a " * 5000, "\u00e4" * 5000, "9" * 5000])
def test_a_long_name_becomes_one_that_file_systems_take(text: str) -> None:
    assert len(store.slug(text)) <= 200
    assert store.unit_name(text) != store.unit_name(text + text[-1])
    assert len(f"{store.unit_name(text)}-vision-fold99-seed4294967295") < 240
    assert store.slug("a" * 200) == "a" * 200


def test_subjects_that_share_a_run_folder_are_refused() -> None:
    other = store.slug("a b")
    check_unit_names(["a b", "a/b", "1", "01", "1"])
    with fails(UsageError, where=repr(other), found=(f"s-{other}", "'a b'"), remedy="rename"):
        check_unit_names(["a b", "1", other])


@given(st.text(min_size=1), st.text(min_size=1))
def test_unit_names_are_safe_and_distinguish_subjects(a: str, b: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]+", store.unit_name(a))
    assert (store.unit_name(a) == store.unit_name(b)) == (a == b)


def test_a_full_disk_keeps_the_old_file_and_no_temporary_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")

    def full(file: BinaryIO) -> None:
        file.write(b"half of the new")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with fails(TrainingError, where=str(path), found=os.strerror(errno.ENOSPC), remedy="disk space"):
        write_atomic(path, full)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_every_state_can_be_reached_and_only_by_legal_steps(run: RunDir) -> None:
    reachable = {"queued"}
    for _ in status.STATES:
        reachable |= {b for a in reachable for b in status.TRANSITIONS[a]}
    assert reachable == set(status.STATES)
    run.transition("running")
    run.transition("done")
    for state in ("running", "failed", "cancelled", "blocked"):
        with fails(QueueError, where="status.json", expected=("queued", "done"), found=state):
            run.transition(state)
    assert run.status().state == "done"
    with pytest.raises(QueueError, match="transition"):
        run.update(state="failed")


def test_creating_a_run_again_changes_nothing(run: RunDir) -> None:
    run.transition("running", epoch=3)
    run.create(run_config("other"))
    assert run.config() == run_config("s01-eeg")
    assert run.status().epoch == 3


def test_a_run_is_shown_as_running_only_with_a_held_lock_and_a_recent_heartbeat(run: RunDir) -> None:
    run.transition("running", heartbeat=time.time(), host=os.uname().nodename)
    assert run.live_status().shown == "not responding"
    with run.lock_file.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run.live_status().shown == "running"
        run.update(heartbeat=time.time() - 60)
        status = run.live_status()
        assert status.shown == "not responding"
        assert "no heartbeat for 6" in status.reason


def test_a_damaged_result_is_named(run: RunDir) -> None:
    run.model_file.write_bytes(b"weights")
    run.update(checksums=run.seal())
    assert run.verify("model.safetensors") == run.model_file
    run.model_file.write_bytes(b"weightz")
    retry = "eavdash retry study --run s01-eeg"
    with fails(IntegrityError, where="model.safetensors", expected="checksum", found="damaged", remedy=retry):
        run.verify("model.safetensors")
    run.model_file.unlink()
    with fails(IntegrityError, where="model.safetensors", found="none", remedy=retry):
        run.verify("model.safetensors")


def test_an_incomplete_metrics_line_is_skipped(run: RunDir) -> None:
    assert run.metrics() == []
    run.metrics_file.write_text('{"epoch": 1}\n{"epoch": 2}\n{"epo')
    assert run.metrics() == [{"epoch": 1}, {"epoch": 2}]


def test_status_that_is_not_json_is_named(run: RunDir) -> None:
    run.status_file.write_text("{")
    with fails(IntegrityError, where="status.json", expected="JSON"):
        run.status()


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "../x", "x" * 101, "ä"])
def test_unsafe_study_names_are_refused(name: str) -> None:
    with fails(UsageError, where="study name", found=repr(name)):
        store.check_study_name(name)


def test_an_unknown_study_or_run_is_refused_with_the_existing_names(tmp_path: Path) -> None:
    write_json((tmp_path / "pilot").mkdir() or tmp_path / "pilot" / "study.json", {})
    (tmp_path / ".cache").mkdir()
    assert store.find_study(tmp_path, "pilot") == StudyDir(tmp_path / "pilot")
    assert store.studies(tmp_path) == [StudyDir(tmp_path / "pilot")]
    with fails(UsageError, where=str(tmp_path), expected="'other'", found="pilot"):
        store.find_study(tmp_path, "other")
    with fails(UsageError, where="pilot", expected="'s01-eeg'"):
        store.find_run(StudyDir(tmp_path / "pilot"), "s01-eeg")


def test_a_file_lock_is_waited_for_shared_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with file_lock(file) as held:
        assert held
        assert is_locked(file)
        with file_lock(file, wait=False) as second, file_lock(file, shared=True, wait=False) as third:
            assert (second, third) == (False, False)
    with (
        file_lock(file, shared=True),
        file_lock(file, shared=True, wait=False) as second,
        file_lock(file, wait=False) as third,
    ):
        assert (second, third) == (True, False)
    assert not is_locked(file)


def test_an_error_of_the_system_becomes_one_of_ours(tmp_path: Path) -> None:
    with (
        fails(UsageError, where=str(tmp_path), expected="a file", found="Is a directory", remedy="try again"),
        UsageError.from_os(tmp_path, expected="a file", remedy="try again"),
    ):
        tmp_path.read_bytes()
    with pytest.raises(ValueError, match="mine"), UsageError.from_os(tmp_path, expected="a file", remedy="try again"):
        raise ValueError("mine")
