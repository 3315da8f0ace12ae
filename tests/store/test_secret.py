"""The user's secret: made once, private, and refused where others could have read or placed it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from failing import fails

from eavdash.errors import UsageError
from eavdash.store.secret import BYTES, private_folder, user_secret


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The private folder, which is not there yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "eavdash"


def test_a_secret_is_made_once_and_is_private(folder: Path) -> None:
    old = os.umask(0)
    try:
        first = user_secret("cookie")
    finally:
        os.umask(old)
    assert len(first) == BYTES
    assert user_secret("cookie") == first
    assert user_secret("another") != first
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "cookie").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["another", "cookie"]


def test_several_processes_get_the_same_secret() -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: user_secret("cookie"), range(32)))) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_use_is_refused(folder: Path, mode: int) -> None:
    user_secret("cookie")
    (folder / "cookie").chmod(mode)
    with fails(UsageError, where="cookie", expected="0600", found=f"{mode:04o}"):
        user_secret("cookie")


def test_a_link_a_folder_and_a_short_file_are_refused(folder: Path, tmp_path: Path) -> None:
    private_folder()
    planted = tmp_path / "planted"
    planted.write_bytes(b"x" * BYTES)
    planted.chmod(0o600)
    (folder / "link").symlink_to(planted)
    (folder / "dangling").symlink_to(tmp_path / "nothing")
    (folder / "folder").mkdir(mode=0o700)
    os.mkfifo(folder / "pipe", 0o600)
    (folder / "short").write_bytes(b"x")
    (folder / "short").chmod(0o600)
    for name in ("link", "dangling", "folder", "pipe", "short"):
        with fails(UsageError, where=name):
            user_secret(name)
    assert not (tmp_path / "nothing").exists()


def test_another_users_file_or_folder_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user_secret("cookie")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with fails(UsageError, where=str(folder), found=str(os.getuid())):
        user_secret("cookie")


def test_an_open_or_linked_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(parents=True, mode=0o755)
    folder.chmod(0o755)
    with fails(UsageError, where=str(folder), expected="0700", found="0755"):
        private_folder()
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with fails(UsageError, where=str(folder)):
        private_folder()


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with fails(UsageError, where="eavdash", remedy="XDG_STATE_HOME"):
        private_folder()


def test_a_relative_state_folder_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert private_folder() == tmp_path / ".local" / "state" / "eavdash"
