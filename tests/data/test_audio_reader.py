"""Reading sound, resampling it, and AST's spectrogram."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_media import sine, wav
from torchaudio.compliance import kaldi

from eavdash.data import audio
from eavdash.errors import RecordingError


def test_float_wav_is_read_as_it_is(tmp_path: Path) -> None:
    wave = sine(440, 2, 16000, 0.5).astype(np.float32)
    path = wav(tmp_path / "a.wav", wave)
    assert np.array_equal(audio.read_audio(path), wave)
    assert np.array_equal(audio.read_audio(path, 0.5, 1.25), wave[8000:20000])
    assert audio.audio_duration(path) == 2


@pytest.mark.parametrize(
    ("subtype", "step"), [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("DOUBLE", 0)]
)
def test_sample_formats(tmp_path: Path, subtype: str, step: float) -> None:
    wave = sine(440, 0.5, 16000, 0.5)
    found = audio.read_audio(wav(tmp_path / "a.wav", wave, subtype=subtype))
    np.testing.assert_allclose(found, wave, atol=step + 1e-6)


def test_stereo_is_averaged(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", np.stack([np.full(800, 0.5), np.full(800, -0.25)], axis=1))
    np.testing.assert_allclose(audio.read_audio(path), 0.125)


def test_resampling_keeps_pitch_and_duration(tmp_path: Path) -> None:
    wave = audio.read_audio(wav(tmp_path / "a.wav", sine(1000, 2, 44100, 0.5), 44100), rate=16000)
    assert wave.shape == (32000,)
    assert wave.dtype == np.float32
    np.testing.assert_allclose(wave[1000:-1000], sine(1000, 2, 16000, 0.5)[1000:-1000], atol=5e-3)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def _headless(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def _garbage(path: Path) -> None:
    path.write_bytes(b"\x01\x02" * 2000)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "found"),
    [(_cut, "cut short"), (_headless, "cut short"), (_garbage, "Format not recognised"), (_empty, "0 bytes")],
)
def test_damaged_files(tmp_path: Path, damage, found: str) -> None:
    path = tmp_path / "a.wav"
    wav(path, sine(440, 1, 16000))
    damage(path)
    for read in (audio.read_audio, audio.audio_duration):
        with pytest.raises(RecordingError, match=found) as error:
            read(str(path))
        assert str(path) in str(error.value)


def test_no_samples_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="without a sample"):
        audio.read_audio(wav(tmp_path / "a.wav", np.zeros(0)))
    with pytest.raises(RecordingError, match="No such file"):
        audio.read_audio(str(tmp_path / "b.wav"))
    with pytest.raises(RecordingError, match="a folder"):
        audio.read_audio(str(tmp_path))


@pytest.mark.parametrize(("start", "stop"), [(0, 1.2), (1, 2), (0.5, 0.5), (-1, 1)])
def test_stretch_outside_the_file(tmp_path: Path, start: float, stop: float) -> None:
    path = wav(tmp_path / "a.wav", sine(440, 1, 16000))
    with pytest.raises(RecordingError, match="found a recording of 1 s"):
        audio.read_audio(path, start, stop)


def test_samples_that_are_not_finite(tmp_path: Path) -> None:
    wave = sine(440, 1, 16000)
    wave[8000] = np.nan
    with pytest.raises(RecordingError, match=r"found 1 that are not, the first at 0.500 s"):
        audio.read_audio(wav(tmp_path / "a.wav", wave))


@pytest.mark.parametrize("mean_subtraction", [False, True])
def test_logmel_is_asts_filter_bank(mean_subtraction: bool) -> None:
    wave = (sine(440, 5, 16000, 0.3) + 0.1).astype(np.float32)
    tensor = torch.tensor(wave)[None]
    expected = kaldi.fbank(
        tensor - tensor.mean() if mean_subtraction else tensor,
        htk_compat=True,
        sample_frequency=16000,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=128,
        dither=0.0,
        frame_shift=10,
    )
    found = audio.logmel(wave, 16000, mean_subtraction=mean_subtraction)
    assert found.shape == (498, 128)
    assert np.array_equal(found, expected.numpy())


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 48000])
@pytest.mark.parametrize("duration", [0.01, 0.025, 0.5, 1.003])
def test_number_of_frames_is_known_beforehand(rate: int, duration: float) -> None:
    frames = audio.logmel(np.zeros(round(duration * rate), np.float32), rate, mels=40)
    assert frames.shape == (audio.frames_of(duration, rate), 40)


def test_silence_is_the_floor() -> None:
    np.testing.assert_allclose(audio.logmel(np.zeros(16000, np.float32), 16000), audio.SILENCE, rtol=1e-6)


def test_real_speech(real_data: Path) -> None:
    files = sorted((real_data / "speech").rglob("*.wav"))[:5]
    for path in files:
        wave = audio.read_audio(str(path))
        assert abs(len(wave) / 16000 - audio.audio_duration(str(path))) < 1e-3
        assert 0.01 < np.abs(wave).max() <= 1
