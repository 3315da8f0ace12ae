"""Bad channels of a trial: which they are and why, and interpolation from their neighbours.

In: a trial's :class:`~eavdash.data.eeg.signal.EegSignal` as recorded. Out: its bad channels with a :class:`Fault` each,
which the health check reports and preprocessing replaces; and the signal with them (and requested electrodes that the
file lacks) interpolated. Delegated to MNE: filtering and spherical splines on its 10-05 montage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from eavdash.data.eeg import electrodes
from eavdash.data.eeg.filters import band, notch
from eavdash.data.eeg.signal import EegSignal

#: The kinds of faults.
KINDS = ("flat", "saturated", "noisy", "weak", "uncorrelated")
#: Seconds without any change that make a channel flat, or half of a shorter trial.
FLAT = 5.0
#: A channel is also flat if pauses of so many seconds add up to this share of the trial: a loose contact.
PAUSE, PAUSED = 0.2, 0.5
#: A channel is saturated if it is at its maximum or minimum for so many seconds (and samples) in a row, again and again
#: until they add up to this share of the trial: an amplifier stays at its limit, an EEG wave does not.
PLATEAU, PLATEAU_SAMPLES, SATURATED = 0.04, 5, 0.01
#: Robust z of the logarithm of a channel's amplitude, and the factor by which it must differ from the others' median.
DEVIATION, FACTOR = 5.0, 3.0
#: Share of the others' median amplitude below which a channel is weak, however many there are: it is not connected.
UNCONNECTED = 0.02
#: A second is uncorrelated if no neighbour reaches this correlation; a channel is bad above this share of such seconds.
CORRELATION, BROKEN = 0.4, 0.4
#: Minimum number of channels for comparisons between them.
ENOUGH = 8
#: Number of electrodes that count as neighbours.
NEIGHBOURS = 6
#: Minimum share of good electrodes in a trial for interpolation.
GOOD = 0.5
_COMPARED_BAND = (1.0, 50.0)  # Hz: the band in which channels are compared


@dataclass(frozen=True)
class Fault:
    """The reason why a channel is bad: one of :data:`KINDS`, and a text with its extent."""

    kind: str
    text: str


def bad_channels(signal: EegSignal, mains: float = 0.0, rules: str = "all") -> dict[str, Fault]:
    """Find the bad channels of a trial, in the signal's order; ``mains`` Hz is removed first.

    Most rules are those of PREP (Bigdely-Shamlo et al. 2015, https://doi.org/10.3389/fninf.2015.00016), adapted from
    whole recordings to single trials. A channel has the first fault that applies:

    * flat: the samples do not change for 5 s, or for half of a trial shorter than 10 s (the limit of EEGLAB's
      ``clean_rawdata``); or* they pause for 0.2 s or longer during half of the trial.
    * saturated*: for 1 % of the trial the samples stay at their maximum or minimum, 0.04 s or longer each time.
    * noisy or weak, compared with the others: the amplitude (interquartile range, high-passed at 1 Hz) has a robust
      z-score beyond 5, as in PREP. Its logarithm is compared, since amplitudes are skewed and would otherwise never be
      too small; and it must be three times or a third of the median, since nearly equal channels have a tiny spread.
      Weak is also* an amplitude below 2 % of the median.
    * uncorrelated: in more than 40 % of the seconds no neighbour reaches an absolute correlation of 0.4 (1 to 50 Hz).
      PREP uses the same 0.4, among all channels and for 1 % of the seconds, of which a trial has too few; the 40 % are
      those of ``clean_rawdata``. Neighbours are the six nearest electrodes, or all channels if one is not in the
      montage.

    The parts with an asterisk are this program's own, and left out with ``rules`` "prep" (the value of eeg.bad_rules in
    studies of earlier versions). Comparisons with other channels need eight that are neither flat nor saturated, except
    for the 2 %.

    Two faults are not looked for. A bad reference affects all channels alike. Noise above 50 Hz (PREP's fourth rule) is
    muscle where people speak, and the default pass band removes it.
    """
    everything = rules == "all"
    faults = _still(signal, everything)
    moving = [name for name in signal.channels if name not in faults]
    if len(moving) >= (2 if everything else ENOUGH):
        seen = signal.pick(moving)
        data = notch(seen.data.astype(np.float64), seen.rate, mains) if mains else seen.data
        data = band(data, seen.rate, _COMPARED_BAND[0], min(_COMPARED_BAND[1], 0.45 * seen.rate))
        faults |= _deviating(data, moving, everything)
        faults |= _uncorrelated(data, seen, faults)
    return {name: faults[name] for name in signal.channels if name in faults}


def constant_runs(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first samples, and the lengths in samples, of the runs of equal samples that make up ``row`` (time,)."""
    edges = np.flatnonzero(np.concatenate([[True], np.diff(row) != 0, [True]]))
    return row[edges[:-1]], np.diff(edges)


def interpolate(signal: EegSignal, lacking: Sequence[str], bad: Sequence[str]) -> tuple[EegSignal, tuple[str, ...]]:
    """Interpolate the ``lacking`` and the ``bad`` electrodes; return the signal and the names of both.

    Bad channels that are not in the montage are kept. So are all bad ones if less than half of the electrodes would
    remain, too few to interpolate from.
    """
    placed = [name for name in signal.channels if electrodes.on_scalp(name, signal.system)]
    poor = [name for name in placed if name in bad]
    if len(placed) - len(poor) < GOOD * (len(placed) + len(lacking)):
        poor = []
    wanted, given = (*poor, *lacking), tuple(name for name in placed if name not in poor)
    if not wanted:
        return signal, ()
    channels = (*signal.channels, *lacking)
    data = np.concatenate([signal.data, np.zeros((len(lacking), signal.data.shape[1]), signal.data.dtype)])
    sources = signal.data[[signal.channels.index(name) for name in given]].astype(np.float64)
    data[[channels.index(name) for name in wanted]] = electrodes.spline_weights(wanted, given, signal.system) @ sources
    return replace(signal, data=data, channels=channels), wanted


def _still(signal: EegSignal, everything: bool) -> dict[str, Fault]:
    """The flat and, with ``everything``, the saturated channels."""
    faults = {}
    samples = signal.data.shape[1]
    for name, row in zip(signal.channels, signal.data, strict=True):
        values, lengths = constant_runs(row)
        seconds = lengths / signal.rate
        if seconds.max() >= min(FLAT, samples / signal.rate / 2):
            faults[name] = Fault("flat", f"flat for {seconds.max():.1f} s")
        elif everything:
            paused = lengths[(seconds >= PAUSE) & (lengths > 1)].sum() / samples
            at_limit = (values == row.max()) | (values == row.min())
            plateau = at_limit & (lengths >= max(PLATEAU_SAMPLES, round(PLATEAU * signal.rate)))
            saturated = lengths[plateau].sum() / samples
            if paused >= PAUSED:
                faults[name] = Fault("flat", f"flat for {paused:.0%} of the time")
            elif saturated >= SATURATED:
                faults[name] = Fault("saturated", f"saturated for {saturated:.0%} of the time")
    return faults


def _deviating(data: np.ndarray, channels: Sequence[str], everything: bool) -> dict[str, Fault]:
    quarters = np.percentile(data, [25, 75], axis=1)
    amplitude = np.maximum(quarters[1] - quarters[0], 1e-15)
    spread = np.log(amplitude)
    low, middle, high = np.percentile(spread, [25, 50, 75])
    z = (spread - middle) / max(0.7413 * (high - low), 1e-9)
    deviates = (np.abs(z) > DEVIATION) & (np.abs(spread - middle) > np.log(FACTOR)) & (len(channels) >= ENOUGH)
    if everything:
        deviates |= amplitude < UNCONNECTED * np.median(amplitude)
    faults = {}
    for row in map(int, np.flatnonzero(deviates)):
        kind, more = ("noisy", "noisier") if spread[row] > middle else ("weak", "weaker")
        times = np.exp(abs(spread[row] - middle))
        faults[channels[row]] = Fault(kind, f"{times:.1f} times {more} than the others")
    return faults


def _uncorrelated(data: np.ndarray, seen: EegSignal, found: dict[str, Fault]) -> dict[str, Fault]:
    rows = [row for row, name in enumerate(seen.channels) if name not in found]
    names = [seen.channels[row] for row in rows]
    if len(rows) < ENOUGH:
        return {}
    near = _neighbours(names, seen.system)
    seconds = max(1, int(data.shape[1] / seen.rate))
    best = []
    for part in np.array_split(data[rows], seconds, axis=1):
        part = part - part.mean(axis=1, keepdims=True)
        part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-30)
        best.append(np.where(near, np.abs(part @ part.T), 0.0).max(axis=1))
    broken = (np.array(best) < CORRELATION).mean(axis=0)
    return {
        name: Fault("uncorrelated", f"uncorrelated with its neighbours {share:.0%} of the time")
        for name, share in zip(names, broken, strict=True)
        if share > BROKEN
    }


def _neighbours(names: Sequence[str], system: str) -> np.ndarray:
    """(channel, channel) bool: True where the column is a neighbour of the row; never the channel itself."""
    others = ~np.eye(len(names), dtype=bool)
    if not all(electrodes.on_scalp(name, system) for name in names):
        return others
    where = electrodes.directions(names, system)
    closeness = np.where(others, where @ where.T, -np.inf)
    border = np.sort(closeness, axis=1)[:, -NEIGHBOURS, None]
    return np.asarray(closeness >= border)
