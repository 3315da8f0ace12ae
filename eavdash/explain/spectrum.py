"""EEG attributions by electrode and frequency, and in the bands of the field.

In: what a window differs by from a baseline, and the gradient along the way between them; their product is the
attribution of a sample. With their spectra X and G the attribution of a frequency is Re(X · conj(G)), and by
Parseval's theorem all frequencies of an electrode sum to what all its samples sum to. So a map by frequency distributes
the same number as the map by time, in the same unit. Needs neither torch nor the recordings.
"""

from __future__ import annotations

import numpy as np

#: Bands by their lowest frequency in Hz; each ends where the next begins, delta begins at 0, gamma has no end.
BANDS = {"delta": 0.0, "theta": 4.0, "alpha": 8.0, "beta": 13.0, "gamma": 30.0}


def by_frequency(difference: np.ndarray, gradient: np.ndarray, recorded: np.ndarray | None = None) -> np.ndarray:
    """Return the attributions (..., frequency) float64 of ``difference`` times ``gradient`` (..., T).

    The spectrum is one-sided: each frequency stands for its negative too. ``recorded`` (..., T): False where a window
    is padded, which counts as no difference.
    """
    kept = difference if recorded is None else np.where(recorded, difference, 0.0)
    length = kept.shape[-1]
    spectra = (np.fft.rfft(np.asarray(each, dtype=np.float64)) for each in (kept, gradient))
    value = (next(spectra) * next(spectra).conj()).real * (2.0 / length)
    value[..., 0] /= 2
    if length % 2 == 0:
        value[..., -1] /= 2
    return np.asarray(value)


def frequencies(samples: int, rate: float) -> np.ndarray:
    """Return the frequencies (frequency,) float32 Hz of windows of ``samples`` at ``rate`` Hz."""
    return np.fft.rfftfreq(samples, 1 / rate).astype(np.float32)


def band_parts(difference: np.ndarray, recorded: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of a ``difference`` (..., T) in each band, (..., band, T), and how to spread a band's number.

    The parts of all bands add up to the difference, 0 where nothing is ``recorded`` (T,). The second array (band,
    frequency) has in each row equal shares for the frequencies of the band, which sum to 1.
    """
    length = difference.shape[-1]
    spectrum = np.fft.rfft(np.where(recorded, difference, 0.0))
    inside = _inside(frequencies(length, rate))
    rows = np.stack([*inside.values()])
    parts = np.fft.irfft(spectrum[..., None, :] * rows, n=length)
    return parts, rows / rows.sum(axis=1, keepdims=True)


def in_bands(spectrum: np.ndarray, hertz: np.ndarray) -> dict[str, np.ndarray]:
    """Return the sums (...) of a ``spectrum`` (..., frequency) in each of :data:`BANDS` that ``hertz`` reaches.

    All bands together sum to the whole spectrum.
    """
    return {name: spectrum[..., here].sum(axis=-1, dtype=np.float64) for name, here in _inside(hertz).items()}


def _inside(hertz: np.ndarray) -> dict[str, np.ndarray]:
    """Return which frequencies are in each of :data:`BANDS` that has any."""
    edges = (*BANDS.values(), np.inf)
    found = {name: (hertz >= low) & (hertz < high) for (name, low), high in zip(BANDS.items(), edges[1:], strict=True)}
    return {name: here for name, here in found.items() if here.any()}
