"""Private folders: only their owner reads what was made from recordings, whatever the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from failing import fails

from eavdash.data.cache import listing
from eavdash.data.cache.digests import FILE, Digests
from eavdash.data.cache.folders import ArrayWriter, cached
from eavdash.errors import DataError
from eavdash.health.memory import NAME, MeasureCache
from eavdash.store import datasets, private
from eavdash.store.atomic import write_atomic
from eavdash.store.paths import StudyPaths
from eavdash.store.private import cache_folder, private_folder


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0o000)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def readable_by_others(top: Path) -> list[Path]:
    return [path for path in (top, *top.rglob("*")) if mode(path) & 0o077]


def fill(cache: Path) -> None:
    """Let everything that writes into a cache do so."""

    def write(folder: Path) -> None:
        with ArrayWriter(folder / "values.npy", (1, 2), np.float32) as array:
            array.append(np.zeros((1, 2), np.float32))

    cached(cache, "windows", "key", write, lambda folder: folder)
    with Digests(cache) as known:
        known.fact("length", lambda: 1.0)
    with MeasureCache(cache):
        pass


def test_what_is_made_from_recordings_is_private(tmp_path: Path) -> None:
    cache = tmp_path / "checkpoints" / ".cache"
    fill(cache)
    assert {path.name for path in cache.rglob("*")} == {"windows", "key", "values.npy", FILE, NAME}
    assert readable_by_others(cache) == []
    assert mode(tmp_path / "checkpoints") == 0o777, "the umask decides about the folder of studies"
    study_file = tmp_path / "checkpoints" / "study.json"
    write_atomic(study_file, lambda file: file.write(b"{}"))
    assert mode(study_file) == 0o666


def test_a_cache_that_others_could_read_is_closed_when_it_is_used(tmp_path: Path) -> None:
    cache = tmp_path / ".cache"
    (cache / "videos").mkdir(parents=True)
    (cache / "videos" / "face.mp4").write_bytes(b"a face")
    outside = tmp_path / "recording.mp4"
    outside.write_bytes(b"not ours")
    (cache / "link").symlink_to(outside)
    assert len(readable_by_others(cache)) >= 3
    fill(cache)
    assert [path for path in readable_by_others(cache) if not path.is_symlink()] == []
    assert mode(outside) == 0o666, "what a link names is not ours"


def test_a_folder_that_a_caller_gives_keeps_its_other_files(tmp_path: Path) -> None:
    (tmp_path / "mine.wav").write_bytes(b"x")
    tmp_path.chmod(0o755)
    fill(tmp_path)
    assert mode(tmp_path / "mine.wav") == 0o666
    assert mode(tmp_path) == 0o755
    assert mode(tmp_path / FILE) == 0o600


def test_another_users_cache_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tmp_path / ".cache"
    theirs.mkdir(mode=0o755)
    monkeypatch.setattr(private.os, "geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr(private.tempfile, "TemporaryFile", refuse)
    own = tmp_path / f".cache-{os.getuid() + 1}"
    assert cache_folder(tmp_path) == StudyPaths(tmp_path / "pilot").cache_dir == own
    with fails(DataError, where=str(theirs), expected="your own", found=str(os.getuid()), remedy="--checkpoints"):
        private_folder(theirs)
    assert mode(theirs) == 0o755


def refuse(**_: object) -> None:
    raise PermissionError


def test_a_file_system_that_shows_other_ids_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private_folder(tmp_path / ".cache")
    monkeypatch.setattr(private.os, "geteuid", lambda: os.getuid() + 1)
    assert cache_folder(tmp_path) == tmp_path / ".cache"
    assert private_folder(tmp_path / ".cache", "videos").is_dir()


def test_the_list_of_datasets_and_its_tables_are_private(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    table = datasets.save_table(root, "pilot", "subject,trial,label,audio\n1,1,a,/x.wav\n", "")
    datasets.add(root, "pilot", table)
    assert readable_by_others(root / ".datasets") == []
    assert mode(datasets.list_file(root)) == 0o600


def test_modes_and_entries_of_what_a_linked_cache_leads_to_stay(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / ".config").mkdir(mode=0o755)
    (home / ".config" / "letter").touch(mode=0o644)
    os.utime(home / ".config", (0, 0))  # as old as what a killed process has left behind
    (tmp_path / ".cache").symlink_to(home)
    own = cache_folder(tmp_path)
    assert own.name == f".cache-{os.geteuid()}"
    fill(own)
    (own / "linked").symlink_to(home)
    (own / "videos").symlink_to(home)
    listing.clear(own, everything=True)
    with fails(DataError, where=".cache", found="symbolic link"):
        private_folder(tmp_path / ".cache")
    private_folder(own)
    (own / "windows").mkdir(exist_ok=True)
    (own / "windows").rmdir()
    (own / "windows").symlink_to(home)
    with fails(DataError, where="windows", found="symbolic link"):
        private_folder(own, "windows")
    with fails(DataError, found="symbolic link"):
        cached(own, "windows", "key", lambda folder: None, lambda folder: folder)
    (own / FILE).symlink_to(home / ".config" / "letter")
    with Digests(own) as known:
        known.fact("length", lambda: 1.0)
    assert (mode(home), mode(home / ".config"), mode(home / ".config" / "letter")) == (0o755, 0o755, 0o644)
    assert (home / ".config" / "letter").read_bytes() == b""
