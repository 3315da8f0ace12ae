"""The number and age of the playable copies of videos."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from failing import fails

from eavdash.data.cache import listing, videos
from eavdash.errors import ConfigError
from eavdash.store.processes import with_package
from eavdash.ui import media


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / ".cache" / videos.FOLDER
    made.mkdir(parents=True)
    return made


def copy(folder: Path, name: str, unused: float, size: int = 1_000_000) -> Path:
    """Write a copy that was last used so many seconds ago."""
    path = folder / name
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - unused,) * 2)
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_longest_unused_go_first_until_the_rest_fits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAVDASH_VIDEO_GB", "0.0025")
    old, middle = copy(folder, "old.mp4", 9000), copy(folder, "middle.mp4", 8000)
    copy(folder, "new.mp4", 1000)
    copy(folder, ".half.1-2.mp4", 100)
    videos.mark_used(old)
    assert videos.trim(folder) == [middle]
    assert names(folder) == {"old.mp4", "new.mp4", ".half.1-2.mp4"}


def test_old_copies_and_what_killed_writers_left_go_whatever_their_size(folder: Path) -> None:
    copy(folder, "old.mp4", 31 * 86400)
    copy(folder, "young.mp4", 29 * 86400)
    copy(folder, ".half.1-2.mp4", 2 * 86400)
    videos.trim(folder)
    assert names(folder) == {"young.mp4"}


def test_a_copy_just_used_stays_and_keeps_its_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAVDASH_VIDEO_GB", "0.000001")
    path = copy(folder, "a.mp4", 90 * 86400)
    before = path.stat().st_mtime_ns
    videos.mark_used(path)
    assert videos.trim(folder) == []
    assert path.stat().st_mtime_ns == before, "a browser in the middle of it would start over"


def test_a_copy_that_another_process_plays_is_not_deleted(folder: Path) -> None:
    path = copy(folder, "a.mp4", 90 * 86400)
    program = "import sys, pathlib\nfrom eavdash.data.cache import videos\n"
    program += "held = videos.hold(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=with_package(dict(os.environ)),
    ) as player:
        assert player.stdout is not None
        player.stdout.readline()
        assert videos.trim(folder) == []
        assert listing.clear(folder.parent, everything=True) == []
        assert path.exists()
    assert [entry.path for entry in listing.clear(folder.parent, everything=True)] == [path]
    assert not path.exists()


def test_the_server_holds_what_its_sessions_may_play(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "_entries", {})
    monkeypatch.setattr(media, "_held", {})
    alive = {"one", "two"}
    monkeypatch.setattr(media, "_alive", lambda session: session in alive)
    path = copy(folder, "a.mp4", 90 * 86400)
    media.register(path, "one", "")
    assert videos.trim(folder) == []
    alive.remove("one")
    media.register(copy(folder, "other.mp4", 0), "two", "")
    assert videos.trim(folder) == [path]
    for held in media._held.values():
        held.close()


@pytest.mark.parametrize("value", ["x", "0", "-1", "inf", "nan"])
def test_a_limit_must_be_a_positive_number(folder: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("EAVDASH_VIDEO_DAYS", value)
    with fails(ConfigError, where="EAVDASH_VIDEO_DAYS", expected="positive", found=repr(value)):
        videos.trim(folder)
