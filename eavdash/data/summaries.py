"""Simple features of windows, computed from their raw values alone: what the baselines beside an encoder read.

* ``crops`` (vision): grey values of the face crops on a grid of up to 8 x 8 cells: mean and standard deviation over
  the recorded frames, and the mean absolute difference of successive frames, in grey levels.
* ``logmel`` (audio): mean and standard deviation over time of each mel band's log energy.
* ``bandpower`` (eeg): log10 of the power in µV² per frequency band and channel.
* ``covariances`` (eeg): a covariance matrix in µV² per frequency band, shrunk (OAS), so that it is positive definite
  also where there are more channels than the band has independent samples, or channels depend on each other.

Frequency bands are the usual five, within the band and rate that the EEG was filtered to. A band's covariance is the
sum of the cross-spectrum of the whole window (Hann taper) over its frequencies, which is that of the filtered signal;
the diagonal of it is the band's power. Padded samples and frames are left out.

The arrays are made window by window and kept memory-mapped in the cache, under the windows' own key, so that folds and
seeds share them. Delegated to pyriemann: shrinkage; to cache/folders.py: files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eavdash.data.cache.folders import ArrayWriter, cached, key_of, open_array
from eavdash.data.eeg.bandpower import BANDS, FLOOR
from eavdash.data.standardise import raw_values
from eavdash.data.windows import WindowSet
from eavdash.errors import DataError, IntegrityError

KIND = "summaries"  # of cache entry
VERSION = 1  # raised when the arrays change
GRID = 8  # cells along each side of a picture
_NARROWEST = 1.0  # Hz: a narrower band is left out
_HIGHEST = 0.45  # of the rate: the edge of every low-pass filter of the reader
_AXES = {"crops": 5, "logmel": 3, "bandpower": 3, "covariances": 3}  # of the windows that a summary reads
_Summary = Callable[[np.ndarray, np.ndarray], np.ndarray]  # a window's values and mask → its features


@dataclass(frozen=True)
class Band:
    """Edges in Hz to which the EEG was filtered."""

    low: float
    high: float


def summary(windows: WindowSet, name: str, band: Band, cache: Path) -> np.ndarray:
    """Return a summary of every window, (window, ...) float64, from the cache or computed now; memory-mapped.

    Raises:
        DataError: the windows are of another kind, such as a table, or the band holds no frequency band; or the cache
            cannot be written.
    """
    values = raw_values(windows)
    if values.ndim != _AXES[name]:
        raise DataError.at(
            f"{windows.modality} windows",
            expected={"crops": "pictures", "logmel": "log-mel energies"}.get(name, "EEG"),
            found=f"values with {values.ndim - 1} axes",
            remedy="read the score of another baseline",
        )
    make = _maker(windows, name, band)
    about = [windows.meta["key"], name, VERSION, *([band.low, band.high] if windows.modality == "eeg" else [])]

    def write(folder: Path) -> None:
        first = make(values[0], np.asarray(windows.mask[0], dtype=bool))
        with ArrayWriter(folder / "values.npy", (len(values), *first.shape), np.float64) as array:
            for row in range(len(values)):
                array.append(make(values[row], np.asarray(windows.mask[row], dtype=bool))[None])

    def read(folder: Path) -> np.ndarray:
        array = open_array(folder / "values.npy")
        if len(array) != len(values):
            remedy = "delete it, it will be made again"
            raise IntegrityError.at(folder, expected=f"{len(values)} windows", found=f"{len(array)}", remedy=remedy)
        return array

    return cached(cache, KIND, key_of(about), write, read)


def bands_within(band: Band, rate: float) -> list[tuple[float, float]]:
    """Return the edges in Hz of the frequency bands that a filter to ``band`` leaves at ``rate`` Hz.

    Raises:
        DataError: none of them is wide enough.
    """
    top = min(band.high, _HIGHEST * rate)
    inside = [(max(low, band.low), min(high, top)) for low, high in BANDS.values()]
    wide = [(low, high) for low, high in inside if high - low >= _NARROWEST]
    if not wide:
        found, remedy = f"{band.low:g} to {top:g} Hz", "widen the band or raise eeg.rate"
        raise DataError.at("eeg.low and eeg.high", expected="a frequency band of 1 Hz", found=found, remedy=remedy)
    return wide


def _maker(windows: WindowSet, name: str, band: Band) -> _Summary:
    if name == "crops":
        return _crops
    if name == "logmel":
        return _over_time
    rate, samples = float(windows.meta["rate"]), windows.values.shape[2]
    edges = bands_within(band, rate)
    length = max(samples, round(2 * rate))  # short windows are padded: each band then has some frequencies
    frequencies = np.fft.rfftfreq(length, 1 / rate)
    inside = [(frequencies >= low) & (frequencies < high) for low, high in edges]

    def spectra(values: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
        """Real and imaginary parts (channel, 2 frequencies) of each band, scaled so that their power adds up to µV²."""
        x = np.asarray(values, dtype=np.float64)[:, mask] * 1e6
        taper = np.hanning(x.shape[1] + 2)[1:-1]
        found = np.fft.rfft((x - x.mean(axis=1, keepdims=True)) * taper, length, axis=1)
        found *= np.sqrt(2 / (length * np.sum(taper**2)))
        return [np.concatenate([found[:, part].real, found[:, part].imag], axis=1) for part in inside]

    def powers(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
        power = np.stack([np.square(x).sum(axis=1) for x in spectra(values, mask)])
        return np.asarray(np.log10(np.maximum(power, FLOOR))).ravel()  # band by band

    def covariances(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.stack([_shrunk(x) for x in spectra(values, mask)])

    return powers if name == "bandpower" else covariances


def _shrunk(x: np.ndarray) -> np.ndarray:
    """Return the covariance matrix of the columns of ``x`` (channel, n), whose mean is zero, times n."""
    from pyriemann.geometry.covariance import covariances

    count = x.shape[1]
    if not np.square(x).sum() > FLOOR * len(x):  # a flat window, to which shrinkage has no answer
        return FLOOR * np.eye(len(x))
    return np.asarray(covariances(x[None], estimator="oas", assume_centered=True)[0] * count)


def _over_time(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return mean and standard deviation over time of each column of ``values`` (time, column)."""
    x = np.asarray(values, dtype=np.float64)[mask]
    return np.concatenate([x.mean(axis=0), x.std(axis=0)])


def _crops(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the statistics of frames (frame, height, width, 3) on the grid."""
    frames = np.asarray(values)[mask].mean(axis=3, dtype=np.float64)
    for axis in (1, 2):
        size = frames.shape[axis]
        starts = np.unique(np.arange(min(GRID, size)) * size // min(GRID, size))
        widths = np.diff(np.append(starts, size))
        frames = np.add.reduceat(frames, starts, axis=axis) / np.expand_dims(widths, axis=(0, 3 - axis))
    frames = frames.reshape(len(frames), -1)
    moved = np.abs(np.diff(frames, axis=0)).mean(axis=0) if len(frames) > 1 else np.zeros(frames.shape[1])
    return np.concatenate([frames.mean(axis=0), frames.std(axis=0), moved])
