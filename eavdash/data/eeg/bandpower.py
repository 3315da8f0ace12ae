"""Band power of the EEG per channel over time.

In: EEG in microvolt. Out: power per band, channel and step in decibel, for the scalp map of the trials page. The power
of a step is that of the second around it (Hann window, the signal mirrored at its ends), summed over the band's
frequencies: a sine of amplitude A within the band has A²/2. Delegated to NumPy: the Fourier transform.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Lower edge (included) and upper edge (excluded) of each band in Hz.
BANDS = {"delta": (1.0, 4.0), "theta": (4.0, 8.0), "alpha": (8.0, 13.0), "beta": (13.0, 30.0), "gamma": (30.0, 45.0)}
STEPS = 20.0  # per second
WINDOW = 1.0  # seconds
FLOOR = 1e-4  # µV²: assumed for a flat channel (-40 dB)


@dataclass(frozen=True)
class BandPower:
    """``decibel`` (band, channel, step) float32, re 1 µV²; step k is at ``k / STEPS`` seconds."""

    bands: tuple[str, ...]
    decibel: np.ndarray


def band_power(microvolt: np.ndarray, rate: float, high: float = 45.0) -> BandPower:
    """Compute band power of ``microvolt`` (channel, time) at ``rate`` Hz; bands that begin above ``high`` Hz are
    omitted.
    """
    channels, samples = microvolt.shape
    length = max(1, min(samples, round(WINDOW * rate)))
    before = length // 2
    middles = np.arange(max(1, int(samples / rate * STEPS))) / STEPS
    starts = np.minimum(np.round(middles * rate).astype(int), samples - 1)
    frequencies = np.fft.rfftfreq(length, 1 / rate)
    edges = {name: (low, top) for name, (low, top) in BANDS.items() if low < min(high, rate / 2)}
    inside = {name: (frequencies >= low) & (frequencies < min(top, high)) for name, (low, top) in edges.items()}
    inside = {name: mask for name, mask in inside.items() if mask.any()}
    window = np.hanning(length + 2)[1:-1]
    power = np.zeros((len(inside), channels, len(starts)))
    # "reflect" repeats if the signal is shorter than the window.
    padded = np.pad(microvolt.astype(np.float64), ((0, 0), (before, length - before)), mode="reflect")
    for channel, signal in enumerate(padded):
        pieces = np.lib.stride_tricks.sliding_window_view(signal, length)[starts]
        spectrum = 2 * np.abs(np.fft.rfft(pieces * window, axis=1)) ** 2 / (length * np.sum(window**2))
        for band, mask in enumerate(inside.values()):
            power[band, channel] = spectrum[:, mask].sum(axis=1)
    return BandPower(tuple(inside), (10 * np.log10(np.maximum(power, FLOOR))).astype(np.float32))
