"""Folders of arrays: complete or absent, made once, repaired when damaged."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from failing import fails

from eavdash.data.cache.folders import ArrayWriter, cached, key_of, open_array
from eavdash.errors import DataError, IntegrityError


def _write(folder: Path, value: int = 1, rows: int = 4) -> None:
    with ArrayWriter(folder / "a.npy", (rows, 3), np.int64) as array:
        for _ in range(rows):
            array.append(np.full((1, 3), value))


def _read(folder: Path) -> np.ndarray:
    return open_array(folder / "a.npy")


def test_key_depends_on_all_of_the_description() -> None:
    assert key_of({"a": 1, "b": [2]}) == key_of({"b": [2], "a": 1})
    assert len({key_of({"a": x}) for x in (1, 1.5, "1", None, [1])}) == 5


def test_made_once_and_mapped_read_only(tmp_path: Path) -> None:
    made = []
    for _ in range(2):
        array = cached(tmp_path, "x", "k", lambda f: made.append(f) or _write(f), _read)
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable
        assert (np.asarray(array) == 1).all()
    assert len(made) == 1
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["k"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), PermissionError(13, "Permission")])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, error: OSError) -> None:
    def full(folder: Path) -> None:
        _write(folder)
        raise error

    with fails(DataError, where=str(tmp_path / "x" / "k"), found=str(error.strerror), remedy="disk space"):
        cached(tmp_path, "x", "k", full, _read)
    assert list((tmp_path / "x").iterdir()) == []
    assert (cached(tmp_path, "x", "k", _write, _read) == 1).all()


def test_other_errors_leave_nothing_behind_either(tmp_path: Path) -> None:
    def broken(folder: Path) -> None:
        _write(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, "x", "k", broken, _read)
    assert list((tmp_path / "x").iterdir()) == []


def test_a_damaged_folder_is_made_again(tmp_path: Path) -> None:
    cached(tmp_path, "x", "k", _write, _read)
    file = tmp_path / "x" / "k" / "a.npy"
    file.write_bytes(file.read_bytes()[:-8])
    assert (cached(tmp_path, "x", "k", lambda f: _write(f, 2), _read) == 2).all()
    file.unlink()
    assert (cached(tmp_path, "x", "k", lambda f: _write(f, 3), _read) == 3).all()


def test_a_folder_that_cannot_be_repaired_is_an_error(tmp_path: Path) -> None:
    with fails(IntegrityError, where="a.npy", found="a.npy"):
        cached(tmp_path, "x", "k", lambda f: None, _read)


def test_two_that_make_the_same_folder_at_once(tmp_path: Path) -> None:
    together = threading.Barrier(2)
    found = []

    def make() -> None:
        def write(folder: Path) -> None:
            together.wait(10)  # both have seen that it is not there
            _write(folder)

        found.append(np.array(cached(tmp_path, "x", "k", write, _read)))

    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert np.array_equal(*found)
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["k"]


def test_folders_of_killed_processes_are_swept(tmp_path: Path) -> None:
    old, new = tmp_path / "x" / ".k.host-1-1", tmp_path / "x" / ".k.host-2-2"
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    cached(tmp_path, "x", "k", _write, _read)
    assert not old.exists()
    assert new.exists()


def test_a_writer_knows_its_shape(tmp_path: Path) -> None:
    with ArrayWriter(tmp_path / "a.npy", (1, 3), np.int64) as array:
        with pytest.raises(ValueError, match="rows of shape"):
            array.append(np.zeros((1, 4)))
        array.append(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="0 rows written of 2"), ArrayWriter(tmp_path / "b.npy", (2, 3), np.int64):
        pass
