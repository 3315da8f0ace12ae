"""Recordings with planted defects, trial tables of them, and what a health report says about them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from eavdash.health.report import Finding, HealthReport

HEADER = "subject,trial,label,group,start,stop,eeg,audio,video\n"


def table(folder: Path, *lines: str) -> Path:
    """A trial table: subject, trial, label, group, start, stop, eeg, audio, video."""
    (folder / "trials.csv").write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return folder / "trials.csv"


def finding_with(report: HealthReport, words: str) -> Finding:
    """The one finding whose message has these words."""
    (finding,) = [f for f in report.findings if words in f.message]
    return finding


def voice(seconds: float = 2.0, rate: int = 16000, seed: int = 0, level: float = 0.1) -> np.ndarray:
    """(time,) noise that comes and goes like syllables; its peak is below full scale."""
    noise = np.random.default_rng(seed).normal(size=round(seconds * rate)).clip(-3, 3)
    return level * noise * (1.1 + np.sin(2 * np.pi * 4 * np.arange(len(noise)) / rate)) / 2.1


def brain(channels: int = 4, seconds: float = 4.0, rate: float = 250.0, seed: int = 0) -> np.ndarray:
    """(channel, time) volt: pink-ish noise of some 20 µV."""
    spectrum = np.random.default_rng(seed).normal(size=(channels, round(seconds * rate) // 2 + 1, 2)) @ [1, 1j]
    spectrum /= np.sqrt(np.maximum(1, np.arange(spectrum.shape[1])))
    wave = np.fft.irfft(spectrum, n=round(seconds * rate), axis=1)
    return 20e-6 * wave / wave.std(axis=1, keepdims=True)


def film(
    path: Path,
    pictures: Sequence[np.ndarray] | None = None,
    *,
    times: Sequence[float] | None = None,
    seconds: float = 2.0,
    rotation: int = 0,
    sound: float | None = None,
    keys: int = 12,
    seed: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """A video at 10 frames per second, or at ``times``; a bright patch wanders over it unless ``pictures`` are given.

    ``sound``: with a sound track that begins so many seconds later. ``keys``: frames from one key frame to the next.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    moments = list(times) if times is not None else [n / 10 for n in range(round(seconds * 10))]
    if pictures is None:
        pictures = [moving(n, seed) for n in range(len(moments))]
    with av.open(str(path), "w", options=options or {}) as out:
        stream = out.add_stream("libx264", rate=30, options={"g": str(keys), "bf": "0", "sc_threshold": "0"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        track = out.add_stream("aac", rate=16000, layout="mono") if sound is not None else None
        for moment, picture in zip(moments, pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(moment * 1000), Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if track is not None:
            wave = voice(moments[-1]).astype(np.float32)[None]
            for first in range(0, wave.shape[1] - 1024, 1024):
                piece = av.AudioFrame.from_ndarray(wave[:, first : first + 1024], format="fltp", layout="mono")
                piece.sample_rate, piece.pts = 16000, first + round((sound or 0) * 16000)
                out.mux(track.encode(piece))
            out.mux(track.encode(None))
    if rotation:
        turn(path, rotation)
    return path


def moving(step: int, seed: int = 0) -> np.ndarray:
    """(48, 64, 3) grey with a bright patch that is somewhere else at every step."""
    picture = np.full((48, 64, 3), 90, dtype=np.uint8)
    left = (7 * step + 5 * seed) % 48
    picture[16:32, left : left + 16] = 200
    return picture


def turn(path: Path, degrees: int) -> None:
    """Write a rotation into an mp4's track header, as phones do."""
    matrix = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    data = bytearray(path.read_bytes())
    box = data.index(b"tkhd") + 4
    position = box + (4 + 16 + 4 + 8 + 8 if data[box] == 0 else 4 + 24 + 4 + 8 + 8)
    for n, value in zip((0, 1, 3, 4), matrix, strict=True):
        data[position + 4 * n : position + 4 * n + 4] = (value * 65536).to_bytes(4, "big", signed=True)
    path.write_bytes(data)
