"""Measures of an EEG recording: flat and saturated channels, line noise, amplitude.

In: any file that is read as EEG (:mod:`eavdash.data.eeg.reading`), and trials or segments of it. Out: numbers. A file
of many trials is opened once; a long recording is read in segments of some minutes. Non-finite samples are rejected by
the reader itself, with the same message as in training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from eavdash.health.measures.base import Facts, Part, content_hash, runs_of_true

#: A channel is flat if it is constant for this share of a trial (in pieces of FLAT_PIECE seconds) ...
FLAT = 0.5
FLAT_PIECE = 0.2
#: ... or if its amplitude is below this share of the median channel's: an electrode that is not connected.
FLAT_AMPLITUDE = 0.02
#: A channel is saturated if this share of a trial is at its maximum or minimum for PLATEAU seconds or longer: an
#: amplifier stays at its limit, an EEG wave does not.
SATURATED = 0.01
PLATEAU = 0.04
#: Line noise: power within AT Hz of the mains frequency, relative to power BESIDE[0] to BESIDE[1] Hz away from it.
MAINS = (50.0, 60.0)
AT = 0.75
BESIDE = (2.0, 6.0)
_SPECTRUM = 2.0  # seconds per piece of the spectrum: half a Hz of resolution
_SEGMENT = 300.0  # seconds read at once
_MICROVOLT = 1e6


def measure(file: str, parts: Sequence[Part]) -> tuple[Facts, Callable[[Part], Facts]]:
    """Return facts of the whole file, and a function that measures a part of it."""
    from eavdash.data.eeg.reading import eeg_info

    info = eeg_info(parts[0].entry(file) if parts else file)
    facts: Facts = {"length": info.duration, "names": list(info.channels)}
    return facts, lambda part: _part(file, part)


def _part(file: str, part: Part) -> Facts:
    from eavdash.data.eeg.reading import eeg_info, read_eeg

    entry = part.entry(file)
    length = eeg_info(entry).duration
    start, stop = part.start or 0.0, min(part.stop or length, length)
    found: list[tuple[int, dict[str, np.ndarray]]] = []
    names: tuple[str, ...] = ()
    rate, hashed = 0.0, ""
    while start < stop:
        upto = stop if stop - start < 1.5 * _SEGMENT else start + _SEGMENT
        signal = read_eeg(entry, start, upto)
        names, rate = signal.channels, signal.rate
        found.append((signal.data.shape[1], of_signal(signal.data, rate)))
        if part.number is not None:
            hashed = content_hash(signal.data)
        start = upto
    if not found:
        return {"duration": 0.0, "samples": 0}
    lengths = np.array([n for n, _ in found], dtype=float)
    mean = {
        key: np.average(np.stack([m[key] for _, m in found]), axis=0, weights=lengths)
        for key in ("constant", "stuck", "amplitude", "noise50", "noise60")
    }
    varying = mean["amplitude"][mean["constant"] < FLAT]
    usual = float(np.median(varying)) if len(varying) else 0.0
    flat = (mean["constant"] >= FLAT) | (mean["amplitude"] < FLAT_AMPLITUDE * usual)
    saturated = ~flat & (mean["stuck"] >= SATURATED)
    facts = {
        **{
            "duration": float(lengths.sum() / rate),
            "rate": rate,
            "channels": len(names),
            "samples": int(lengths.sum()),
        },
        **{"amplitude": usual, "flat": int(flat.sum()), "saturated": int(saturated.sum())},
        "flat_channels": ", ".join(n for n, yes in zip(names, flat, strict=True) if yes),
        "saturated_channels": ", ".join(n for n, yes in zip(names, saturated, strict=True) if yes),
        **_line_noise({f: mean[f"noise{f:.0f}"][~flat] for f in MAINS}),
        **({"content": hashed} if hashed else {}),
    }
    return facts


def _line_noise(noise: dict[float, np.ndarray]) -> Facts:
    """The mains frequency with the higher relative power in the median channel, and that power."""
    known = {f: float(np.median(x)) for f, x in noise.items() if len(x) and np.isfinite(x).all()}
    if not known:
        return {}
    frequency = max(known, key=known.__getitem__)
    return {"line_noise": known[frequency], "line_frequency": frequency}


def of_signal(data: np.ndarray, rate: float) -> dict[str, np.ndarray]:
    """Measure each channel of (channel, time) volt.

    ``constant``: share without any change; ``stuck``: share at its extremes; ``amplitude``: standard deviation in µV;
    ``noise50`` and ``noise60``: power at that frequency relative to neighbouring frequencies, NaN if the rate is too
    low for it or the signal too short.
    """
    data = np.asarray(data, dtype=np.float64)
    piece = max(2, round(FLAT_PIECE * rate))
    whole = data.shape[1] // piece
    if whole:
        cut = data[:, : whole * piece].reshape(len(data), whole, piece)
        constant = (np.ptp(cut, axis=2) == 0).mean(axis=1)
    else:
        constant = (np.ptp(data, axis=1) == 0).astype(float)
    extreme = (data == data.max(axis=1, keepdims=True)) | (data == data.min(axis=1, keepdims=True))
    stuck = runs_of_true(extreme, max(5, round(PLATEAU * rate))).mean(axis=1)
    frequencies, power = _spectrum(data, rate)
    noise = {f"noise{f:.0f}": _relative_power(frequencies, power, f) for f in MAINS}
    return {"constant": constant, "stuck": stuck, "amplitude": data.std(axis=1) * _MICROVOLT, **noise}


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
    return np.divide(power[:, at].mean(axis=1), level, out=np.ones(len(power)), where=level > 0)
