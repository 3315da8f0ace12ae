"""Preprocessing of one trial's EEG: from the raw signal to an encoder's input.

In: an :class:`~eavdash.data.eeg.signal.EegSignal`, an :class:`~eavdash.config.schema.EegConfig`, and the channels that
the study reads. Out: a :class:`Prepared` signal. Delegated to MNE: filters and interpolation; to SciPy: resampling.

Chain "trial". Samples of other trials have no influence. The order of its steps, with reasons:

1. Bad channels are detected on the raw signal (high-passed for detection only, and without the mains if a notch is
   set): every later step would spread them.
2. They, and requested electrodes that the file lacks, are interpolated, from good channels only.
3. The reference is changed. An average with a bad channel in it would put that channel's noise into all others, so this
   comes after 2; a reference channel is filtered with the rest, so it may come before 4.
4. The mains notch, at the file's own rate, before resampling aliases its harmonics.
5. The pass band, after the notch, so that strong hum does not ring at the edges of a steeper filter; and before 6,
   whose own filter then has nothing left to remove.
6. Resampling.
7. Rejection (:func:`exceeding`), then 8. clipping: both refer to the signal that the encoder reads, and rejection needs
   unclipped amplitudes.

Chain "published": see :mod:`eavdash.data.eeg.published`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from eavdash.config.schema import EegConfig
from eavdash.data.eeg import electrodes
from eavdash.data.eeg.bad import Fault, bad_channels, interpolate
from eavdash.data.eeg.filters import band, edges, notch, resample
from eavdash.data.eeg.published import causal_chain
from eavdash.data.eeg.signal import EegSignal
from eavdash.errors import ConfigError, DataError

MICROVOLT = 1e-6


@dataclass(frozen=True)
class Prepared:
    """A trial after steps 1 to 6, its interpolated channels, and the bad channels that were ``left``, with reasons."""

    signal: EegSignal
    interpolated: tuple[str, ...] = ()
    left: dict[str, str] = field(default_factory=dict)


def prepare(signal: EegSignal, config: EegConfig, channels: Sequence[str] = ()) -> Prepared:
    """Apply steps 1 to 6 to ``signal``, with exactly ``channels`` (empty: its own), at ``config.rate``.

    The low-pass edge is lowered to the maximum for the lower of the two rates. The result has ``round(time *
    config.rate / rate)`` samples.

    Raises:
        DataError: the pass band is empty at this rate, or a channel is missing and not interpolated.
        ConfigError: the chain "published" is combined with settings that it does not support.
    """
    channels = tuple(channels) or signal.channels
    if config.chain == "published":
        check_published(config)
        return Prepared(causal_chain(_pick_channels(signal, channels), config))
    low, high = edges(config.low, config.high, signal.rate, config.rate)
    interpolated: tuple[str, ...] = ()
    bad: dict[str, Fault] = {}
    if config.bad_channels == "interpolate":
        bad = bad_channels(signal, config.notch, config.bad_rules)
        if config.marked_channels:
            bad = {name: Fault("marked", "marked as bad in the recording") for name in signal.marked} | bad
        lacking = [name for name in channels if name not in signal.channels]
        signal, interpolated = interpolate(signal, lacking, list(bad))
    signal = _pick_channels(rereference(signal, config.reference), channels)
    data = signal.data.astype(np.float64)
    if config.notch:
        data = notch(data, signal.rate, config.notch)
    data = resample(band(data, signal.rate, low, high), signal.rate, config.rate)
    left = {name: fault.text for name, fault in bad.items() if name in channels and name not in interpolated}
    repaired = tuple(name for name in channels if name in interpolated)
    return Prepared(EegSignal(data.astype(np.float32), config.rate, signal.channels), repaired, left)


def reference_channels(reference: str) -> tuple[str, ...]:
    """The channels (canonical) joined by "+" in ``eeg.reference``; none for "" and "average".

    Raises:
        ConfigError: a name is empty.
    """
    if reference in ("", "average"):
        return ()
    names = tuple(dict.fromkeys(electrodes.canonical(name) for name in reference.split("+")))
    if not all(names):
        raise ConfigError.at(
            "eeg.reference",
            expected='"average", or names of channels joined by "+"',
            found=f'"{reference}"',
            remedy="write it as in A1+A2",
        )
    return names


def rereference(signal: EegSignal, reference: str) -> EegSignal:
    """Re-reference ``signal`` to the mean of its channels ("average") or of the named ones, which may be in ``others``.

    A channel that is the reference itself becomes zero. The average includes all channels of the trial, also those that
    the study does not read: the more of the head it covers, the closer it is to zero potential.

    Raises:
        DataError: a named channel is missing.
    """
    if not reference:
        return signal
    rows = {**signal.others, **dict(zip(signal.channels, signal.data, strict=True))}
    names = signal.channels if reference == "average" else reference_channels(reference)
    if missing := [name for name in names if name not in rows]:
        raise DataError.at(
            "EEG",
            expected=f"the reference {reference}",
            found=f"no {', '.join(missing)} among {', '.join(rows)}",
            remedy="change eeg.reference or leave the recording out",
        )
    mean = np.mean([rows[name] for name in names], axis=0, dtype=np.float64)
    return replace(signal, data=(signal.data - mean).astype(np.float32))


def exceeding(signal: EegSignal, spans: Sequence[tuple[float, float]], limit: float) -> list[int]:
    """Numbers of the windows (``spans``, seconds) in which a channel exceeds ``limit`` µV peak to peak; 0: no limit."""
    if not limit:
        return []
    cuts = [signal.data[:, round(a * signal.rate) : round(b * signal.rate)] for a, b in spans]
    return [n for n, cut in enumerate(cuts) if cut.size and np.ptp(cut, axis=1).max() > limit * MICROVOLT]


def touching(spans: Sequence[tuple[float, float]], bad: Sequence[tuple[float, float]], start: float) -> list[int]:
    """Numbers of the windows (``spans``, seconds from the trial's ``start``) that a time of ``bad`` (seconds) touches.

    A mark without a duration touches the window that it is in.
    """

    def touches(window: tuple[float, float], mark: tuple[float, float]) -> bool:
        begin, end = start + window[0], start + window[1]
        return mark[0] < end and (mark[1] > begin or mark[0] == mark[1] == begin)

    return [n for n, window in enumerate(spans) if any(touches(window, mark) for mark in bad)]


def clip(signal: EegSignal, limit: float) -> EegSignal:
    """Clip amplitudes to ``limit`` µV on either side of zero; 0: no clipping.

    Zero is each channel's own mean if ``eeg.low`` is above 0.
    """
    if not limit:
        return signal
    return replace(signal, data=np.clip(signal.data, -limit * MICROVOLT, limit * MICROVOLT))


def check_published(config: EegConfig) -> None:
    """Raise a ConfigError if the chain "published" is combined with steps that the published code does not have."""
    extra = {
        "notch": config.notch != 0,
        "reference": config.reference != "",
        "bad_channels": config.bad_channels != "keep",
        "clip": config.clip != 0,
    }
    if on := [f"eeg.{name}" for name, is_set in extra.items() if is_set]:
        raise ConfigError.at(
            'eeg.chain "published"',
            expected="no further steps, as it is the unchanged chain of the published code",
            found=" and ".join(on),
            remedy='leave them at their defaults or choose eeg.chain "trial"',
        )


def _pick_channels(signal: EegSignal, channels: Sequence[str]) -> EegSignal:
    if missing := [name for name in channels if name not in signal.channels]:
        raise DataError.at(
            "EEG",
            expected=f"channels {', '.join(channels)}",
            found=f"no {', '.join(missing)}",
            remedy="change eeg.channels or leave the recording out",
        )
    return signal.pick(channels)
