"""Reading sound, resampling it, and AST's spectrogram."""

from __future__ import annotations

import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from failing import fails
from made_media import sine, wav
from torchaudio.compliance import kaldi

from eavdash.config.schema import StudyConfig
from eavdash.data.audio import files as soundfiles
from eavdash.data.audio import reading as audio
from eavdash.data.readers.audio import AudioReader
from eavdash.data.readers.base import TrialRow
from eavdash.data.recording import split_item
from eavdash.data.windows import tile
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


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def _headless(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def _garbage(path: Path) -> None:
    path.write_bytes(b"\x01\x02" * 2000)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "found"),
    [(_truncate, "cut short"), (_headless, "cut short"), (_garbage, "Format not recognised"), (_empty, "0 bytes")],
)
def test_damaged_files(tmp_path: Path, damage, found: str) -> None:
    path = tmp_path / "a.wav"
    wav(path, sine(440, 1, 16000))
    damage(path)
    for read in (audio.read_audio, audio.audio_duration):
        with fails(RecordingError, where=str(path), found=found):
            read(str(path))


def test_no_samples_and_no_file(tmp_path: Path) -> None:
    with fails(RecordingError, where="a.wav", found="no samples"):
        audio.read_audio(wav(tmp_path / "a.wav", np.zeros(0)))
    with fails(RecordingError, where="b.wav", found="No such file"):
        audio.read_audio(str(tmp_path / "b.wav"))
    with fails(RecordingError, where=str(tmp_path), found="folder"):
        audio.read_audio(str(tmp_path))


@pytest.mark.parametrize(("start", "stop"), [(0, 1.2), (1, 2), (0.5, 0.5), (-1, 1)])
def test_segment_outside_the_file(tmp_path: Path, start: float, stop: float) -> None:
    path = wav(tmp_path / "a.wav", sine(440, 1, 16000))
    with fails(RecordingError, where=path, found="1 s"):
        audio.read_audio(path, start, stop)


def test_samples_that_are_not_finite(tmp_path: Path) -> None:
    wave = sine(440, 1, 16000)
    wave[8000] = np.nan
    with fails(RecordingError, where="a.wav", found=("1 ", "0.500 s")):
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


@pytest.mark.parametrize(("rate", "target"), [(48000, 16000), (44100, 16000), (8000, 16000), (16000, 48000)])
def test_a_long_recording_is_resampled_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int, target: int
) -> None:
    """Resampling in overlapping pieces leaves no trace of the pieces in the result."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (3 * rate + 17, 2)).astype(np.float32)
    path = wav(tmp_path / "a.wav", noise, rate)
    monkeypatch.setattr(audio, "BLOCK", 7001)
    monkeypatch.setattr(soundfiles, "BLOCK", 5000)
    expected = torchaudio.functional.resample(torch.from_numpy(noise.mean(axis=1)), rate, target).numpy()
    found = audio.read_audio(path, rate=target)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-6)
    part = audio.read_audio(path, 1, 2, target)
    np.testing.assert_allclose(part[500:-500], expected[target + 500 : 2 * target - 500], atol=2e-3)


def test_memory_is_that_of_the_waveform(tmp_path: Path) -> None:
    """Five minutes of 48 kHz stereo are 115 MB of samples; what is asked for is 19 MB."""
    path = tmp_path / "a.wav"
    with soundfile.SoundFile(path, "w", 48000, 2, "PCM_16") as file:
        for _ in range(300):
            file.write(np.zeros((48000, 2), np.float32))
    audio.read_audio(str(path), 0, 1)
    tracemalloc.start()  # which sees NumPy's memory; torch's is that of one block
    wave = audio.read_audio(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(wave) == 300 * 16000
    assert peak < 2.5 * wave.nbytes + 32 * 2**20
    reader = AudioReader(StudyConfig())
    assert peak < reader.bytes_of(300) < 300 * 48000 * 3 * 4


@pytest.mark.parametrize("rate", [3001, 44101, 999_983])
def test_rates_without_a_common_divisor(tmp_path: Path, rate: int) -> None:
    """The exact filter between them would be gigabytes; a ratio next to theirs is off by less than a millisecond."""
    wave = audio.read_audio(wav(tmp_path / "a.wav", sine(500, 1, rate, 0.5), rate))
    assert abs(len(wave) - 16000) <= 16
    np.testing.assert_allclose(wave[100:4000], sine(500, 1, 16000, 0.5)[100:4000], atol=0.02)


@pytest.mark.parametrize("rate", [1, 999, 3_000_000])
def test_rates_of_no_sound(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    wav(path, np.zeros(1000), subtype="PCM_16")
    data = path.read_bytes()
    path.write_bytes(data[:24] + rate.to_bytes(4, "little") + data[28:])
    for read in (audio.read_audio, audio.audio_duration):
        with fails(RecordingError, where=str(path), found=f"{rate} Hz"):
            read(str(path))


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    with fails(RecordingError, where="a.wav", found="pipe"):
        audio.audio_duration(str(tmp_path / "a.wav"))


def test_items_of_published_pickles(tmp_path: Path) -> None:
    waves = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 80000)).astype(np.float32)
    path = tmp_path / "subject_01_aud.PKL"
    path.write_bytes(pickle.dumps([waves[:2], np.array([0, 1]), waves[2:], np.array([4])]))
    assert audio.audio_duration(f"{path}#3") == 5
    for n in (1, 2, 3):
        assert np.array_equal(audio.read_audio(f"{path}#{n}"), waves[n - 1])
    assert np.array_equal(audio.read_audio(f"{path}#2", 1, 2.5), waves[1, 16000:40000])
    assert audio.read_audio(f"{path}#2", rate=8000).shape == (40000,)
    for entry, found in ((f"{path}#4", "window 4"), (f"{path}#0", "window 0"), (str(path), "no number")):
        with fails(RecordingError, where=entry, found=found):
            audio.audio_duration(entry)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.mat#41", ("a.mat", 41)),
        ("/x y/A.MAT#7", ("/x y/A.MAT", 7)),
        ("a.pkl#1", ("a.pkl", 1)),
        ("s01.Dat#40", ("s01.Dat", 40)),
        ("a.wav#1", ("a.wav#1", None)),
        ("a.mat", ("a.mat", None)),
        ("a.mat#x", ("a.mat#x", None)),
        ("a#2.mat#3", ("a#2.mat", 3)),
        ("a.mat#" + "9" * 5000, ("a.mat#" + "9" * 5000, None)),
    ],
)
def test_entries_name_a_file_and_an_item(path: str, found: tuple[str, int | None]) -> None:
    assert split_item(path) == found


def test_the_reader_gives_windows(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", sine(440, 7.5, 16000, 0.5))
    reader = AudioReader(StudyConfig())
    reading = reader.read(TrialRow("1", "1", "g", "a", path, None, None), tile(7.5, reader.window))
    assert reading.values.shape == (2, *reader.shape)
    assert reading.mask.sum(axis=1).tolist() == [498, 248]
    assert (reading.values[~reading.mask] == audio.SILENCE).all()
    assert reading.facts == {}


def test_real_speech(real_data: Path) -> None:
    files = sorted((real_data / "speech").rglob("*.wav"))[:5]
    for path in files:
        wave = audio.read_audio(str(path))
        assert abs(len(wave) / 16000 - audio.audio_duration(str(path))) < 1e-3
        assert 0.01 < np.abs(wave).max() <= 1
