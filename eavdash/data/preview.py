"""What the trials page shows of one trial: little enough to send to a browser, whatever the recording's length.

In: a row of the trial table and the study's configuration. Out: a :class:`TrialPreview` of NumPy arrays. A modality
that is missing is None; one that cannot be read leaves its error's sentence in ``errors`` and does not hide the others.
Delegated to the readers of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from eavdash.config import COLUMN, StudyConfig
from eavdash.data import audio, eeg, video
from eavdash.data.inputs import trial_duration
from eavdash.data.recording import seconds
from eavdash.errors import EavdashError

LIMIT = 60.0  # seconds: a longer trial is shown up to here
WAVE_BINS = 1500
SPECTROGRAM_BINS = 500
EEG_RATE = 250.0  # Hz
MICROVOLT = 1e6  # per volt
Part = TypeVar("Part")


@dataclass(frozen=True)
class VideoPreview:
    """The file to play from ``start`` (seconds in the file) for ``duration`` seconds (infinite for a still image)."""

    path: str
    start: float
    duration: float
    info: video.VideoInfo


@dataclass(frozen=True)
class AudioPreview:
    """Sound of ``duration`` seconds, as an envelope and as a spectrogram; times are the bins' middles in seconds."""

    duration: float
    times: np.ndarray  # (bin,)
    low: np.ndarray  # (bin,) float32, least sample of the bin, -1..1
    high: np.ndarray  # (bin,)
    logmel_times: np.ndarray  # (time,)
    logmel: np.ndarray  # (time, mel) float32, not scaled


@dataclass(frozen=True)
class EegPreview:
    """Filtered EEG of ``duration`` seconds in microvolt."""

    duration: float
    channels: tuple[str, ...]
    rate: float
    times: np.ndarray  # (time,) seconds from the trial's start
    microvolt: np.ndarray  # (channel, time) float32


@dataclass(frozen=True)
class TrialPreview:
    """One trial for display; ``errors`` holds a sentence for each modality that cannot be read."""

    subject: str
    trial: str
    label: str
    vision: VideoPreview | None = None
    audio: AudioPreview | None = None
    eeg: EegPreview | None = None
    errors: dict[str, str] = field(default_factory=dict)


def trial_preview(row: Mapping[str, Any], config: StudyConfig) -> TrialPreview:
    """The preview of one row of a trial table (a mapping or a pandas Series); it never raises for a bad recording."""
    errors: dict[str, str] = {}

    def attempt(modality: str, make: Callable[[str, float, float | None, StudyConfig], Part]) -> Part | None:
        path = str(row[COLUMN[modality]] or "")
        if not path:
            return None
        try:
            return make(path, seconds(row["start"]) or 0.0, seconds(row["stop"]), config)
        except EavdashError as error:
            errors[modality] = str(error)
            return None

    return TrialPreview(
        str(row["subject"]),
        str(row["trial"]),
        str(row["label"]),
        vision=attempt("vision", _vision),
        audio=attempt("audio", _audio),
        eeg=attempt("eeg", _eeg),
        errors=errors,
    )


def envelope(wave: np.ndarray, bins: int = WAVE_BINS) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest sample of each of at most ``bins`` equal stretches of a waveform (time,)."""
    edges = np.linspace(0, len(wave), min(bins, len(wave)) + 1).astype(int)[:-1]
    return np.minimum.reduceat(wave, edges), np.maximum.reduceat(wave, edges)


def _vision(path: str, start: float, stop: float | None, config: StudyConfig) -> VideoPreview:
    info = video.video_info(path)
    duration = trial_duration(path, "vision", start, stop)
    # The header of a damaged file reads well: one decoded picture says whether there is anything to show.
    video.read_frames(path, [start], 16)
    return VideoPreview(path, start, duration, info)


def _audio(path: str, start: float, stop: float | None, config: StudyConfig) -> AudioPreview:
    rate = config.audio.rate
    wave = audio.read_audio(path, start, _until(path, "audio", start, stop), rate)
    low, high = envelope(wave)
    energies = audio.logmel(wave, rate, config.audio.mels)
    duration = len(wave) / rate
    if len(energies):
        edges = np.linspace(0, len(energies), min(SPECTROGRAM_BINS, len(energies)) + 1).astype(int)
        counts = np.diff(edges)[:, None]
        energies = np.add.reduceat(energies, edges[:-1], axis=0, dtype=np.float64) / counts
    return AudioPreview(
        duration,
        _middles(len(low), duration),
        low,
        high,
        _middles(len(energies), duration),
        energies.astype(np.float32),
    )


def _eeg(path: str, start: float, stop: float | None, config: StudyConfig) -> EegPreview:
    signal = eeg.read_eeg(path, start, _until(path, "eeg", start, stop))
    shown = eeg.prepare_eeg(signal, replace(config.eeg, rate=min(EEG_RATE, signal.rate)))
    samples = shown.data.shape[1]
    return EegPreview(
        samples / shown.rate,
        shown.channels,
        shown.rate,
        np.arange(samples) / shown.rate,
        (shown.data * MICROVOLT).astype(np.float32),
    )


def _until(path: str, modality: str, start: float, stop: float | None) -> float | None:
    """Where display ends; None for the end of the file."""
    return start + LIMIT if trial_duration(path, modality, start, stop) > LIMIT else stop


def _middles(count: int, duration: float) -> np.ndarray:
    return (np.arange(count) + 0.5) * (duration / max(1, count))
