"""Filtering and resampling EEG, (channel, time) float64.

Delegated to MNE: Butterworth filters run forwards and backwards (zero phase) over one trial, whose ends are padded by
reflection; to SciPy: polyphase resampling. Implemented here: the extrapolation of hum beyond a trial's ends.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

import numpy as np

from eavdash.errors import DataError, EavdashError

ORDER = 4  # of each edge; running it forwards and backwards doubles it
_PASS_LIMIT = 0.45  # of the sampling rate: the highest low-pass edge that leaves enough band for the filter's slope
_NOTCH = 2.0  # Hz: width of the stop band of a notch
_HUM, _FIT = 2.0, 0.4  # seconds by which hum is extended beyond an end, and from which it is estimated there
_BUTTER: dict[str, Any] = {"ftype": "butter", "output": "sos"}


def edges(low: float, high: float, *rates: float) -> tuple[float, float]:
    """The pass band (Hz), its upper edge lowered to the maximum for the lowest of the ``rates``.

    Raises:
        DataError: it is empty.
    """
    rate = min(rates)
    high = min(high, _PASS_LIMIT * rate)
    if high <= low:
        raise rate_too_low(low, rate, "eeg.low")
    return low, high


def rate_too_low(frequency: float, rate: float, setting: str) -> EavdashError:
    """The error for a sampling rate too low for an edge of the pass band, ``setting``."""
    return DataError.at(
        "EEG",
        expected=f"a sampling rate high enough for {frequency:g} Hz",
        found=f"{rate:g} Hz",
        remedy=f"lower {setting} or raise eeg.rate",
    )


def band(data: np.ndarray, rate: float, low: float, high: float) -> np.ndarray:
    """Band-pass filter from ``low`` (0: low-pass only) to ``high`` Hz, zero phase."""
    import mne

    data = data.astype(np.float64)
    params = {"order": ORDER, **_BUTTER}
    filtered = mne.filter.filter_data(
        data, rate, low or None, high, method="iir", iir_params=params, phase="zero", verbose="ERROR"
    )
    return np.asarray(filtered)


def harmonics(frequency: float, rate: float) -> np.ndarray:
    """``frequency`` (Hz) and those multiples whose stop bands are below half the sampling rate."""
    return np.arange(1, int((rate / 2 - _NOTCH / 2) / frequency - 1e-9) + 1) * frequency


def notch(data: np.ndarray, rate: float, frequency: float) -> np.ndarray:
    """Remove the mains ``frequency`` (Hz) and its harmonics, 1 Hz to either side, zero phase.

    Harmonics above half the sampling rate are ignored.
    """
    import mne

    frequencies = harmonics(frequency, rate)
    if not len(frequencies):
        return data.astype(np.float64)
    pad = min(round(_HUM * rate), data.shape[1] - 1)
    data = _extend_hum(data.astype(np.float64), rate, frequencies, pad)
    for one in frequencies:
        # A low edge above the high edge is a band-stop in MNE. One at a time, so that each filter has a low order.
        data = mne.filter.filter_data(
            data,
            rate,
            one + _NOTCH / 2,
            one - _NOTCH / 2,
            method="iir",
            iir_params={"order": 2, **_BUTTER},
            phase="zero",
            verbose="ERROR",
        )
    return np.asarray(data[:, pad : data.shape[1] - pad])


def _extend_hum(data: np.ndarray, rate: float, frequencies: np.ndarray, pad: int) -> np.ndarray:
    """Extend ``data`` by ``pad`` samples at both ends: its hum continues in phase, the rest is reflected.

    Plain reflection breaks the hum's phase, and the break rings: half of the hum would remain in a trial's first and
    last quarter of a second. The hum at an end is a least-squares fit to the nearest 0.4 s, no more, since the mains
    frequency is never exact.
    """
    fitted = min(round(_FIT * rate), data.shape[1])
    if fitted < 3 * (2 * len(frequencies) + 2):
        return np.pad(data, ((0, 0), (pad, pad)), mode="reflect", reflect_type="odd")
    angles = 2 * np.pi * frequencies * np.arange(-pad, max(fitted, pad + 1))[:, None] / rate
    waves = np.hstack([np.cos(angles), np.sin(angles)])  # (time from the pad's start, wave)
    line = np.stack([np.ones(fitted), np.linspace(-1, 1, fitted)], axis=1)
    basis = np.hstack([waves[pad : pad + fitted], line])
    before = []
    for one in (data, data[:, ::-1]):  # the end is the beginning of the reversed signal
        weights = np.linalg.lstsq(basis, one[:, :fitted].T, rcond=None)[0][: waves.shape[1]]
        hum = (waves @ weights).T
        rest = one[:, : pad + 1] - hum[:, pad : 2 * pad + 1]
        before.append(2 * rest[:, :1] - rest[:, :0:-1] + hum[:, :pad])
    return np.hstack([before[0], data, before[1][:, ::-1]])


def resample(data: np.ndarray, rate: float, target: float, pad: Literal["line", "constant"] = "line") -> np.ndarray:
    """Resample to ``target`` Hz by polyphase filtering: ``round(time * target / rate)`` samples, at least one.

    ``pad``: the padding beyond the ends, as in ``scipy.signal.resample_poly`` ("constant": zeros).
    """
    from scipy.signal import resample_poly

    length = max(1, round(data.shape[-1] * target / rate))
    if rate == target:
        return data
    ratio = Fraction(target / rate).limit_denominator(1000)
    data = resample_poly(data, ratio.numerator, ratio.denominator, axis=-1, padtype=pad)[..., :length]
    return np.pad(data, ((0, 0), (0, length - data.shape[-1])), mode="edge")
