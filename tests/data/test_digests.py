"""Digests: equal for equal content wherever it lies, remembered while the file's stamps stay, never in the way."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest
from failing import fails

from eavdash.data.cache import database
from eavdash.data.cache import digests as module
from eavdash.data.cache.digests import FILE, Digests, digest, digests, files_of
from eavdash.errors import RecordingError


@pytest.fixture
def hashed(monkeypatch) -> list[str]:
    """Paths that were hashed; files count as settled at once."""
    paths: list[str] = []
    real = module._hash
    monkeypatch.setattr(module, "SETTLED", 0.0)
    monkeypatch.setattr(module, "_hash", lambda path: paths.append(Path(path).name) or real(path))
    return paths


def _file(path: Path, content: bytes = b"content") -> str:
    path.write_bytes(content)
    return str(path)


def _change(path: Path, content: bytes) -> str:
    """Write until the file system's clock has ticked since the last change."""
    before = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == before:
        path.write_bytes(content)
    return str(path)


def test_it_is_the_hash_of_the_content(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.wav")
    assert digest(path, tmp_path) == hashlib.sha256(b"content").hexdigest()[:32]
    assert digest(f"{_file(tmp_path / 'a.mat')}#41", tmp_path) == digest(path, tmp_path)


def test_without_a_cache_it_is_the_same_and_nothing_is_written(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.wav")
    before = sorted(tmp_path.iterdir())
    assert digest(path, None) == digests([path], None)[path]
    assert sorted(tmp_path.iterdir()) == before
    assert digest(path, None) == digest(path, tmp_path / "cache")


def test_a_file_is_hashed_once(tmp_path: Path, hashed: list[str]) -> None:
    path = _file(tmp_path / "a.wav")
    assert digest(path, tmp_path / "c") == digest(path, tmp_path / "c")
    assert hashed == ["a.wav"]


def test_a_touched_a_copied_and_a_moved_file_keep_their_digest(tmp_path: Path, hashed: list[str]) -> None:
    path = _file(tmp_path / "a.wav")
    first = digest(path, tmp_path)
    os.utime(path, (1, 1))
    assert digest(path, tmp_path) == first
    assert digest(str(shutil.copy(path, tmp_path / "b.wav")), tmp_path) == first
    assert digest(str(shutil.move(path, tmp_path / "c.wav")), tmp_path) == first
    assert hashed == ["a.wav", "a.wav", "b.wav", "c.wav"], "the time stamps are new: hashed again"


def test_a_file_modified_in_place_has_another(tmp_path: Path, hashed: list[str]) -> None:
    path = _file(tmp_path / "a.wav", b"content")
    first = digest(path, tmp_path)
    _change(tmp_path / "a.wav", b"Content")
    assert digest(path, tmp_path) != first


def test_even_if_size_and_modification_time_are_restored(tmp_path: Path, hashed: list[str]) -> None:
    path = tmp_path / "a.wav"
    _file(path)
    os.utime(path, (1000, 1000))
    first = digest(str(path), tmp_path)
    assert digest(str(path), tmp_path) == first
    assert len(hashed) == 1
    _change(path, b"Content")
    os.utime(path, (1000, 1000))
    assert digest(str(path), tmp_path) != first


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path, monkeypatch) -> None:
    """It could change again within one tick of the file system's clock."""
    path = _file(tmp_path / "a.wav")
    digest(path, tmp_path)
    with Digests(tmp_path) as known:
        assert known.recall(path) is None
    monkeypatch.setattr(module, "SETTLED", 0.0)
    digest(path, tmp_path)
    with Digests(tmp_path) as known:
        assert known.recall(path) is not None


def test_a_file_that_changes_while_it_is_hashed_is_not_remembered(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "SETTLED", 0.0)
    path = _file(tmp_path / "a.wav")
    with Digests(tmp_path) as known:
        value, seen = module._hash(path)
        _file(tmp_path / "a.wav", b"longer than before")
        known.learn(path, value, seen)
    with Digests(tmp_path) as known:
        assert known.recall(path) is None


def test_many_at_once_with_progress(tmp_path: Path, hashed: list[str]) -> None:
    paths = [_file(tmp_path / f"{n}.wav", bytes([n])) for n in range(1, 9)]
    reports: list[tuple[int, int]] = []
    found = digests([*paths, paths[0]], tmp_path / "c", lambda *done: reports.append(done), jobs=2)
    assert found == {path: digest(path, tmp_path / "c") for path in paths}
    assert reports == [(n, 8) for n in range(1, 9)]
    assert sorted(hashed) == [f"{n}.wav" for n in range(1, 9)]
    _file(tmp_path / "9.wav", b"new")
    digests([*paths, str(tmp_path / "9.wav")], tmp_path / "c")
    assert hashed[8:] == ["9.wav"]


@pytest.mark.parametrize("content", [None, b""])
def test_a_file_that_is_missing_or_empty_is_named(tmp_path: Path, hashed: list[str], content: bytes | None) -> None:
    good, bad = _file(tmp_path / "a.wav"), tmp_path / "b.wav"
    if content is not None:
        bad.write_bytes(content)
    with fails(RecordingError, where="b.wav"):
        digests([good, str(bad)], tmp_path)
    with fails(RecordingError, where="b.wav"):
        digest(str(bad), tmp_path)


def test_a_name_that_is_not_utf8(tmp_path: Path, hashed: list[str]) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav")
    Path(path).write_bytes(b"x")
    assert digest(path, tmp_path) == digest(path, tmp_path)
    assert len(hashed) == 1


@pytest.mark.parametrize("damage", ["text", "truncated", "middle", "version", "folder", "readonly"])
def test_a_damaged_memory_costs_time_and_nothing_else(tmp_path: Path, hashed: list[str], damage: str) -> None:
    paths = [_file(tmp_path / f"{n}.wav", bytes([n])) for n in range(1, 200)]
    cache = tmp_path / "cache"
    right = digests(paths, cache)
    memory = cache / FILE
    content = memory.read_bytes()
    if damage == "text":
        memory.write_text("no database at all, but long enough to be read" * 100)
    elif damage == "truncated":
        memory.write_bytes(content[: len(content) // 2])
    elif damage == "middle":
        memory.write_bytes(content[:4096] + b"\x07" * (len(content) - 4096))
    elif damage == "version":
        with sqlite3.connect(memory) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
    elif damage == "folder":
        memory.unlink()
        memory.mkdir()
    else:
        memory.chmod(0o444)
        cache.chmod(0o555)
    try:
        assert digests(paths, cache) == right
        assert digests(paths, cache) == right
        if damage not in ("folder", "readonly"):
            before = len(hashed)
            assert digests(paths, cache) == right
            assert len(hashed) == before, "the memory was made again"
    finally:
        cache.chmod(0o755)


def test_a_memory_that_another_process_keeps_locked(tmp_path: Path, hashed: list[str], monkeypatch) -> None:
    monkeypatch.setattr(database, "_WAIT", 0.1)
    path = _file(tmp_path / "a.wav")
    right = digest(path, tmp_path)
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert digest(path, tmp_path) == right
    other.execute("ROLLBACK")
    other.close()
    assert digest(path, tmp_path) == right
    assert len(hashed) == 2, "what was remembered before is still there"


def test_threads_and_connections_at_once(tmp_path: Path, hashed: list[str]) -> None:
    paths = [_file(tmp_path / f"{n}.wav", bytes([n]) * 1000) for n in range(1, 40)]
    found: list[dict[str, str]] = []
    threads = [threading.Thread(target=lambda: found.append(digests(paths, tmp_path / "c", jobs=2))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert all(f == found[0] for f in found)
    before = len(hashed)
    digests(paths, tmp_path / "c")
    assert len(hashed) == before


def test_a_fact_is_found_out_once(tmp_path: Path) -> None:
    for _ in range(2):
        with Digests(tmp_path) as known:
            assert known.fact("seconds of x", lambda: float("inf")) == float("inf")
    with Digests(tmp_path) as known:
        assert known.fact("seconds of x", lambda: pytest.fail("asked again")) == float("inf")


def test_a_recording_of_several_files_has_one_digest_of_them_all(tmp_path: Path, hashed: list[str]) -> None:
    header = _file(tmp_path / "a.vhdr", b"[Common Infos]\r\nDataFile=data of a.eeg\r\nMarkerFile=a.vmrk\r\n")
    _file(tmp_path / "data of a.eeg", b"samples")
    _file(tmp_path / "a.vmrk", b"markers")
    assert [p.name for p in files_of(header)] == ["a.vhdr", "a.vmrk", "data of a.eeg"]
    first = digest(header, tmp_path)
    _change(tmp_path / "data of a.eeg", b"Samples")
    second = digest(header, tmp_path)
    _change(tmp_path / "a.vmrk", b"Markers")
    assert len({first, second, digest(header, tmp_path)}) == 3
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("a.vhdr", "data of a.eeg", "a.vmrk"):
        shutil.copy(tmp_path / name, moved / name)
    assert digest(str(moved / "a.vhdr"), tmp_path) == digest(header, tmp_path)


def test_files_that_belong_to_others(tmp_path: Path) -> None:
    for name in ("a.set", "a.fdt", "b_raw.fif", "b_raw-1.fif", "b_raw-2.fif", "b_raw-4.fif", "c.wav", "c.fdt"):
        _file(tmp_path / name)
    names = {n: [p.name for p in files_of(str(tmp_path / n))] for n in ("a.set", "b_raw.fif", "c.wav")}
    assert names == {
        "a.set": ["a.set", "a.fdt"],
        "b_raw.fif": ["b_raw.fif", "b_raw-1.fif", "b_raw-2.fif"],
        "c.wav": ["c.wav"],
    }
