"""Sounds whose header states no length, or a wrong one: their length is that of their packets."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from failing import fails
from PIL import Image
from streams import RATE, encoded, id3, replaced, speech, wav_of, without_end_mark

from eavdash.data.audio import files
from eavdash.data.audio.reading import audio_duration, read_audio
from eavdash.errors import RecordingError
from eavdash.health.measures.base import MeasureRequest, Part
from eavdash.health.measures.measure import measure_file

WAVE = speech()
MP3 = {"codec": "libmp3lame", "write_xing": "0", "id3v2_version": "0"}


def mp3(path: Path, **options: Any) -> Path:
    return encoded(path, WAVE, **{**MP3, **options})


def png(path: Path) -> bytes:
    image = path.with_suffix(".png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)).save(image)
    return image.read_bytes()


def with_a_cover(path: Path) -> Path:
    plain = mp3(path, b="64k").read_bytes()
    path.write_bytes(id3(png(path)) + plain)
    return path


def tagged(path: Path) -> Path:
    """With an ID3 tag of the first version, behind the sound."""
    path.write_bytes(mp3(path, b="8k").read_bytes() + b"TAG" + bytes(125))
    return path


def as_wav(**options: Any) -> Callable[[Path], Path]:
    return lambda path: wav_of(path, mp3(path.with_suffix(".mp3"), **options))


def wav(size: int) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        soundfile.write(path, WAVE, RATE, subtype="PCM_16")
        return replaced(path, b"data", 0, struct.pack("<I", size))

    return write


def written(**options: str) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        soundfile.write(path, WAVE, RATE, **options)
        return path

    return write


def flac_of_unknown_length(path: Path) -> Path:
    data = bytearray(written()(path).read_bytes())
    data[21] &= 0xF0  # STREAMINFO's total samples: 36 bits
    data[22:26] = bytes(4)
    path.write_bytes(data)
    return path


def caf_of_unknown_length(path: Path) -> Path:
    return replaced(written(subtype="PCM_16")(path), b"data", 0, b"\xff" * 8)


def unmarked(**options: str) -> Callable[[Path], Path]:
    return lambda path: without_end_mark(encoded(path, WAVE, **options))


WHOLE = {
    "variable.mp3": lambda p: mp3(p, quality=4),
    "average.mp3": lambda p: mp3(p, b="48k", abr="1"),
    "constant.mp3": tagged,
    "cover.mp3": with_a_cover,
    "stated.mp3": lambda p: mp3(p, quality=4, write_xing="1"),
    "constant-mp3.wav": as_wav(b="64k"),
    "variable-mp3.wav": as_wav(quality=4),
    "variable.aac": lambda p: encoded(p, WAVE, "aac", quality=1),
    "zero.wav": wav(0),
    "full.wav": wav(0xFFFFFFFF),
    "less-its-header.wav": wav(0xFFFFFFFF - 44),
    "half.wav": wav(0x7FFFF000),
    "signed.wav": wav(0x7FFFFFFF - 36),
    "gsm.wav": written(subtype="GSM610"),
    "gsm.w64": written(subtype="GSM610"),
    "g721.au": written(subtype="G721_32"),
    "unknown.flac": flac_of_unknown_length,
    "unknown.caf": caf_of_unknown_length,
    "unmarked-opus.ogg": unmarked(codec="libopus", rate=RATE),
    "unmarked-vorbis.ogg": lambda p: without_end_mark(written(format="OGG", subtype="VORBIS")(p)),
}


def level(wave: np.ndarray) -> tuple[float, float]:
    """Root mean square of the loud and of the faint half."""
    loud, faint = wave[RATE : 3 * RATE], wave[5 * RATE : 7 * RATE]
    return float(np.sqrt(np.mean(loud**2))), float(np.sqrt(np.mean(faint**2)))


@pytest.mark.parametrize("name", WHOLE)
def test_a_sound_is_read_to_its_end(tmp_path: Path, name: str) -> None:
    path = str(WHOLE[name](tmp_path / name))
    wave = read_audio(path)
    assert len(wave) / RATE == pytest.approx(8.0, abs=0.12)  # with the encoder's padding
    assert audio_duration(path) == pytest.approx(len(wave) / RATE, abs=1e-3)
    loud, faint = level(wave)
    assert loud == pytest.approx(level(WAVE)[0], rel=0.1)
    assert 0.002 < faint < 0.02
    np.testing.assert_allclose(read_audio(path, 6.0, 7.0)[200:-200], wave[6 * RATE + 200 : 7 * RATE - 200], atol=1e-5)
    found = measure_file(MeasureRequest("audio", path, (Part(),)))
    assert (found["problem"], found["parts"][0]["duration"]) == ("", pytest.approx(len(wave) / RATE, abs=1e-3))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("opus.ogg", lambda p: encoded(p, WAVE, "libopus")),
        ("vorbis.ogg", written(format="OGG", subtype="VORBIS")),
        ("stated.mp3", lambda p: mp3(p, quality=4, write_xing="1")),
        ("unstated.mp3", lambda p: mp3(p, quality=4)),
        ("covers.mp3", with_a_cover),
    ],
)
def test_joined_files_are_read_to_their_end(tmp_path: Path, name: str, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path / name)
    path.write_bytes(path.read_bytes() * 2)
    wave = read_audio(str(path))
    assert len(wave) / RATE == pytest.approx(16.0, abs=0.3)
    assert level(wave[8 * RATE :])[0] == pytest.approx(level(WAVE)[0], rel=0.1)


def test_an_mp3_is_the_same_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(mp3(tmp_path / "a.mp3", quality=4, write_xing="1"))
    whole = read_audio(path)
    assert np.abs(whole[96000:100000]).max() > 1e-3
    monkeypatch.setattr(files, "BLOCK", 4096)
    np.testing.assert_allclose(read_audio(path), whole, atol=1e-6)  # a decoder restarts with other rounding


def test_an_mp3_that_was_cut_from_a_stream_begins_within_a_frame(tmp_path: Path) -> None:
    path = mp3(tmp_path / "a.mp3", b="64k")
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 5 :])
    assert audio_duration(str(path)) == pytest.approx(8.1 * 0.8, abs=0.1)
    assert len(read_audio(str(path))) / RATE == pytest.approx(8.1 * 0.8, abs=0.1)


CUT = {
    "a.aiff": written(subtype="PCM_16"),
    "a.au": written(subtype="PCM_16"),
    "a.w64": written(subtype="PCM_16"),
    "a.caf": written(subtype="PCM_16"),
    "rf64.wav": written(subtype="PCM_16", format="RF64"),
    "a.wav": written(subtype="PCM_16"),
    "a.ogg": written(),
    "stated.mp3": lambda p: mp3(p, quality=4, write_xing="1"),
}


@pytest.mark.parametrize("name", CUT)
def test_a_sound_that_states_more_than_it_has_was_cut_short(tmp_path: Path, name: str) -> None:
    path = CUT[name](tmp_path / name)
    assert audio_duration(str(path)) == pytest.approx(8.0, abs=0.1)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 7])
    with fails(RecordingError, where=name, found="cut short"):
        read_audio(str(path))
