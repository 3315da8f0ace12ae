"""What a page shows of a trial is bounded, and one broken modality does not hide the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_media import clip, fif, mat, movie, sine, trials, wav
from PIL import Image

from eavdash.config.schema import EegConfig, StudyConfig
from eavdash.data import preview
from eavdash.data.eeg.electrodes import EAV_CHANNELS


@pytest.fixture
def row(tmp_path: Path) -> dict[str, object]:
    brain = np.tile(sine(10, 3, 500, 20)[:, None, None], (1, 30, 1)) + 100
    frame = trials(
        [
            {
                "video": movie(tmp_path / "a.mp4", [k / 10 for k in range(30)]),
                "audio": wav(tmp_path / "a.wav", sine(440, 3, 16000, 0.5)),
                "eeg": mat(tmp_path / "a.mat", brain.reshape(1500, 30, 1).repeat(2, axis=2)) + "#1",
            }
        ]
    )
    return dict(frame.iloc[0])


def one(**columns: object) -> dict[str, object]:
    return dict(trials([columns]).iloc[0])


def test_all_three(row: dict[str, object]) -> None:
    shown = preview.trial_preview(row, StudyConfig())
    assert shown.errors == shown.notes == {}
    assert (shown.begin, shown.parts) == (0, 1)
    assert shown.duration == shown.length == pytest.approx(3, abs=0.1)
    assert shown.vision is not None
    assert shown.vision.path == row["video"]
    assert shown.vision.duration == pytest.approx(3, abs=0.1)
    sound = shown.audio
    assert sound is not None
    assert sound.low.shape == sound.high.shape == (preview.WAVE_BINS,)
    assert sound.high.max() == pytest.approx(0.5, abs=1e-3)
    assert sound.logmel.shape == (298, 128)
    brain = shown.eeg
    assert brain is not None
    assert brain.rate == 250
    assert brain.microvolt.shape == (30, 750)
    assert brain.duration == 3
    assert np.abs(brain.microvolt[:, 300:450]).max() == pytest.approx(20, rel=0.1), (
        "the offset is gone, the wave is not"
    )
    assert brain.power.decibel[brain.power.bands.index("alpha"), :, 30] == pytest.approx(23, abs=1)
    assert brain.scalp is not None
    assert brain.note == ""


def test_a_segment_of_the_files(row: dict[str, object]) -> None:
    shown = preview.trial_preview({**row, "start": 1.0, "stop": 2.0}, StudyConfig())
    assert shown.errors == {}
    assert shown.vision is not None
    assert (shown.vision.start, shown.vision.duration) == (1, 1)
    assert shown.audio is not None
    assert (shown.audio.start, shown.audio.duration) == (1, 1)
    assert shown.eeg is not None
    assert shown.eeg.duration == 1
    assert shown.duration == 1


def test_channels_come_from_front_to_back_and_the_map_knows_which_it_has(tmp_path: Path) -> None:
    names = ["Oz", "Cz", "C3", "C4", "Fp1", "EXG"]
    signal = np.stack([np.full(1000, 1e-6) * sine(4 + n, 4, 250) for n in range(6)])
    path = fif(tmp_path / "a_raw.fif", signal, names)
    brain = preview.trial_preview(one(eeg=path), StudyConfig()).eeg
    assert brain is not None
    assert brain.channels == ("Fp1", "C3", "Cz", "C4", "Oz"), "beside scalp channels others are not read"
    again = preview.trial_preview(one(eeg=fif(tmp_path / "b_raw.fif", signal[:2], ["X1", "X2"])), StudyConfig()).eeg
    assert again is not None
    assert again.scalp is None
    assert "0 of 2 channels" in again.note


def test_the_published_chain_is_not_shown_across_trials(row: dict[str, object]) -> None:
    paper = StudyConfig(eeg=EegConfig(chain="published"))
    brain = preview.trial_preview(row, paper).eeg
    assert brain is not None
    assert brain.microvolt.shape == (30, 750)
    assert set(brain.channels) == set(EAV_CHANNELS)


def test_long_recordings_come_in_parts(tmp_path: Path) -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 100 * 16000)
    wave[70 * 16000] = 0.99
    row = one(audio=wav(tmp_path / "a.wav", wave), video=movie(tmp_path / "a.mp4", [k / 2 for k in range(20)]))
    first = preview.trial_preview(row, StudyConfig())
    assert (first.begin, first.duration, first.length, first.parts) == (0, preview.LIMIT, 100, 2)
    assert first.audio is not None
    assert first.audio.duration == preview.LIMIT
    assert len(first.audio.low) == preview.WAVE_BINS
    assert first.audio.logmel.shape == (preview.SPECTROGRAM_BINS, 128)
    second = preview.trial_preview(row, StudyConfig(), part=1)
    assert second.audio is not None
    assert (second.begin, second.duration, second.audio.start) == (60, 40, 60)
    assert second.audio.high.argmax() / preview.WAVE_BINS * 40 == pytest.approx(10, abs=0.02)
    assert second.vision is None
    assert "ends after" in second.notes["vision"]


def test_a_still_image_has_no_end_of_its_own(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    row = one(video=str(tmp_path / "a.png"), audio=wav(tmp_path / "a.wav", sine(440, 2, 16000, 0.5)))
    shown = preview.trial_preview(row, StudyConfig())
    assert shown.vision is not None
    assert shown.vision.info.still
    assert shown.vision.duration == float("inf")
    assert shown.duration == shown.length == 2
    assert preview.trial_preview({**row, "audio": ""}, StudyConfig()).duration == 0


def test_a_video_without_another_sound_is_heard(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", sine(300, 2, 48000, 0.5), pictures=[k / 10 for k in range(20)])
    shown = preview.trial_preview(one(video=path), StudyConfig())
    assert shown.audio is not None
    assert shown.audio.path == path
    assert "own sound track" in shown.notes["audio"]
    silent = preview.trial_preview(one(video=movie(tmp_path / "b.mp4", [0, 0.5, 1])), StudyConfig())
    assert silent.audio is None
    assert silent.errors == silent.notes == {}


def test_missing_and_broken_modalities(row: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "b.mp4").write_bytes(b"nothing")
    shown = preview.trial_preview({**row, "video": str(tmp_path / "b.mp4"), "audio": ""}, StudyConfig())
    assert shown.vision is None
    assert shown.audio is None
    assert shown.eeg is not None
    assert list(shown.errors) == ["vision"]
    assert "b.mp4" in shown.errors["vision"]


def test_spectrogram_bins_are_of_equal_duration(tmp_path: Path) -> None:
    wave = np.zeros(20 * 16000)
    wave[15 * 16000 : 15 * 16000 + 1600] = sine(1000, 0.1, 16000, 0.5)
    sound = preview.trial_preview(one(audio=wav(tmp_path / "a.wav", wave)), StudyConfig()).audio
    assert sound is not None
    loud = np.flatnonzero(sound.logmel.max(axis=1) > sound.logmel.max() - 3)
    assert (loud.mean() + 0.5) / len(sound.logmel) * 20 == pytest.approx(15.05, abs=0.03)


def test_envelope_holds_every_extreme() -> None:
    wave = np.random.default_rng(0).normal(size=10_007).astype(np.float32)
    low, high = preview.envelope(wave, 100)
    assert len(low) == len(high) == 100
    assert low.min() == wave.min()
    assert high.max() == wave.max()
    assert len(preview.envelope(wave[:7], 100)[0]) == 7
