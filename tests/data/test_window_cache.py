"""The cache of windows: what it is keyed by, that it is whole or not there, and that it fits on the disk."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from failing import fails
from made_media import mat, sine, trials, wav

from eavdash.config.schema import AudioConfig, EegConfig, StudyConfig
from eavdash.data import readers
from eavdash.data.cache import folders as cache_module
from eavdash.data.cache.digests import FILE
from eavdash.data.cache.window_set_spec import window_set_spec
from eavdash.data.inputs import load_windows
from eavdash.data.readers import Reading
from eavdash.errors import DataError, RecordingError

CONFIG = StudyConfig(window=1.0, audio=AudioConfig(mels=16), eeg=EegConfig(low=2.0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sounds and an EAV file of two trials."""
    made = tmp_path / "data"
    made.mkdir()
    wav(made / "1.wav", sine(440, 2.6, 16000, 0.3))
    wav(made / "2.wav", sine(880, 1.0, 16000, 0.3))
    mat(made / "s.mat", np.random.default_rng(0).normal(0, 10, (1000, 30, 2)).astype("float32"))
    return made


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """Trials that were read."""
    names: list[str] = []
    for reader in readers.READERS.values():
        real = reader.read
        monkeypatch.setattr(
            reader, "read", lambda s, row, spans, real=real: names.append(row.trial) or real(s, row, spans)
        )
    return names


def _table(folder: Path, **columns: object) -> pd.DataFrame:
    rows: list[dict[str, object]] = [{"audio": str(folder / f"{n}.wav"), "eeg": f"{folder}/s.mat#{n}"} for n in (1, 2)]
    return trials(rows).assign(**columns)


def _key(table: pd.DataFrame, cache: Path, modality: str = "audio", config: StudyConfig = CONFIG) -> str:
    return str(load_windows(table, modality, config, cache).meta["key"])


@pytest.mark.parametrize("modality", ["audio", "eeg"])
def test_order_of_rows_names_and_labels_are_not_read_again(
    folder: Path, tmp_path: Path, reads: list[str], modality: str
) -> None:
    table, cache = _table(folder), tmp_path / "cache"
    first = load_windows(table, modality, CONFIG, cache)
    assert reads == ["1", "2"]
    again = load_windows(table.iloc[::-1], modality, CONFIG, cache)
    pd.testing.assert_frame_equal(first.index, again.index)
    named = table.assign(label=["x", "y"], group=["g1", "g2"], subject="7", trial=["3", "20"])
    other = load_windows(named, modality, CONFIG, cache)
    assert reads == ["1", "2"]
    assert other.meta["key"] == first.meta["key"] == again.meta["key"]
    assert np.array_equal(other.values, first.values)
    labels = dict(zip(other.index["trial"], other.index["label"], strict=True))
    assert labels == {"3": "x", "20": "y"}
    assert set(other.index["subject"]) == {"7"}
    columns = ["window", "start", "stop"]
    pd.testing.assert_frame_equal(other.index[columns], first.index[columns])


def test_names_that_put_the_trials_in_another_order_are_another_set(folder: Path, tmp_path: Path) -> None:
    swapped = _table(folder, trial=["9", "3"])
    first, second = (load_windows(t, "audio", CONFIG, tmp_path / "cache") for t in (_table(folder), swapped))
    assert list(second.index["trial"]) == ["3", "9", "9", "9"]
    assert np.array_equal(second.values[1:], first.values[:3])
    assert np.array_equal(second.values[:1], first.values[3:])


@pytest.mark.parametrize("modality", ["audio", "eeg"])
@pytest.mark.parametrize("change", ["copied", "moved", "touched", "linked"])
def test_a_dataset_that_only_moved_is_not_read_again(
    folder: Path, tmp_path: Path, reads: list[str], modality: str, change: str
) -> None:
    first = _key(_table(folder), tmp_path / "cache", modality)
    there = tmp_path / "elsewhere" / "deeper"
    there.parent.mkdir()
    if change == "copied":
        shutil.copytree(folder, there)
    elif change == "moved":
        shutil.move(folder, there)
    elif change == "linked":
        there.symlink_to(folder)
    else:
        there = folder
        for file in folder.iterdir():
            os.utime(file, (1, 1))
    assert _key(_table(there), tmp_path / "cache", modality) == first
    assert reads == ["1", "2"]


