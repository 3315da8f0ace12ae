"""What a page shows of a trial is bounded, and one broken modality does not hide the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_media import mat, movie, sine, trials, wav

from eavdash.config import StudyConfig
from eavdash.data import preview


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


def test_all_three(row: dict[str, object]) -> None:
    shown = preview.trial_preview(row, StudyConfig())
    assert shown.errors == {}
    assert shown.vision is not None
    assert shown.vision.path == row["video"]
    assert shown.vision.duration == pytest.approx(3, abs=0.1)
    sound = shown.audio
    assert sound is not None
    assert sound.low.shape == sound.high.shape == sound.times.shape == (1500,)
    assert sound.high.max() == pytest.approx(0.5, abs=1e-3)
    assert sound.logmel.shape == (298, 128)
    assert sound.logmel_times.shape == (298,)
    brain = shown.eeg
    assert brain is not None
    assert brain.rate == 250
    assert brain.microvolt.shape == (30, 750)
    assert brain.times[-1] < brain.duration == 3
    assert np.abs(brain.microvolt[:, 300:450]).max() == pytest.approx(20, rel=0.1), (
        "the offset is gone, the wave is not"
    )


def test_a_stretch_of_the_files(row: dict[str, object]) -> None:
    shown = preview.trial_preview({**row, "start": 1.0, "stop": 2.0}, StudyConfig())
    assert shown.errors == {}
    assert shown.vision is not None
    assert (shown.vision.start, shown.vision.duration) == (1, 1)
    assert shown.audio is not None
    assert shown.audio.duration == 1
    assert shown.eeg is not None
    assert shown.eeg.duration == 1


def test_long_recordings_are_bounded(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 100 * 16000))
    sound = preview.trial_preview(dict(trials([{"audio": path}]).iloc[0]), StudyConfig()).audio
    assert sound is not None
    assert sound.duration == preview.LIMIT
    assert len(sound.low) == preview.WAVE_BINS
    assert sound.logmel.shape == (preview.SPECTROGRAM_BINS, 128)


def test_missing_and_broken_modalities(row: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "b.mp4").write_bytes(b"nothing")
    shown = preview.trial_preview({**row, "video": str(tmp_path / "b.mp4"), "audio": ""}, StudyConfig())
    assert shown.vision is None
    assert shown.audio is None
    assert shown.eeg is not None
    assert list(shown.errors) == ["vision"]
    assert "b.mp4" in shown.errors["vision"]


def test_envelope_holds_every_extreme() -> None:
    wave = np.random.default_rng(0).normal(size=10_007).astype(np.float32)
    low, high = preview.envelope(wave, 100)
    assert len(low) == len(high) == 100
    assert low.min() == wave.min()
    assert high.max() == wave.max()
    assert len(preview.envelope(wave[:7], 100)[0]) == 7
