"""The EEG chain of EAV's published code, exactly, including its filtering across trial borders.

In: a trial of an EAV ``.mat``. Out: that trial at ``eeg.rate`` Hz, volt. The published loader (Lee et al. 2024,
Scientific Data 11:1026) concatenates *all* trials of a file, listening and speaking, in file order, into one signal per
channel; resamples it (polyphase, 500 to 100 Hz); filters it forwards only (5th-order Butterworth, 0.5 to 45 Hz); and
cuts it into trials again. Each border is a step between two offsets, and it rings for seconds: the beginning of a trial
depends on the previous trial, which may be in another split. That is data leakage. It is kept to reproduce the
published figures; the chain "trial" has no such leakage.

Nothing is delegated to MNE: its forward filter pads the ends, and the published one starts at zero state.

In all other formats the order of trials is unknown, so the same filters run over each trial separately, from zero
state: nothing crosses a border, but each trial rings from its own offset. EAV's published pickles are already the
result of this chain and are only resampled to ``eeg.rate``.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from eavdash.config.schema import EegConfig
from eavdash.data.eeg.electrodes import EAV_CHANNELS
from eavdash.data.eeg.filters import edges, rate_too_low, resample
from eavdash.data.eeg.mat import EAV_RATE, EAV_UNIT, mat_shape, read_cube
from eavdash.data.eeg.signal import EegSignal
from eavdash.data.polyphase import Decimator
from eavdash.data.recording import per_file, sample_range
from eavdash.errors import RecordingError

ORDER = 5


def published_trial(
    file: str,
    number: int,
    config: EegConfig,
    start: float | None = None,
    stop: float | None = None,
    threads: int = 1,
) -> EegSignal:
    """Read trial ``number`` (from 1) of an EAV file at ``config.rate``, (30, time) float32 volt.

    The filtered signal (a tenth of the file's size) is cached for the next trial; the file itself is not.

    Raises:
        RecordingError: it cannot be read, or a sample of *any* trial is not finite: the filter would propagate it.
    """
    samples = mat_shape(file)[1][0]
    whole = _filtered(file, config.rate, config.low, config.high, threads)
    begin, end = (round((number - 1 + k) * samples * config.rate / EAV_RATE) for k in (0, 1))
    data = whole[:, begin:end]
    first, last = sample_range(f"{file}#{number}", data.shape[1], config.rate, start, stop)
    return EegSignal(data[:, first:last], config.rate, EAV_CHANNELS)


def causal_chain(signal: EegSignal, config: EegConfig) -> EegSignal:
    """Apply the same two steps to ``signal`` alone."""
    low, high = edges(config.low, config.high, signal.rate, config.rate)
    data = resample(signal.data.astype(np.float64), signal.rate, config.rate, pad="constant")
    data = _filter_forward(_design_filter(low, high, config.rate), data)
    return EegSignal(data.astype(np.float32), config.rate, signal.channels)


def resample_only(signal: EegSignal, config: EegConfig) -> EegSignal:
    """Resample a signal that the chain has already processed to ``config.rate``."""
    data = resample(signal.data.astype(np.float64), signal.rate, config.rate)
    return EegSignal(data.astype(np.float32), config.rate, signal.channels)


@per_file(1)
def _filtered(file: str, rate: float, low: float, high: float, threads: int) -> np.ndarray:
    """(30, time of all trials) float32 volt."""
    if high >= rate / 2:  # the edge is not lowered: that would be another chain
        raise rate_too_low(high, rate, "eeg.high")
    sections = _design_filter(low, high, rate)
    cube = read_cube(file)
    time, channels, trials = cube.shape
    whole = np.empty((channels, round(trials * time * rate / EAV_RATE)), np.float32)
    slower = _downsampler(rate)

    def convert(channel: int) -> None:
        joined = np.ascontiguousarray(cube[:, channel, :].T)  # (trial, time), as stored
        _check_finite(file, joined, channel)
        whole[channel] = _filter_forward(sections, slower(joined.reshape(-1))) * EAV_UNIT

    # A few channels at a time: all in float64 would take half a gigabyte. One BLAS thread each, as nested threads would
    # compete.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        list(pool.map(convert, range(channels)))
    whole.flags.writeable = False  # it is cached
    return whole


def _downsampler(rate: float) -> Callable[[np.ndarray], np.ndarray]:
    """A function that resamples one channel, (time,), from the file's rate, with zeros beyond the ends."""
    from scipy.signal import resample_poly

    down = int(EAV_RATE / rate)
    if down * rate != EAV_RATE:
        return lambda signal: resample(signal[None].astype(np.float64), EAV_RATE, rate, pad="constant")[0]
    return Decimator.like(lambda signals: resample_poly(signals, 1, down, axis=1), down, 10 * down, np.float64)


def _design_filter(low: float, high: float, rate: float) -> Any:
    from scipy.signal import butter

    if low:
        return butter(ORDER, (low, high), btype="bandpass", fs=rate, output="sos")
    return butter(ORDER, high, btype="lowpass", fs=rate, output="sos")


def _filter_forward(sections: Any, data: np.ndarray) -> np.ndarray:
    from scipy.signal import sosfilt

    return np.asarray(sosfilt(sections, data, axis=-1))


def _check_finite(file: str, joined: np.ndarray, channel: int) -> None:
    bad = ~np.isfinite(joined)
    if bad.any():
        number, sample = np.argwhere(bad)[0]
        raise RecordingError.at(
            f"{file}#{number + 1}",
            expected='finite samples in every trial of the file, as eeg.chain "published" filters across them',
            found=f"{bad.sum()} that are not, the first in {EAV_CHANNELS[channel]} at {sample / EAV_RATE:.3f} s",
            remedy='replace the recording or choose eeg.chain "trial"',
        )
