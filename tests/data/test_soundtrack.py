"""The sound track of a video: in sync with its frames in every container, and errors that name what is missing."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from failing import fails
from made_media import clip, grey, movie, sine

from eavdash.data.audio import reading as audio
from eavdash.data.audio import track as soundtrack
from eavdash.data.video import reading as video
from eavdash.errors import RecordingError

PICTURES = [k / 25 for k in range(60)]
CONTAINERS = [".mp4", ".mkv", ".mov", ".avi", ".webm", ".mpg", ".ts", ".flv"]


def beep(at: float, duration: float = 3.0, rate: int = 48000) -> np.ndarray:
    """Silence with a tenth of a second of 1 kHz at ``at``."""
    wave = np.zeros(round(duration * rate))
    first = round(at * rate)
    wave[first : first + rate // 10] = sine(1000, 0.1, rate, 0.5)
    return wave


def onset(wave: np.ndarray, rate: int = 16000) -> float:
    return float(np.flatnonzero(np.abs(wave) > 0.1)[0] / rate)


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_every_container(tmp_path: Path, suffix: str) -> None:
    path = clip(tmp_path / f"a{suffix}", beep(1.0), pictures=PICTURES)
    wave = audio.read_audio(path)
    assert wave.dtype == np.float32
    assert onset(wave) == pytest.approx(1.0, abs=0.002)
    assert len(wave) / 16000 == pytest.approx(audio.audio_duration(path), abs=1e-3)
    assert audio.audio_duration(path) == pytest.approx(3.0, abs=0.03)
    part = audio.read_audio(path, 0.9, 1.2)
    assert part.shape == (4800,)
    np.testing.assert_allclose(part[50:-50], wave[14400:19200][50:-50], atol=2e-3)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm", ".ts"])
@pytest.mark.parametrize(("pictures_begin", "sound_begins"), [(0.0, 0.0), (0.6, 0.0), (0.0, 0.4), (1.0, 1.2)])
def test_sound_and_frames_stay_in_step(tmp_path: Path, suffix: str, pictures_begin: float, sound_begins: float) -> None:
    """The beep is heard while the frame shows that was shown when it was recorded, whichever began first."""
    path = clip(tmp_path / f"a{suffix}", beep(1.0), pictures=[t + pictures_begin for t in PICTURES], begin=sound_begins)
    expected = 1.0 + sound_begins - pictures_begin
    assert onset(audio.read_audio(path)) == pytest.approx(expected, abs=0.003)
    seen = video.read_frames(path, [expected + 0.001], 16)
    assert round(float(seen.mean())) == pytest.approx(grey(round(expected * 25) % 24), abs=3)


def test_a_track_that_begins_late_is_preceded_by_silence(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv", np.full(48000, 0.25), pictures=PICTURES, begin=0.5)
    wave = audio.read_audio(path, rate=48000)
    assert wave.shape == (pytest.approx(72000, abs=48),)  # Matroska rounds times to milliseconds
    assert not wave[:24000].any()
    np.testing.assert_allclose(wave[24000:], 0.25, atol=1e-4)


def test_a_gap_is_silence_and_what_follows_keeps_its_time(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv", np.full(48000 * 3, 0.25), pictures=PICTURES, gap=(1.0, 1.5))
    wave = audio.read_audio(path, rate=48000)
    assert wave.shape == (144000,)
    silent = np.flatnonzero(wave == 0) / 48000
    assert (silent[0], silent[-1]) == (pytest.approx(1.0, abs=0.03), pytest.approx(1.5, abs=0.03))
    assert len(silent) == pytest.approx(24000, abs=1100)


def test_channels_are_averaged_and_rates_are_changed(tmp_path: Path) -> None:
    stereo = np.stack([np.full(44100, 0.5), np.full(44100, -0.25)], axis=1)
    wave = audio.read_audio(clip(tmp_path / "a.mkv", stereo, 44100))
    assert wave.shape == (pytest.approx(16000, abs=16),)
    np.testing.assert_allclose(wave[200:-200], 0.125, atol=1e-3)


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".m4a", "aac"), (".mka", "flac"), (".aac", "aac"), (".mka", "pcm_u8"), (".mka", "pcm_s32le")]
)
def test_sound_alone_in_containers_that_only_ffmpeg_reads(tmp_path: Path, suffix: str, codec: str) -> None:
    wave = audio.read_audio(clip(tmp_path / f"a{suffix}", sine(440, 1, 48000, 0.5), codec=codec))
    assert np.sqrt(np.mean(wave[4000:12000] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    spectrum = np.abs(np.fft.rfft(wave[4000:12000]))
    assert np.argmax(spectrum) * 2 == 440


def test_late_segments_of_a_long_clip_are_found_by_seeking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip(tmp_path / "a.mp4", np.random.default_rng(0).uniform(-0.5, 0.5, 48000 * 12), pictures=PICTURES)
    sought = audio.read_audio(path, 8, 11, 48000)
    monkeypatch.setattr(soundtrack, "SEEK_FROM", float("inf"))
    assert np.array_equal(audio.read_audio(path, 8, 11, 48000), sought)
    assert len(sought) == 144000


def test_a_video_without_sound(tmp_path: Path) -> None:
    path = movie(tmp_path / "a.mp4", PICTURES)
    for read in (audio.read_audio, audio.audio_duration):
        with fails(RecordingError, where="a.mp4", expected="sound track", found="none"):
            read(path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_track_that_was_cut_short(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 48000 * 6)
    path = Path(clip(tmp_path / f"a{suffix}", noise, options={"movflags": "faststart"} if suffix == ".mp4" else None))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for read in (audio.read_audio, audio.audio_duration):
        with fails(RecordingError, expected=("6.", "header"), found=" s"):
            read(str(path))


@pytest.mark.parametrize("content", [b"nothing at all", bytes(5000), b"\0\0\0\x20ftypisom" + bytes(5000)])
def test_not_a_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with fails(RecordingError, where="a.mp4", expected="sound track"):
        audio.read_audio(str(path))


def test_a_container_under_a_sound_files_name(tmp_path: Path) -> None:
    path = Path(clip(tmp_path / "a.mp4", beep(1.0), pictures=PICTURES)).rename(tmp_path / "a.wav")
    assert onset(audio.read_audio(str(path))) == pytest.approx(1.0, abs=0.002)


def test_a_cover_picture_is_not_a_video(tmp_path: Path) -> None:
    """Its time says nothing about the sound's."""
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        voice = out.add_stream("aac", rate=48000, layout="mono")
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        out.mux(cover.encode(av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8), format="rgb24")))
        wave = beep(1.0)
        for at in range(0, len(wave), 1024):
            frame = av.AudioFrame.from_ndarray(wave[None, at : at + 1024].astype(np.float32), "fltp", "mono")
            frame.rate, frame.pts = 48000, at
            out.mux(voice.encode(frame))
        out.mux(voice.encode(None))
    assert onset(audio.read_audio(str(path))) == pytest.approx(1.0, abs=0.002)


def test_real_mpeg(real_data: Path) -> None:
    for path in sorted((real_data / "video").glob("*.mpg"))[:4]:
        wave = audio.read_audio(str(path))
        assert len(wave) / 16000 == pytest.approx(video.video_info(str(path)).duration, abs=0.1)
        assert 0.01 < np.abs(wave).max() < 1.05
