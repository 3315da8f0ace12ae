"""Small recordings of known content, made where a test needs them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import mne
import numpy as np
import pandas as pd
import scipy.io
import soundfile


def sine(frequency: float, duration: float, rate: float, amplitude: float = 1.0) -> np.ndarray:
    """(time,) float64."""
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(round(duration * rate)) / rate)


def wav(path: Path, wave: np.ndarray, rate: int = 16000, subtype: str = "FLOAT") -> str:
    """Write (time,) or (time, channel) in -1..1."""
    soundfile.write(path, wave, rate, subtype=subtype)
    return str(path)


def mat(path: Path, array: np.ndarray, key: str = "seg1", **others: object) -> str:
    """Write an array as an EAV file does."""
    scipy.io.savemat(path, {key: array, **others})
    return str(path)


def fif(path: Path, volt: np.ndarray, channels: Sequence[str], rate: float = 250.0) -> str:
    """Write (channel, time) as a raw FIF file, every channel of type EEG."""
    raw = mne.io.RawArray(volt, mne.create_info(list(channels), rate, "eeg"), verbose="ERROR")
    raw.save(path, fmt="double", overwrite=True, verbose="ERROR")
    return str(path)


def grey(step: int) -> int:
    """The grey level that stands for the step-th frame."""
    return 20 + 10 * step


def movie(path: Path, times: Sequence[float], *, size: tuple[int, int] = (64, 48), begin: float = 0.0) -> str:
    """A video of grey frames (:func:`grey` of their number) at the given times, 12 to a group of pictures."""
    codec = {".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(path.suffix, "libx264")
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=30, options={"g": "12"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for step, time in enumerate(times):
            picture = np.full((size[1], size[0], 3), grey(step % 24), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round((begin + time) * 1000), Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return str(path)


PICTURES = {".webm": "libvpx-vp9", ".avi": "mpeg4", ".mpg": "mpeg1video"}
VOICES = {".webm": "libopus", ".mpg": "mp2", ".mkv": "pcm_s16le", ".avi": "pcm_s16le", ".mov": "pcm_s16le"}


def clip(
    path: Path,
    wave: np.ndarray,
    rate: int = 48000,
    *,
    pictures: Sequence[float] = (),
    begin: float = 0.0,
    gap: tuple[float, float] = (0.0, 0.0),
    codec: str = "",
    options: dict[str, str] | None = None,
) -> str:
    """A sound (time,) or (time, channel) in a container of FFmpeg's, with grey frames at ``pictures`` (seconds).

    The track begins at ``begin``; its packets that begin between the two times of ``gap`` are left out.
    """
    wave = wave[:, None] if wave.ndim == 1 else wave
    with av.open(str(path), "w", options=options or {}) as out:
        packets = []
        if len(pictures):
            picture = out.add_stream(PICTURES.get(path.suffix, "libx264"), rate=25)
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            if path.suffix != ".mpg":
                picture.codec_context.time_base = Fraction(1, 1000)
        codec = codec or VOICES.get(path.suffix, "aac")
        voice = out.add_stream(codec, rate=rate, layout="mono" if wave.shape[1] == 1 else "stereo")
        for step, time in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey(step % 24), np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            packets += picture.encode(frame)
        packets += picture.encode(None) if len(pictures) else []
        for at in range(0, len(wave), 1024):
            part = _as_encoded(wave[at : at + 1024], voice.codec_context.format.name)
            frame = av.AudioFrame.from_ndarray(*part, voice.layout.name)
            frame.rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(begin * rate) + at
            packets += voice.encode(frame)
        packets += voice.encode(None)
        for packet in sorted(packets, key=lambda p: float((p.dts or 0) * p.time_base)):
            if packet.stream is not voice or not gap[0] <= float((packet.pts or 0) * packet.time_base) < gap[1]:
                out.mux(packet)
    return str(path)


def _as_encoded(part: np.ndarray, form: str) -> tuple[np.ndarray, str]:
    """(time, channel) in -1..1 as PyAV wants it of a sample format."""
    whole = {"u8": (127, 128, np.uint8), "s16": (2**15 - 1, 0, np.int16), "s32": (2**31 - 1, 0, np.int32)}
    scale, offset, kind = whole.get(form.removesuffix("p"), (1, 0, np.float32))
    part = (part * scale + offset).astype(kind)
    return np.ascontiguousarray(part.T if form.endswith("p") else part.reshape(1, -1)), form


def steps(frames: np.ndarray) -> list[int]:
    """The numbers (modulo 24) of the frames of :func:`movie` in (frame, size, size, 3)."""
    return [round((float(frame.mean()) - grey(0)) / 10) for frame in frames]


def trials(rows: Sequence[dict[str, object]]) -> pd.DataFrame:
    """A trial table; what a row does not say is empty."""
    usual = {"subject": "1", "label": "a", "group": "g", "start": np.nan, "stop": np.nan}
    empty = {"eeg": "", "audio": "", "video": ""}
    return pd.DataFrame([{**usual, **empty, "trial": str(n), **row} for n, row in enumerate(rows, start=1)])