@pytest.mark.parametrize("modality", ["audio", "eeg"])
def test_a_file_modified_in_place_is_read_again(folder: Path, tmp_path: Path, modality: str) -> None:
    file = folder / ("1.wav" if modality == "audio" else "s.mat")
    first = load_windows(_table(folder), modality, CONFIG, tmp_path / "cache")
    size, before = file.stat().st_size, file.stat().st_mtime_ns
    content = bytearray(file.read_bytes())
    content[-4 * 2000 : -4 * 1000] = bytes(4000)
    file.write_bytes(content)
    os.utime(file, ns=(before, before))
    assert file.stat().st_size == size
    second = load_windows(_table(folder), modality, CONFIG, tmp_path / "cache")
    assert second.meta["key"] != first.meta["key"]
    assert not np.array_equal(second.values, first.values)


def test_key_follows_segments_items_and_settings(folder: Path, tmp_path: Path) -> None:
    table, cache = _table(folder), tmp_path / "cache"
    others = (
        replace(CONFIG, window=2.0),
        replace(CONFIG, audio=AudioConfig(mels=40)),
        replace(CONFIG, audio=AudioConfig(mels=16, rate=8000)),
    )
    keys = [_key(t, cache) for t in (table, table.iloc[:1], table.assign(stop=0.9), table.assign(start=0.1))]
    keys += [_key(table, cache, config=config) for config in others]
    keys += [_key(table, cache, "eeg"), _key(table.iloc[:1], cache, "eeg"), _key(table.iloc[1:], cache, "eeg")]
    assert len(set(keys)) == len(keys)
    encoders = replace(CONFIG, audio=AudioConfig(mels=16, width=128, frames=1024), stages=("audio",))
    assert _key(table, cache, config=encoders) == keys[0]


def test_the_suffix_counts_because_decoders_go_by_it(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "1.wav", folder / "1.raw")
    shutil.copy(folder / "1.wav", folder / "1.WAV")
    frames = [trials([{"audio": str(folder / f"1.{end}")}]) for end in ("wav", "WAV", "raw")]
    keys = [window_set_spec(frame, "audio", CONFIG, tmp_path).key for frame in frames]
    assert keys[0] == keys[1] != keys[2]


def test_facts_belong_to_the_trial_under_any_name(folder: Path, tmp_path: Path, monkeypatch) -> None:
    real = readers.READERS["audio"].read

    def read(self: readers.Reader, row: readers.TrialRow, spans: list[readers.Span]) -> Reading:
        found = real(self, row, spans)
        return replace(found, facts={"found": 3} if row.trial == "2" else {})

    monkeypatch.setattr(readers.READERS["audio"], "read", read)
    cache = tmp_path / "cache"
    assert load_windows(_table(folder), "audio", CONFIG, cache).meta["facts"] == [["1", "2", {"found": 3}]]
    renamed = load_windows(_table(folder, trial=["a", "b"]), "audio", CONFIG, cache)
    assert renamed.meta["facts"] == [["1", "b", {"found": 3}]]


def test_a_file_that_changes_while_it_is_read_is_not_kept(folder: Path, tmp_path: Path, monkeypatch) -> None:
    real = readers.READERS["audio"].read

    def read(self: readers.Reader, row: readers.TrialRow, spans: list[readers.Span]) -> Reading:
        found = real(self, row, spans)
        wav(folder / "2.wav", sine(300, 1.0, 16000, 0.3))
        return found

    monkeypatch.setattr(readers.READERS["audio"], "read", read)
    with fails(RecordingError, where=("Subject 1, trial 2: ", "2.wav"), found="other content"):
        load_windows(_table(folder), "audio", CONFIG, tmp_path / "cache")
    assert list((tmp_path / "cache" / "windows").iterdir()) == []


