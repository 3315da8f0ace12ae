"""Files that are opened by a fixed name: never through a link, and locks that other users cannot hold."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from documents import run_config
from failing import fails

from eavdash.errors import IntegrityError, TrainingError
from eavdash.store import RunDir, locks, own_files
from eavdash.store.atomic import file_lock, is_locked, locked_file, write_atomic
from eavdash.store.own_files import own_file


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    file = tmp_path / "home" / "precious"
    file.parent.mkdir()
    file.write_text("keep")
    return file


@pytest.mark.parametrize("mode", ["ab", "wb"])
def test_a_log_is_not_written_through_a_link(tmp_path: Path, precious: Path, mode: str) -> None:
    (tmp_path / "log.txt").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic link"):
        own_file(tmp_path / "log.txt", mode)
    assert precious.read_text() == "keep"
    with own_file(tmp_path / "own.txt", mode) as file:
        file.write(b"a")
    with own_file(tmp_path / "own.txt", mode) as file:
        file.write(b"b")
    assert (tmp_path / "own.txt").read_bytes() == (b"ab" if mode == "ab" else b"b")


def test_a_lock_is_not_taken_through_a_link_or_on_a_pipe(tmp_path: Path, precious: Path) -> None:
    link, pipe = tmp_path / ".lock", tmp_path / "pipe"
    link.symlink_to(precious)
    os.mkfifo(pipe)
    for lock in (link, pipe):
        with pytest.raises(OSError, match=r"symbolic link|no regular file"):
            locks.acquire(lock)
        with fails(TrainingError, where=str(lock)), locked_file(tmp_path, lock.name):
            pass
        assert not is_locked(lock)
    with file_lock(precious):
        assert not is_locked(link), "a link to what is locked elsewhere"
    assert (precious.read_text(), stat.S_IMODE(precious.stat().st_mode) & 0o400) == ("keep", 0o400)


def test_a_temporary_file_replaces_a_link_of_its_name(tmp_path: Path, precious: Path) -> None:
    (tmp_path / f".status.json.{os.getpid()}-{threading.get_ident()}.tmp").symlink_to(precious)
    write_atomic(tmp_path / "status.json", lambda file: file.write(b"{}"))
    assert (precious.read_text(), (tmp_path / "status.json").read_text()) == ("keep", "{}")
    assert not (tmp_path / "status.json").is_symlink()


@pytest.mark.parametrize(("folder_mode", "expected"), [(0o755, 0o600), (0o775, 0o660), (0o700, 0o600)])
def test_only_those_who_may_write_to_a_folder_can_open_its_locks(
    tmp_path: Path, folder_mode: int, expected: int
) -> None:
    tmp_path.chmod(folder_mode)
    (tmp_path / "earlier").touch(mode=0o644)
    for name in ("new", "earlier"):
        with file_lock(tmp_path / name):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == expected
    (tmp_path / "seen").touch(mode=0o644)
    assert not is_locked(tmp_path / "seen")
    assert stat.S_IMODE((tmp_path / "seen").stat().st_mode) == expected
    os.close(locks.acquire(tmp_path / "run") or -1)
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == expected


def test_waiting_for_a_lock_ends_with_its_holder_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_files, "LOCK_WAIT", 0.3)
    hold = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    command = [sys.executable, "-c", hold, str(tmp_path / ".status.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with (
            fails(TrainingError, where=".status.lock", expected="0.3 s", found=f"process {holder.pid}"),
            locked_file(tmp_path, ".status.lock"),
        ):
            pass
        holder.communicate(b"\n")
    with locked_file(tmp_path, ".status.lock"):
        pass


def test_a_run_whose_folder_is_a_link_is_not_changed(tmp_path: Path) -> None:
    real = RunDir(tmp_path / "elsewhere" / "s01-eeg")
    real.create(run_config("s01-eeg"))
    before = real.status_file.read_bytes()
    study = tmp_path / "checkpoints" / "demo"
    study.mkdir(parents=True)
    (study / "s01-eeg").symlink_to(real.path)
    linked = RunDir(study / "s01-eeg")
    for change in (
        linked.status,
        linked.config,
        lambda: linked.update(epoch=3),
        lambda: linked.transition("cancelled"),
        lambda: linked.create(run_config("s01-eeg")),
    ):
        with fails(IntegrityError, where=str(linked.path), found="symbolic link"):
            change()
    real.status_file.write_text("{")
    linked.restore_status()
    assert real.status_file.read_text() == "{"
    real.status_file.write_bytes(before)
    (tmp_path / "disk").symlink_to(tmp_path / "elsewhere")  # a whole study may be one
    assert RunDir(tmp_path / "disk" / "s01-eeg").update(epoch=3).epoch == 3
