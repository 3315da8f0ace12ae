"""Measures of an EEG recording: bad channels, line noise, amplitude.

In: any file that is read as EEG (:mod:`eavdash.data.eeg.reading`), and trials or segments of it. Out: numbers. A file
of many trials is opened once; a long recording is read in segments of some minutes. Non-finite samples are rejected by
the reader itself, with the same message as in training. Delegated to :mod:`eavdash.data.eeg.bad`: which channels are
bad and why, as in preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np

from eavdash.data.eeg.bad import KINDS, Fault, bad_channels
from eavdash.data.eeg.signal import EegRules
from eavdash.health.measures.base import Facts, Part, content_hash

#: Line noise: power within AT Hz of the mains frequency, relative to power BESIDE[0] to BESIDE[1] Hz away from it.
MAINS = (50.0, 60.0)
AT = 0.75
BESIDE = (2.0, 6.0)
_SPECTRUM = 2.0  # seconds per piece of the spectrum: half a Hz of resolution
_SEGMENT = 300.0  # seconds read at once
_MICROVOLT = 1e6
_MOMENT = 1e-3  # seconds
_RULES = EegRules()


def measure(
    file: str, parts: Sequence[Part], mains: float = 0.0, rules: EegRules = _RULES
) -> tuple[Facts, Callable[[Part], Facts]]:
    """Return facts of the whole file, and a function that measures a part of it.

    Bad channels are those without the ``mains`` (Hz; 0: as recorded), which the study's notch removes. A part longer
    than some minutes is measured in segments, and a channel counts as bad if it is bad in one of them.
    """
    from eavdash.data.eeg.reading import eeg_info

    info = eeg_info(parts[0].entry(file) if parts else file, rules)
    facts: Facts = {"length": info.duration, "names": list(info.channels), "system": info.system}
    facts["remarks"] = {name: value for name, value in asdict(info.remarks).items() if value}
    return facts, lambda part: _part(file, part, mains, rules)


def _part(file: str, part: Part, mains: float, rules: EegRules) -> Facts:
    from eavdash.data.eeg.reading import eeg_info, read_eeg

    entry = part.entry(file)
    info = eeg_info(entry, rules)
    length = info.duration
    start, stop = part.start or 0.0, min(part.stop or length, length)
    found: list[tuple[int, dict[str, np.ndarray]]] = []
    names: tuple[str, ...] = ()
    faults: dict[str, Fault] = {}
    rate, hashed = 0.0, ""
    while start < stop:
        upto = stop if stop - start < 1.5 * _SEGMENT else start + _SEGMENT
        signal = read_eeg(entry, start, upto, rules=rules)
        names, rate = signal.channels, signal.rate
        found.append((signal.data.shape[1], of_signal(signal.data, rate)))
        faults = {**bad_channels(signal, mains), **faults}
        if part.number is not None:
            hashed = content_hash(signal.data)
        start = upto
    if not found:
        return {"duration": 0.0, "samples": 0}
    lengths = np.array([n for n, _ in found], dtype=float)
    mean = {
        key: np.average(np.stack([m[key] for _, m in found]), axis=0, weights=lengths)
        for key in ("amplitude", "noise50", "noise60")
    }
    bad = {kind: [name for name in names if name in faults and faults[name].kind == kind] for kind in KINDS}
    connected = np.array([name not in (*bad["flat"], *bad["weak"]) for name in names])
    return {
        "duration": float(lengths.sum() / rate),
        "rate": rate,
        "channels": len(names),
        "samples": int(lengths.sum()),
        "amplitude": float(np.median(mean["amplitude"][connected])) if connected.any() else 0.0,
        **{kind: len(of) for kind, of in bad.items()},
        **{f"{kind}_channels": ", ".join(of) for kind, of in bad.items()},
        "marked": _overlap(info.remarks.spans, part.start or 0.0, stop),
        **_line_noise({f: mean[f"noise{f:.0f}"][connected] for f in MAINS}),
        **({"content": hashed} if hashed else {}),
    }


def _overlap(spans: Sequence[tuple[float, float]], start: float, stop: float) -> float:
    """Seconds between ``start`` and ``stop`` that are under one of the ``spans``, which may overlap; marks of no length
    count as a moment.
    """
    total, upto = 0.0, start
    for begin, end in sorted(spans):
        if begin <= stop and end >= start:
            total += max(0.0, min(end, stop) - max(begin, upto)) or _MOMENT * (begin == end)
            upto = max(upto, min(end, stop))
    return total


def _line_noise(noise: dict[float, np.ndarray]) -> Facts:
    """The mains frequency with the higher relative power in the median channel, and that power."""
    known = {f: float(np.median(x)) for f, x in noise.items() if len(x) and np.isfinite(x).all()}
    if not known:
        return {}
    frequency = max(known, key=known.__getitem__)
    return {"line_noise": known[frequency], "line_frequency": frequency}


def of_signal(data: np.ndarray, rate: float) -> dict[str, np.ndarray]:
    """Measure each channel of (channel, time) volt.

    ``amplitude``: standard deviation in µV; ``noise50`` and ``noise60``: power at that frequency relative to
    neighbouring frequencies, NaN if the rate is too low for it or the signal too short.
    """
    data = np.asarray(data, dtype=np.float64)
    frequencies, power = _spectrum(data, rate)
    noise = {f"noise{f:.0f}": _relative_power(frequencies, power, f) for f in MAINS}
    return {"amplitude": data.std(axis=1) * _MICROVOLT, **noise}


def _spectrum(data: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and power (channel, frequency), the mean over Hann-windowed pieces; empty for less than one piece."""
    length = round(_SPECTRUM * rate)
    whole = data.shape[1] // length if length else 0
    if not whole:
        return np.zeros(0), np.zeros((len(data), 0))
    pieces = data[:, : whole * length].reshape(len(data), whole, length)
    pieces = (pieces - pieces.mean(axis=2, keepdims=True)) * np.hanning(length)
    power = (np.abs(np.fft.rfft(pieces, axis=2)) ** 2).mean(axis=1)
    return np.fft.rfftfreq(length, 1 / rate), power


def _relative_power(frequencies: np.ndarray, power: np.ndarray, mains: float) -> np.ndarray:
    away = np.abs(frequencies - mains)
    at, beside = away <= AT, (away >= BESIDE[0]) & (away <= BESIDE[1])
    # The recorder's own filter attenuates the highest frequencies, so they cannot be compared with.
    beside &= frequencies < 0.45 * (2 * frequencies[-1] if len(frequencies) else 0)
    if not len(frequencies) or frequencies[-1] < mains + BESIDE[0] or beside.sum() < 4:
        return np.full(len(power), np.nan)
    level = power[:, beside].mean(axis=1)
    relative = np.ones(len(power))
    np.divide(power[:, at].mean(axis=1), level, out=relative, where=level > 0)
    return relative
