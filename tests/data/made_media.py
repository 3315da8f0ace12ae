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


def steps(frames: np.ndarray) -> list[int]:
    """The numbers (modulo 24) of the frames of :func:`movie` in (frame, size, size, 3)."""
    return [round((float(frame.mean()) - grey(0)) / 10) for frame in frames]


def trials(rows: Sequence[dict[str, object]]) -> pd.DataFrame:
    """A trial table; what a row does not say is empty."""
    usual = {"subject": "1", "label": "a", "group": "g", "start": np.nan, "stop": np.nan}
    empty = {"eeg": "", "audio": "", "video": ""}
    return pd.DataFrame([{**usual, **empty, "trial": str(n), **row} for n, row in enumerate(rows, start=1)])
