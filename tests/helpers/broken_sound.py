"""Broken and odd sounds."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from broken import Recording, changed, fine, renamed, share, text
from made_media import clip, movie, sine
from PIL import Image

from eavdash.data.audio.reading import read_audio

TONE = sine(440, 1.5, 16000, 0.5)
STEREO = np.stack([TONE * 1.5, TONE * 0.5], axis=1)  # their mean is TONE


def tone(path: str) -> None:
    """A second and a half of 440 Hz at half of full scale."""
    wave = read_audio(path)
    assert abs(len(wave) - 24000) <= 900
    middle = wave[4000:20000]
    assert np.argmax(np.abs(np.fft.rfft(middle))) == 440
    assert abs(np.sqrt(np.mean(middle**2)) - 0.5 / np.sqrt(2)) < 0.02


def sound(subtype: str = "FLOAT", wave: np.ndarray = TONE, rate: int = 16000) -> Callable[[Path], object]:
    return lambda path: soundfile.write(path, wave, rate, subtype=subtype)


def written(path: Path) -> None:
    """In the format of its suffix."""
    soundfile.write(path, TONE, 16000)


def spoilt(value: float) -> Callable[[Path], object]:
    wave = TONE.copy()
    wave[8000:8010] = value
    return sound(wave=wave)


def header(at: int, form: str, value: int) -> Callable[[Path], object]:
    """A 16-bit wav with one field of its header replaced."""
    data = struct.pack(form, value)
    return changed(sound("PCM_16"), lambda whole: whole[:at] + data + whole[at + len(data) :])


def with_a_note(data: bytes) -> bytes:
    """An odd-length chunk before the samples."""
    note = b"LIST" + struct.pack("<I", 7) + b"INFOabc\0"
    return data[:36] + note + data[36:]


def folder(path: Path) -> None:
    path.mkdir()
    (path / "inside.wav").write_bytes(b"x")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def picture(path: Path) -> None:
    Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(path, format="png")


CASES = [
    Recording("wav cut in the middle", "cut.wav", changed(sound(), share(0.5)), "cut short"),
    Recording("wav of no bytes", "nothing.wav", text(b""), "0 bytes"),
    Recording("wav header alone", "header.wav", changed(sound("PCM_16"), lambda d: d[:44]), "cut short"),
    Recording("wav before its data", "early.wav", changed(sound("PCM_16"), lambda d: d[:36]), "a data chunk"),
    Recording("text as wav", "text.wav", text("subject,trial,label\n" * 50), "a sound file"),
    Recording("random bytes as wav", "random.wav", text(np.random.default_rng(0).bytes(20000)), "a sound file"),
    Recording("picture as wav", "picture.wav", picture, "a sound file"),
    Recording("wav with NaN", "nan.wav", spoilt(np.nan), "finite"),
    Recording("wav with infinity", "inf.wav", spoilt(np.inf), "finite"),
    Recording("wav no samples", "zero.wav", sound(wave=TONE[:0]), "no samples"),
    Recording("wav of one sample", "one.wav", sound(wave=TONE[:1]), "silen|short", "warning", "one step of"),
    Recording("wav at 1 Hz", "slow.wav", header(24, "<I", 1), "1 Hz"),
    Recording("wav at 3 MHz", "fast.wav", header(24, "<I", 3_000_000), "3000000 Hz"),
    Recording("wav at 0 Hz", "still.wav", header(24, "<I", 0), "a sound file|0 Hz"),
    Recording("wav without channels", "channels.wav", header(22, "<H", 0), "a sound file"),
    Recording("wav of an unknown codec", "codec.wav", header(20, "<H", 0x1234), "a sound file"),
    Recording("flac cut in the middle", "cut.flac", changed(written, share(0.5)), "samples|sound"),
    Recording("flac header alone", "header.flac", changed(written, lambda d: d[:60]), "sound"),
    Recording("ogg cut in the middle", "cut.ogg", changed(written, share(0.5)), "last page"),
    Recording("m4a cut in the middle", "cut.m4a", changed(lambda p: clip(p, TONE, 16000), share(0.5)), "sound"),
    Recording(
        "video without sound as sound", "mute.mp4", lambda p: movie(p, [0, 0.1, 0.2]), "a sound track, found none"
    ),
    Recording("a folder as wav", "folder.wav", folder, "found a folder"),
    Recording("a pipe as wav", "pipe.wav", pipe, "found a pipe"),
    Recording(
        "a link to nothing", "link.wav", lambda p: p.symlink_to("gone.wav"), "no file", reading_error="No such file"
    ),
    Recording(
        "a link to itself", "loop.wav", lambda p: p.symlink_to(p.name), "no file|links", reading_error="symbolic links"
    ),
    Recording("an item of a file without sound", "item.mat", text(b"x"), "found item 2", item="#2"),
    Recording("mp3 cut in the middle", "cut.mp3", changed(written, share(0.5)), "cut short"),
    Recording("digital silence", "silent.wav", sound(wave=TONE * 0), "silen", "warning"),
    Recording("clipped sound", "clipped.wav", sound(wave=np.clip(TONE * 9, -1, 1)), "clip|full scale", "warning"),
    fine("stereo", "stereo.wav", sound(wave=STEREO), tone),
    fine("64 channels", "many.wav", sound(wave=np.repeat(TONE[:, None], 64, axis=1)), tone),
    fine("8-bit", "8.wav", sound("PCM_U8"), tone),
    fine("24-bit", "24.wav", sound("PCM_24"), tone),
    fine("doubles", "64.wav", sound("DOUBLE"), tone),
    fine("A-law", "alaw.wav", sound("ALAW"), tone),
    fine("ADPCM", "adpcm.wav", sound("MS_ADPCM"), tone),
    fine("44.1 kHz", "44100.wav", sound("PCM_16", sine(440, 1.5, 44100, 0.5), 44100), tone),
    fine("a rate without a divisor", "44101.wav", sound("PCM_16", sine(440, 1.5, 44101, 0.5), 44101), tone),
    fine("flac", "a.flac", written, tone),
    fine("ogg", "a.ogg", written, tone),
    fine("mp3", "a.mp3", written, tone),
    fine("aiff", "a.aiff", written, tone),
    fine("mp3 as wav", "mp3.wav", renamed(lambda p: soundfile.write(p, -TONE, 16000), ".mp3"), tone),
    fine("m4a as wav", "m4a.wav", renamed(lambda p: clip(p, TONE, 16000), ".m4a"), tone),
    fine("wrong RIFF length", "riff.wav", header(4, "<I", 0xFFFFFF00), tone),
    fine("wav written into a pipe", "piped.wav", header(40, "<I", 0xFFFFFFFF), tone),
    fine("a note before the samples", "note.wav", changed(sound("PCM_16"), with_a_note), tone),
    fine("sound of a video", "talk.mp4", lambda p: clip(p, TONE, 16000, pictures=[k / 25 for k in range(38)]), tone),
]
