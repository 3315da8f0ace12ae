"""Made-up EEG whose answer is known: smooth potentials over the scalp, as a few deep sources would give."""

from __future__ import annotations

import numpy as np

from eavdash.config.schema import EegConfig
from eavdash.data.eeg import electrodes
from eavdash.data.eeg.prepare import clip, prepare
from eavdash.data.eeg.signal import EegSignal

EAV = electrodes.EAV_CHANNELS


def prepare_eeg(signal: EegSignal, config: EegConfig) -> EegSignal:
    """The trial as an encoder reads it: all steps, clipping too."""
    return clip(prepare(signal, config).signal, config.clip)


def field(
    seed: int,
    channels: tuple[str, ...] = EAV,
    seconds: float = 10.0,
    rate: float = 250.0,
    noise: float = 1e-6,
    offsets: float = 1e-4,
) -> EegSignal:
    """Twelve sources of pink noise over the head and the reference's own; 10 µV per electrode and a little noise."""
    random = np.random.default_rng(seed)
    time = round(seconds * rate)
    spectrum = np.maximum(np.fft.rfftfreq(time, 1 / rate), 0.5) ** -0.5
    drawn = random.normal(size=(13, len(spectrum), 2)).view(complex)[..., 0] * spectrum
    sources = np.fft.irfft(drawn, time)
    positions = random.normal(size=(12, 3))
    positions /= np.linalg.norm(positions, axis=1, keepdims=True)
    mixing = np.exp(2 * electrodes.directions(channels) @ positions.T)
    data = mixing @ sources[:12] + 3 * sources[12]
    data *= 1e-5 / data.std(axis=1, keepdims=True).mean()
    data += random.normal(0, noise, data.shape) + random.normal(0, offsets, (len(channels), 1))
    return EegSignal(data.astype(np.float32), rate, channels)


def changed(signal: EegSignal, channel: str, values: np.ndarray | float) -> EegSignal:
    """The signal with one channel's samples replaced."""
    data = signal.data.copy()
    data[signal.channels.index(channel)] = values
    return EegSignal(data, signal.rate, signal.channels, signal.others)
