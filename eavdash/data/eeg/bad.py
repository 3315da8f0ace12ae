"""Bad channels of a trial: detection, and interpolation from their neighbours.

In: a trial's :class:`~eavdash.data.eeg.signal.EegSignal` as recorded. Out: the bad channels with a reason each, and the
signal with them (and requested electrodes that the file lacks) interpolated. Delegated to MNE: filtering and spherical
splines on its 10-05 montage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from eavdash.data.eeg import electrodes
from eavdash.data.eeg.filters import band, notch
from eavdash.data.eeg.signal import EegSignal

#: Seconds without any change that make a channel flat, or half of a shorter trial.
FLAT = 5.0
#: Robust z of the logarithm of a channel's amplitude, and the factor by which it must differ from the others' median.
DEVIATION, FACTOR = 5.0, 3.0
#: A second is uncorrelated if no neighbour reaches this correlation; a channel is bad above this share of such seconds.
CORRELATION, BROKEN = 0.4, 0.4
#: Minimum number of channels for comparisons between them.
ENOUGH = 8
#: Number of electrodes that count as neighbours.
NEIGHBOURS = 6
#: Minimum share of good electrodes in a trial for interpolation.
GOOD = 0.5
_COMPARED_BAND = (1.0, 50.0)  # Hz: the band in which channels are compared


def bad_channels(signal: EegSignal, mains: float = 0.0) -> dict[str, str]:
    """Find the bad channels of a trial, each with a reason, in the signal's order; ``mains`` Hz is removed first.

    The rules are those of PREP (Bigdely-Shamlo et al. 2015, https://doi.org/10.3389/fninf.2015.00016), adapted from
    whole recordings to single trials:

    * flat: the samples do not change for 5 s, or for half of a trial shorter than 10 s (the limit of EEGLAB's
      ``clean_rawdata``).
    * noisier or weaker than the others: the amplitude (interquartile range, high-passed at 1 Hz) has a robust z-score
      beyond 5, as in PREP. Its logarithm is compared, since amplitudes are skewed and would otherwise never be too
      small; and it must be three times or a third of the median, since nearly equal channels have a tiny spread.
    * uncorrelated: in more than 40 % of the seconds no neighbour reaches an absolute correlation of 0.4 (1 to 50 Hz).
      PREP uses the same 0.4, among all channels and for 1 % of the seconds, of which a trial has too few; the 40 % are
      those of ``clean_rawdata``. Neighbours are the six nearest electrodes, or all channels if one is not in the
      montage.

    The last two need eight channels that are not flat. A bad reference, which affects all channels, is not detected.
    """
    reasons: dict[str, str] = {}
    still = longest_constant_run(signal.data) / signal.rate
    for name, seconds in zip(signal.channels, still, strict=True):
        if seconds >= min(FLAT, signal.data.shape[1] / signal.rate / 2):
            reasons[name] = f"flat for {seconds:.1f} s"
    moving = [name for name in signal.channels if name not in reasons]
    if len(moving) >= ENOUGH:
        seen = signal.pick(moving)
        data = notch(seen.data.astype(np.float64), seen.rate, mains) if mains else seen.data
        data = band(data, seen.rate, _COMPARED_BAND[0], min(_COMPARED_BAND[1], 0.45 * seen.rate))
        reasons |= _deviating(data, moving)
        reasons |= _uncorrelated(data, seen.rate, moving, reasons)
    return {name: reasons[name] for name in signal.channels if name in reasons}


def longest_constant_run(data: np.ndarray) -> np.ndarray:
    """The longest run of equal samples, (channel,) in samples, of (channel, time)."""
    changes = np.diff(data, axis=1) != 0
    edges = np.ones((len(data), 1), dtype=bool)
    return np.array([np.diff(np.flatnonzero(row)).max() for row in np.hstack([edges, changes, edges])])


def interpolate(signal: EegSignal, lacking: Sequence[str], bad: Sequence[str]) -> tuple[EegSignal, tuple[str, ...]]:
    """Interpolate the ``lacking`` and the ``bad`` electrodes; return the signal and the names of both.

    Bad channels that are not in the montage are kept. So are all bad ones if less than half of the electrodes would
    remain, too few to interpolate from.
    """
    placed = [name for name in signal.channels if electrodes.on_scalp(name)]
    poor = [name for name in placed if name in bad]
    if len(placed) - len(poor) < GOOD * (len(placed) + len(lacking)):
        poor = []
    wanted, given = (*poor, *lacking), tuple(name for name in placed if name not in poor)
    if not wanted:
        return signal, ()
    channels = (*signal.channels, *lacking)
    data = np.concatenate([signal.data, np.zeros((len(lacking), signal.data.shape[1]), signal.data.dtype)])
    sources = signal.data[[signal.channels.index(name) for name in given]].astype(np.float64)
    data[[channels.index(name) for name in wanted]] = electrodes.spline_weights(wanted, given) @ sources
    return replace(signal, data=data, channels=channels), wanted


def _deviating(data: np.ndarray, channels: Sequence[str]) -> dict[str, str]:
    quarters = np.percentile(data, [25, 75], axis=1)
    spread = np.log(np.maximum(quarters[1] - quarters[0], 1e-15))
    low, middle, high = np.percentile(spread, [25, 50, 75])
    z = (spread - middle) / max(0.7413 * (high - low), 1e-9)
    return {
        name: f"{np.exp(abs(s - middle)):.1f} times {'noisier' if s > middle else 'weaker'} than the others"
        for name, s, score in zip(channels, spread, z, strict=True)
        if abs(score) > DEVIATION and abs(s - middle) > np.log(FACTOR)
    }


def _uncorrelated(data: np.ndarray, rate: float, channels: Sequence[str], found: dict[str, str]) -> dict[str, str]:
    rows = [row for row, name in enumerate(channels) if name not in found]
    names = [channels[row] for row in rows]
    if len(rows) < ENOUGH:
        return {}
    near = _neighbours(names)
    seconds = max(1, int(data.shape[1] / rate))
    best = []
    for part in np.array_split(data[rows], seconds, axis=1):
        part = part - part.mean(axis=1, keepdims=True)
        part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-30)
        best.append(np.where(near, np.abs(part @ part.T), 0.0).max(axis=1))
    broken = (np.array(best) < CORRELATION).mean(axis=0)
    return {
        name: f"uncorrelated with its neighbours {share:.0%} of the time"
        for name, share in zip(names, broken, strict=True)
        if share > BROKEN
    }


def _neighbours(names: Sequence[str]) -> np.ndarray:
    """(channel, channel) bool: True where the column is a neighbour of the row; never the channel itself."""
    others = ~np.eye(len(names), dtype=bool)
    if not all(map(electrodes.on_scalp, names)):
        return others
    where = electrodes.directions(names)
    closeness = np.where(others, where @ where.T, -np.inf)
    border = np.sort(closeness, axis=1)[:, -NEIGHBOURS, None]
    return np.asarray(closeness >= border)
