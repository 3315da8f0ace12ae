"""Listing a cache with sizes and last use, and clearing it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from failing import fails
from made_media import sine, trials, wav

from eavdash.config.schema import AudioConfig, StudyConfig
from eavdash.data.cache.listing import clear, entries
from eavdash.data.inputs import load_windows
from eavdash.errors import UsageError

DAY = 86400.0
CONFIG = StudyConfig(window=1.0, audio=AudioConfig(mels=16))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A window set, features, a video copy and a kind that is not known."""
    cache = tmp_path / ".cache"
    rows = trials([{"subject": str(s), "audio": wav(tmp_path / f"{s}.wav", sine(440, 2, 16000))} for s in range(1, 9)])
    load_windows(rows, "audio", CONFIG, cache)
    for name, days, size in (("features/f1.npz", 3, 5000), ("videos/v1.mp4", 10, 9000), ("scans/s.sqlite", 20, 100)):
        file = cache / name
        file.parent.mkdir()
        file.write_bytes(b"x" * size)
        os.utime(file, (time.time() - days * DAY,) * 2)
    return cache


def _kinds(cache: Path) -> list[str]:
    return [entry.kind for entry in entries(cache)]


def test_everything_is_listed_the_longest_unused_first(cache: Path) -> None:
    assert _kinds(cache) == ["scans", "videos", "features", "digests", "windows"]
    by = {entry.kind: entry for entry in entries(cache)}
    assert by["windows"].description.startswith(
        "audio of subjects 1, 2, 3, 4, 5 and 3 more: 8 trials, 16 windows; window 1, "
    )
    assert by["windows"].description.endswith(f"from {cache.parent}")
    assert "mels 16" in by["windows"].description
    arrays = sum(file.stat().st_size for file in by["windows"].path.iterdir())
    assert arrays <= by["windows"].bytes < arrays + 8 * 4096
    assert by["videos"].used == pytest.approx(time.time() - 10 * DAY, abs=60)
    assert by["features"].key == "f1.npz"
    assert len({entry.key for entry in by.values()}) == len(by)


def test_a_cache_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert entries(tmp_path / "none") == []
    assert clear(tmp_path / "none", everything=True) == []


def test_reading_a_set_is_a_use(cache: Path, tmp_path: Path) -> None:
    folder = next((cache / "windows").iterdir())
    os.utime(folder, (0, 0))
    rows = trials([{"subject": str(s), "audio": str(tmp_path / f"{s}.wav")} for s in range(1, 9)])
    load_windows(rows, "audio", CONFIG, cache)
    assert next(e for e in entries(cache) if e.kind == "windows").used == pytest.approx(time.time(), abs=60)


@pytest.mark.parametrize(
    ("how", "left"),
    [
        ({"everything": True}, []),
        ({"older_than": 5.0}, ["features", "digests", "windows"]),
        ({"older_than": 100.0}, ["scans", "videos", "features", "digests", "windows"]),
        ({"keys": ["v1.mp4"]}, ["scans", "features", "digests", "windows"]),
        ({"keys": ["v1"], "older_than": 15.0}, ["features", "digests", "windows"]),
    ],
)
def test_what_is_chosen_goes(cache: Path, how: dict, left: list[str]) -> None:
    before = {entry.key: entry for entry in entries(cache)}
    promised = clear(cache, **how, dry_run=True)
    assert {entry.key: entry for entry in entries(cache)} == before
    gone = clear(cache, **how)
    assert gone == promised
    assert _kinds(cache) == left
    assert all(not entry.path.exists() for entry in gone)
    assert list(cache.rglob(".*")) == []


def test_a_set_goes_by_the_beginning_of_its_key(cache: Path) -> None:
    key = next(e.key for e in entries(cache) if e.kind == "windows")
    assert [e.key for e in clear(cache, [key[:6]])] == [key]


@pytest.mark.parametrize(
    ("keys", "found"), [(["nothing"], "no such entry"), ([""], "5 entries"), (["v1.mp4", "x"], "no such entry")]
)
def test_a_key_that_fits_nothing_or_too_much_deletes_nothing(cache: Path, keys: list[str], found: str) -> None:
    with fails(UsageError, found=found, remedy="eavdash cache list"):
        clear(cache, keys)
    assert len(entries(cache)) == 5


def test_nothing_chosen_is_wrong_use(cache: Path) -> None:
    with fails(UsageError, where="cache", expected="--all"):
        clear(cache)


def test_mapped_arrays_outlive_clearing_and_are_made_again_for_the_next_reader(cache: Path, tmp_path: Path) -> None:
    rows = trials([{"subject": str(s), "audio": str(tmp_path / f"{s}.wav")} for s in range(1, 9)])
    held = load_windows(rows, "audio", CONFIG, cache)
    expected = np.array(held.values)
    clear(cache, everything=True)
    assert np.array_equal(held.values, expected)
    assert np.array_equal(load_windows(rows, "audio", CONFIG, cache).values, expected)


def test_what_a_living_process_is_writing_is_left_alone_and_what_a_dead_one_left_is_listed(cache: Path) -> None:
    node = os.uname().nodename
    dead = next(n for n in range(4_000_000, 4_100_000) if not Path(f"/proc/{n}").exists())
    living = cache / "windows" / f".abc.{os.getpid()}-1@{node}"
    left = cache / "windows" / f".abc.{dead}-1@{node}"
    far = cache / "windows" / ".abc.1-1@another.machine"
    for folder in (living, left, far):
        folder.mkdir()
        (folder / "values.npy").write_bytes(b"x" * 10_000)
    assert [e.key for e in entries(cache) if e.kind == "unfinished"] == [left.name]
    clear(cache, everything=True)
    assert living.is_dir()
    assert far.is_dir()
    assert not left.exists()
    os.utime(far, (0, 0))
    assert [e.key for e in entries(cache)] == [far.name], "a week is long enough for any machine"


def test_a_damaged_set_is_listed_all_the_same(cache: Path) -> None:
    for file in (cache / "windows").glob("*/meta.json"):
        file.write_text("{")
    assert "damaged" in next(e.description for e in entries(cache) if e.kind == "windows")
