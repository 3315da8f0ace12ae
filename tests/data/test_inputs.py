"""From trials to windows: alignment, padding, caching, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from failing import fails
from made_media import fif, mat, movie, sine, steps, trials, wav
from PIL import Image

from eavdash.config.schema import AudioConfig, EegConfig, StudyConfig, VisionConfig
from eavdash.data import readers
from eavdash.data.audio import reading as audio
from eavdash.data.cache.window_set_spec import trial_duration
from eavdash.data.eeg import mat as eeg_mat
from eavdash.data.inputs import load_windows
from eavdash.data.windows import INDEX_COLUMNS
from eavdash.errors import DataError, RecordingError

CONFIG = StudyConfig(
    window=1.0,
    vision=VisionConfig(frames_per_second=2, size=16, crop="centre"),
    audio=AudioConfig(mels=32),
    eeg=EegConfig(low=2.0),
)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> pd.DataFrame:
    """Two trials of 3 s and 1.6 s; each second differs in sound, picture and EEG."""
    folder = tmp_path_factory.mktemp("recordings")
    rows: list[dict[str, object]] = []
    for trial, duration in ((2, 3.0), (10, 1.6)):
        pitches, waves = (500, 1500, 3000), (8, 16, 32)
        sound = np.concatenate([sine(f, 1, 16000, 0.3) for f in pitches])[: round(duration * 16000)]
        brain = np.concatenate([sine(f, 1, 250, 1e-5) for f in waves])[: round(duration * 250)]
        rows.append(
            {
                "trial": str(trial),
                "label": f"label{trial}",
                "group": f"group{trial}",
                "video": movie(folder / f"{trial}.mp4", [k / 8 for k in range(round(duration * 8))]),
                "audio": wav(folder / f"{trial}.wav", sound),
                "eeg": fif(folder / f"{trial}_raw.fif", np.stack([brain, -brain]), ["Cz", "Fz"]),
            }
        )
    return trials(rows)


def _times(windows) -> list[tuple[str, int, float, float]]:
    columns = windows.index[["trial", "window", "start", "stop"]].itertuples(index=False)
    return [(t, w, a, pytest.approx(b, abs=0.07)) for t, w, a, b in columns]


def test_windows_are_the_same_segments_in_all_modalities(table: pd.DataFrame, tmp_path: Path) -> None:
    vision, sound, brain = (load_windows(table, m, CONFIG, tmp_path) for m in ("vision", "audio", "eeg"))
    expected = [("2", 0, 0.0, 1.0), ("2", 1, 1.0, 2.0), ("2", 2, 2.0, 3.0), ("10", 0, 0.0, 1.0), ("10", 1, 1.0, 1.6)]
    for windows in (vision, sound, brain):
        assert tuple(windows.index.columns) == INDEX_COLUMNS
        assert _times(windows) == expected
        assert len(windows) == len(windows.values) == len(windows.mask) == 5
        assert list(windows.index["label"]) == ["label2"] * 3 + ["label10"] * 2
    # Frames at 0.25 and 0.75 s of each window, eight to the second.
    assert steps(vision.values[vision.mask]) == [2, 6, 10, 14, 18, 22, 2, 6, 10]
    # The loudest mel band rises from second to second.
    bands = [int(v[m].mean(axis=0).argmax()) for v, m in zip(sound.values, sound.mask, strict=True)]
    assert bands[0] == bands[3] < bands[1] == bands[4] < bands[2]
    # So does the number of swings of the EEG.
    spectra = np.abs(np.fft.rfft(brain.values[:, 0], axis=-1))
    assert [int(s.argmax()) for s in spectra[:4]] == [8, 16, 32, 8]


def test_shapes_masks_and_padding(table: pd.DataFrame, tmp_path: Path) -> None:
    vision, sound, brain = (load_windows(table, m, CONFIG, tmp_path) for m in ("vision", "audio", "eeg"))
    assert (vision.values.shape, vision.values.dtype) == ((5, 2, 16, 16, 3), np.uint8)
    assert (sound.values.shape, sound.values.dtype) == ((5, 98, 32), np.float32)
    assert (brain.values.shape, brain.values.dtype) == ((5, 2, 100), np.float32)
    for windows, last in ((vision, 1), (sound, 58), (brain, 60)):
        assert windows.mask.dtype == bool
        assert windows.mask[:4].all()
        assert list(windows.mask[4]) == [True] * last + [False] * (windows.mask.shape[1] - last)
    assert (vision.values[4, 1] == 0).all()
    assert (sound.values[4, 58:] == np.float32(audio.SILENCE)).all()
    assert (brain.values[4, :, 60:] == 0).all()
    assert brain.meta["channels"] == ["Cz", "Fz"]
    assert brain.meta["rate"] == 100
    assert vision.meta.items() >= {"frames_per_second": 2, "size": 16}.items()
    assert sound.meta.items() >= {"rate": 16000, "mels": 32}.items()


def test_five_seconds_have_the_frames_of_ast(tmp_path: Path) -> None:
    frame = trials([{"audio": wav(tmp_path / "a.wav", sine(440, 12, 16000, 0.2))}])
    windows = load_windows(frame, "audio", StudyConfig(), tmp_path)
    assert windows.values.shape == (2, 498, 128)


@pytest.mark.parametrize("name", ["vision", "audio", "eeg"])
def test_what_is_in_the_cache_is_not_read_again(table: pd.DataFrame, tmp_path: Path, monkeypatch, name: str) -> None:
    reports: list[tuple[int, int]] = []
    first = load_windows(table, name, CONFIG, tmp_path, lambda *done: reports.append(done))
    assert reports == [(1, 2), (2, 2)]
    monkeypatch.setattr(readers.READERS[name], "read", lambda *a: pytest.fail("read again"))
    other_encoder = replace(CONFIG, vision=replace(CONFIG.vision, width=128), audio=replace(CONFIG.audio, frames=1024))
    again = load_windows(table, name, other_encoder, tmp_path)
    assert isinstance(again.values, np.memmap)
    assert again.meta == first.meta
    assert np.array_equal(again.values, first.values)


def test_start_and_stop_cut_the_trial_out(table: pd.DataFrame, tmp_path: Path) -> None:
    part = table.iloc[:1].assign(start=1.0, stop=2.0)
    vision, sound = (load_windows(part, m, CONFIG, tmp_path) for m in ("vision", "audio"))
    assert steps(vision.values[0]) == [10, 14]
    whole = load_windows(table.iloc[:1], "audio", CONFIG, tmp_path)
    np.testing.assert_allclose(sound.values[0], whole.values[1], atol=1e-4)
    assert trial_duration(str(part["audio"].iloc[0]), "audio", 1.0, np.nan) == 2.0


def test_trials_without_the_modality_are_absent(table: pd.DataFrame, tmp_path: Path) -> None:
    mixed = pd.concat([table, trials([{"trial": "3", "audio": ""}])])
    assert set(load_windows(mixed, "audio", CONFIG, tmp_path).index["trial"]) == {"2", "10"}
    with fails(DataError, where="column eeg", found="trials"):
        load_windows(mixed[mixed["trial"] == "3"], "eeg", CONFIG, tmp_path)


@pytest.mark.parametrize(("name", "column"), [("vision", "video"), ("audio", "audio"), ("eeg", "eeg")])
def test_an_unreadable_trial_is_named(table: pd.DataFrame, tmp_path: Path, name: str, column: str) -> None:
    broken = tmp_path / f"broken{Path(table[column].iloc[0]).suffix}"
    broken.write_bytes(b"no recording" * 100)
    bad = trials([{"subject": "7", "trial": "12", column: str(broken)}])
    with fails(RecordingError, where=("Subject 7, trial 12: ", "broken")):
        load_windows(pd.concat([table, bad]), name, CONFIG, tmp_path / "cache")
    windows = tmp_path / "cache" / "windows"
    assert not windows.exists() or list(windows.iterdir()) == []


def test_a_trial_too_short_for_a_frame_of_sound(tmp_path: Path) -> None:
    frame = trials([{"audio": wav(tmp_path / "a.wav", np.ones(160))}])
    with fails(RecordingError, expected="audio", remedy="start and stop"):
        load_windows(frame, "audio", CONFIG, tmp_path)


def test_every_window_has_a_frame(tmp_path: Path) -> None:
    frame = trials([{"video": movie(tmp_path / "a.mp4", [0, 0.1, 0.2])}])
    slow = replace(CONFIG, window=5.0, vision=VisionConfig(frames_per_second=0.2, size=16, crop="centre"))
    windows = load_windows(frame, "vision", slow, tmp_path)
    assert windows.mask.tolist() == [[True]]
    assert steps(windows.values[0]) == [1]


def test_a_still_image_is_one_window(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 20, 3), 90, np.uint8)).save(tmp_path / "a.png")
    windows = load_windows(trials([{"video": str(tmp_path / "a.png")}]), "vision", CONFIG, tmp_path)
    assert windows.values.shape == (1, 2, 16, 16, 3)
    assert windows.mask.all()


def test_recordings_of_different_kinds_share_channels_and_rate(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    array = mat(tmp_path / "a.mat", rng.normal(0, 10, (1000, 30, 2)))
    other = fif(tmp_path / "b_raw.fif", rng.normal(0, 1e-5, (3, 640)), ["O1", "T3", "left"], 320.0)
    frame = trials([{"eeg": f"{array}#1"}, {"eeg": f"{array}#2"}, {"eeg": other}])
    windows = load_windows(frame, "eeg", CONFIG, tmp_path)
    assert windows.meta["channels"] == ["T7", "O1"]
    assert windows.values.shape == (6, 2, 100)
    assert windows.mask.all()
    assert eeg_mat.mat_array.cache_info().currsize == 0, "half a gigabyte of EAV is not kept"
    named = replace(CONFIG, eeg=replace(CONFIG.eeg, channels=("EEG O1",)))
    assert load_windows(frame, "eeg", named, tmp_path).meta["channels"] == ["O1"]
    missing = replace(CONFIG, eeg=replace(CONFIG.eeg, channels=("O1", "Fz")))
    with fails(RecordingError, where="b_raw.fif", found="no Fz"):
        load_windows(frame, "eeg", missing, tmp_path)


def test_windows_of_a_mat_trial_do_not_depend_on_its_neighbours(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(0, 10, (1000, 30, 3))
    frames = []
    for name in ("a", "b"):
        path = mat(tmp_path / f"{name}.mat", array)
        frames.append(load_windows(trials([{"eeg": f"{path}#2"}]), "eeg", CONFIG, tmp_path).values)
        array[:, :, [0, 2]] = 1e7
    assert np.array_equal(*frames)


def test_real_recordings(real_data: Path, tmp_path: Path) -> None:
    files = sorted((real_data / "video").glob("*.mpg"))[:2]
    windows = load_windows(trials([{"video": str(f)} for f in files]), "vision", StudyConfig(), tmp_path)
    assert windows.mask.tolist() == [[True, True, True, False, False]] * 2
    frame = trials([{"eeg": str(real_data / "eeg" / "Subject00_1.edf"), "start": 60.0, "stop": 80.0}])
    brain = load_windows(frame, "eeg", StudyConfig(), tmp_path)
    assert brain.values.shape == (4, 19, 500)
    assert brain.mask.all()
