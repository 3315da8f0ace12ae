"""Simulated EEG: pink noise, a subject's alpha rhythm, and band power planted at certain electrodes.

In: a trial's plan. Out: (time, channel) float32, microvolt, like raw EEG (offsets and slow drifts well above the
signal, mains hum, blinks), in EAV's channel order. All random numbers come from the plan's generators.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import fft

from eavdash.demo.plan import DemoSize, TrialPlan, envelope, random

_NAMES = "Fp1 Fp2 F7 F3 Fz F4 F8 FC5 FC1 FC2 FC6 T7 C3 Cz C4 T8 CP5 CP1 CP2 CP6 P7 P3 Pz P4 P8 PO9 O1 Oz O2 PO10"
CHANNELS = tuple(_NAMES.split())
#: Emotion → electrode → band (Hz) with increased power.
BANDS: dict[str, dict[str, tuple[float, float]]] = {
    "Neutral": {"C3": (9.0, 13.0), "C4": (9.0, 13.0)},
    "Sadness": {"Fz": (4.0, 7.0), "FC1": (4.0, 7.0), "FC2": (4.0, 7.0)},
    "Anger": {"F7": (18.0, 35.0), "FC5": (18.0, 35.0), "T7": (18.0, 35.0)},
    "Happiness": {"F3": (16.0, 28.0), "F4": (8.0, 12.0)},  # less alpha on the left than on the right
    "Calmness": dict.fromkeys(("O1", "Oz", "O2", "PO9", "PO10"), (8.0, 12.0)),
}
GAIN = 7.0  # microvolt, root mean square of the planted signal at strength 1
PINK = 10.0  # microvolt, root mean square
MAINS = 60.0  # Hz, as in Korea
#: Share of a blink's amplitude at each electrode.
BLINK = {"Fp1": 1.0, "Fp2": 1.0, "F7": 0.4, "F8": 0.4, "F3": 0.3, "Fz": 0.3, "F4": 0.3}

_FRONT = {"Fp": 0.95, "F": 0.6, "FC": 0.3, "C": 0.0, "T": 0.0, "CP": -0.3, "P": -0.6, "PO": -0.85, "O": -0.95}
_SIDE = {"z": 0.0, "1": 0.25, "3": 0.45, "5": 0.65, "7": 0.9, "9": 0.75}


@dataclass(frozen=True)
class Head:
    """Properties of a subject's EEG that are constant over trials."""

    mixing: np.ndarray  # (channel, channel): pink sources → electrodes
    alpha: np.ndarray  # (channel,) microvolt
    alpha_peak: float  # Hz
    offset: np.ndarray  # (channel,) microvolt
    drift: np.ndarray  # (channel,) microvolt


def markers(emotion: str) -> dict[str, Any]:
    """The markers of an emotion: electrodes ("place") and the band (Hz) at each."""
    return {"place": list(BANDS[emotion]), "bands": [list(band) for band in BANDS[emotion].values()]}


def position(channel: str) -> tuple[float, float]:
    """Approximate position of a 10-20 electrode seen from above: (right, front) in head radii."""
    row, column = re.findall(r"^([A-Za-z]+?)(z|\d+)$", channel)[0]
    if column == "z":
        return 0.0, _FRONT[row]
    odd = int(column) % 2
    return (-1 if odd else 1) * _SIDE[str(int(column) - 1 + odd)], _FRONT[row]


def head(seed: int, subject: int) -> Head:
    """Draw the subject's head."""
    rng = random(seed, subject, "eeg head")
    xy = np.array([position(name) for name in CHANNELS])
    distance = np.linalg.norm(xy[:, None] - xy[None], axis=-1)
    mixing = np.exp(-((distance / 0.45) ** 2)) * rng.normal(1.0, 0.15, distance.shape)
    mixing *= PINK * rng.uniform(0.8, 1.25, (len(CHANNELS), 1)) / np.linalg.norm(mixing, axis=1, keepdims=True)
    return Head(
        mixing=mixing.astype(np.float32),
        alpha=(rng.uniform(2.0, 5.0) * np.clip(0.35 - xy[:, 1], 0.1, 1.2)).astype(np.float32),
        alpha_peak=float(rng.uniform(8.5, 11.5)),
        offset=rng.uniform(-27, 102, len(CHANNELS)).astype(np.float32),
        drift=rng.uniform(100, 300, len(CHANNELS)).astype(np.float32),
    )


def eeg_trial(plan: TrialPlan, head: Head, size: DemoSize) -> np.ndarray:
    """Simulate one trial: (time, channel) float32, microvolt, at ``size.eeg_rate``."""
    rng = plan.rng("eeg")
    samples, rate = round(size.seconds * size.eeg_rate), size.eeg_rate
    times = np.arange(samples) / rate
    frequencies = np.fft.rfftfreq(samples, 1 / rate)
    signal = head.mixing @ _noise(rng, np.maximum(frequencies, 0.5) ** -0.5 * (frequencies > 0), len(CHANNELS), samples)
    alpha = _noise(rng, np.exp(-(((frequencies - head.alpha_peak) / 0.8) ** 2)), 2, samples)
    waxing = np.array([1.0, 0.4], np.float32) @ alpha
    signal += head.alpha[:, None] * waxing
    for gain, frequency in ((head.drift, 0.04), (head.drift / 3, 0.11)):
        phases = rng.uniform(0, 2 * np.pi, (len(CHANNELS), 1))
        pace = frequency * rng.uniform(0.7, 1.3, (len(CHANNELS), 1))
        signal += gain[:, None] * np.sqrt(2) * np.sin(2 * np.pi * pace * times + phases).astype(np.float32)
    signal += (rng.uniform(0.5, 2.0) * np.sin(2 * np.pi * MAINS * times + rng.uniform(0, 6))).astype(np.float32)
    for moment in rng.uniform(0, size.seconds, rng.poisson(size.seconds / 6)):
        blink = (rng.uniform(60, 120) * np.exp(-(((times - moment) / 0.08) ** 2))).astype(np.float32)
        for name, share in BLINK.items():
            signal[CHANNELS.index(name)] += np.float32(share) * blink
    signal += head.offset[:, None]

    expression = plan.expressions["eeg"]
    on = (GAIN * expression.strength * envelope(expression, times)).astype(np.float32)
    for name, (low, high) in BANDS[expression.emotion].items():
        inside = ((frequencies >= low) & (frequencies <= high)).astype(float)
        signal[CHANNELS.index(name)] += on * _noise(rng, inside, 1, samples)[0]
    return np.asarray(signal.T)


def _noise(rng: np.random.Generator, spectrum: np.ndarray, rows: int, samples: int) -> np.ndarray:
    """(row, time) float32 Gaussian noise with this amplitude spectrum and an expected power of 1."""
    normal = rng.standard_normal((rows, len(spectrum), 2), dtype=np.float32)
    shaped = normal.view(np.complex64)[..., 0] * spectrum.astype(np.float32)
    scale = samples / (2 * np.sqrt(np.sum(spectrum**2)) + 1e-12)
    return fft.irfft(shaped, samples, axis=-1) * np.float32(scale)