def test_a_lost_memory_of_digests_loses_no_windows(folder: Path, tmp_path: Path, reads: list[str]) -> None:
    cache = tmp_path / "cache"
    first = _key(_table(folder), cache)
    (cache / FILE).unlink()
    assert _key(_table(folder), cache) == first
    assert reads == ["1", "2"]


@pytest.mark.parametrize("name", ["values.npy", "mask.npy", "spans.npy", "meta.json"])
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_damaged_set_is_made_again(folder: Path, tmp_path: Path, reads: list[str], name: str, how: str) -> None:
    cache = tmp_path / "cache"
    first = load_windows(_table(folder), "audio", CONFIG, cache)
    expected, index = np.array(first.values), first.index
    file = cache / "windows" / first.meta["key"] / name
    del first
    if how == "cut":
        file.write_bytes(file.read_bytes()[:-30])
    else:
        file.unlink()
    again = load_windows(_table(folder), "audio", CONFIG, cache)
    assert np.array_equal(again.values, expected)
    pd.testing.assert_frame_equal(again.index, index)
    assert reads == ["1", "2"] * 2


def test_a_disk_that_is_too_small_is_refused_before_anything_is_read(
    folder: Path, tmp_path: Path, reads: list[str], monkeypatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: usage._replace(free=100 * 10**6))
    with fails(DataError, expected=(" kB", "free disk space"), found="100 MB"):
        load_windows(_table(folder), "audio", CONFIG, tmp_path / "cache")
    assert reads == []
    assert list((tmp_path / "cache" / "windows").iterdir()) == []


def test_the_size_is_known_before(folder: Path, tmp_path: Path) -> None:
    spec = window_set_spec(_table(folder), "audio", CONFIG, tmp_path / "cache")
    spec.prepare()
    made = load_windows(_table(folder), "audio", CONFIG, tmp_path / "cache")
    assert (spec.count, spec.longest) == (4, pytest.approx(2.6))
    headers = 3 * 128
    arrays = spec.folder.glob("*.npy")
    assert spec.bytes + headers == sum(file.stat().st_size for file in arrays)
    assert made.values.nbytes + made.mask.nbytes + 4 * 24 == spec.bytes


def test_a_full_disk_is_one_sentence(folder: Path, tmp_path: Path, monkeypatch) -> None:
    def full(self, rows: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("eavdash.data.cache.folders.ArrayWriter.append", full)
    with fails(DataError, found="No space left on device", remedy="disk space"):
        load_windows(_table(folder), "audio", CONFIG, tmp_path)
    assert list((tmp_path / "windows").iterdir()) == []


def test_lengths_are_remembered_by_content(folder: Path, tmp_path: Path, monkeypatch) -> None:
    cache = tmp_path / "cache"
    first = window_set_spec(_table(folder), "audio", CONFIG, cache).spans
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.setattr("eavdash.data.audio.reading.audio_duration", lambda path: pytest.fail("opened again"))
    assert window_set_spec(_table(tmp_path / "copy"), "audio", CONFIG, cache).spans == first


def test_encoders_of_sound_that_hear_something_else_have_windows_of_their_own(folder: Path, tmp_path: Path) -> None:
    voice = replace(CONFIG, audio=AudioConfig(encoder="voice", mels=16))
    windows = load_windows(_table(folder), "audio", voice, tmp_path / "cache")
    assert windows.values.shape[1:] == (101, 40)
    assert windows.meta.items() >= {"rate": 16000, "mels": 40, "front_end": "voice"}.items()
    assert windows.mask[0].all()
    assert windows.meta["key"] != _key(_table(folder), tmp_path / "cache")
    assert windows.meta["key"] == _key(
        _table(folder), tmp_path / "cache", config=replace(voice, audio=AudioConfig(encoder="voice"))
    )


def test_keys_of_log_mel_windows_are_those_of_earlier_versions(folder: Path, tmp_path: Path) -> None:
    spec = window_set_spec(_table(folder), "audio", CONFIG, tmp_path)
    assert spec.reader.settings == {"rate": 16000, "mels": 16, "channel": "mix"}
