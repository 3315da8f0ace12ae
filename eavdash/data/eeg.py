"""EEG of one trial: reading it, naming its channels, filtering it.

In: a path of the trial table: ``x.mat#41`` for trial 41 (from 1) of an EAV file, or anything that ``mne.io.read_raw``
reads, with start and stop in seconds. Out: an :class:`EegSignal` in volt with canonical channel names.

EAV's array is (time, 30 channels, trials), 500 Hz, taken as microvolt (https://zenodo.org/records/10205702).
Delegated to MNE: file formats and zero-phase Butterworth filtering; to SciPy: MATLAB files and polyphase resampling.
Every trial is filtered by itself: no trial's samples ever reach into another trial.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from eavdash.config import EegConfig
from eavdash.data import electrodes
from eavdash.data.eeg_mat import EAV_RATE, EAV_UNIT, check_trial, mat_array, mat_shape
from eavdash.data.recording import split_trial, stamp, stretch, unreadable
from eavdash.errors import DataError, RecordingError

FILTER_ORDER = 4  # of each edge; running it forwards and backwards doubles it
_PASS_LIMIT = 0.45  # of the sampling rate: the highest low-pass edge that leaves room for the filter's slope


@dataclass(frozen=True)
class EegSignal:
    """A stretch of EEG: ``data`` (channel, time) float32 volt at ``rate`` Hz, rows named by ``channels``."""

    data: np.ndarray
    rate: float
    channels: tuple[str, ...]

    def pick(self, channels: Sequence[str]) -> EegSignal:
        """The same stretch with exactly these channels, in this order; all of them must be there."""
        rows = [self.channels.index(name) for name in channels]
        return EegSignal(self.data[rows], self.rate, tuple(channels))


@dataclass(frozen=True)
class EegInfo:
    """What a recording's header says; ``duration`` in seconds, ``rate`` in Hz, canonical ``channels``."""

    duration: float
    rate: float
    channels: tuple[str, ...]


def eeg_info(path: str) -> EegInfo:
    """Duration, rate and scalp channels of a recording, from its header.

    Raises:
        RecordingError: it cannot be read or has no EEG channel.
    """
    return _info(path, stamp(path))


def read_eeg(path: str, start: float | None = None, stop: float | None = None) -> EegSignal:
    """The EEG between ``start`` and ``stop`` (seconds; None: the file's own), unfiltered.

    Only scalp channels are kept where there is at least one; else every channel that the file calls EEG.

    Raises:
        RecordingError: unreadable, truncated, wrong shape, outside the file, or not finite somewhere in the stretch.
    """
    file, trial = split_trial(path)
    if trial is None and file.lower().endswith(".mat"):
        raise RecordingError.at(
            file, expected="the number of a trial, as in x.mat#41", found="none", remedy="add it in the trial table"
        )
    if trial is not None:
        array = mat_array(file, stamp(file))
        check_trial(file, trial, array.shape)
        first, last = stretch(path, array.shape[0], EAV_RATE, start, stop)
        data = array[first:last, :, trial - 1].T.astype(np.float64) * EAV_UNIT
        channels, rate = electrodes.EAV_CHANNELS, EAV_RATE
    else:
        stamp(file)
        with _Opened(file) as raw:
            names, channels = _pick(file, raw)
            rate = float(raw.info["sfreq"])
            first, last = stretch(file, int(raw.n_times), rate, start, stop)
            try:
                data = raw.get_data(picks=names, start=first, stop=last, verbose="ERROR")
            except Exception as error:  # each format's reader fails in its own ways
                raise unreadable(file, "samples that can be read", error) from error
    _check_finite(path, data, channels, rate, first)
    return EegSignal(data.astype(np.float32), rate, channels)


def prepare_eeg(signal: EegSignal, config: EegConfig) -> EegSignal:
    """``signal`` band-passed (zero phase, Butterworth) and resampled to ``config.rate``.

    The low-pass edge is lowered to what the slower of the two rates can carry. The result has
    ``round(time * config.rate / rate)`` samples.

    Raises:
        DataError: the pass band is empty at this rate.
    """
    import mne

    high = min(config.high, _PASS_LIMIT * min(signal.rate, config.rate))
    if high <= config.low:
        raise DataError.at(
            "EEG",
            expected=f"a sampling rate that carries more than {config.low:g} Hz",
            found=f"{min(signal.rate, config.rate):g} Hz",
            remedy="lower eeg.low or raise eeg.rate",
        )
    data = mne.filter.filter_data(
        signal.data.astype(np.float64),
        signal.rate,
        config.low or None,
        high,
        method="iir",
        iir_params={"order": FILTER_ORDER, "ftype": "butter", "output": "sos"},
        phase="zero",
        verbose="ERROR",
    )
    data = _resample(data, signal.rate, config.rate)
    return EegSignal(data.astype(np.float32), config.rate, signal.channels)


def common_channels(paths: Iterable[str], wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """The channels to read from all of these recordings.

    ``wanted`` (any spelling) if given, else the channels that all have, in the order of the first.

    Raises:
        DataError: a wanted channel is missing from a recording, or the recordings have no channel in common.
    """
    names = tuple(dict.fromkeys(electrodes.canonical(name) for name in wanted))
    common: list[str] = []
    # The trials of one .mat share their channels: look at each file once.
    for n, path in enumerate({split_trial(path)[0]: path for path in paths}.values()):
        found = eeg_info(path).channels
        missing = [name for name in names if name not in found]
        if missing:
            raise RecordingError.at(
                path,
                expected=f"channels {', '.join(names)}",
                found=f"no {', '.join(missing)} among {', '.join(found)}",
                remedy="change eeg.channels or leave the recording out",
            )
        common = list(found) if n == 0 else [name for name in common if name in found]
        if not common:
            raise DataError.at(
                path,
                expected="a channel that all recordings of the run have",
                found=", ".join(found),
                remedy="name the channels alike or leave the recording out",
            )
    return names or tuple(common)


def release() -> None:
    """Forget the array of the last opened .mat (about half a gigabyte for a subject of EAV)."""
    mat_array.cache_clear()


class _Opened:
    """Context manager: an MNE recording that says nothing, is closed afterwards, and fails in one sentence."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.quiet = warnings.catch_warnings()

    def __enter__(self) -> Any:
        import mne

        if missing := _edf_missing_bytes(Path(self.path)):
            raise RecordingError.at(
                self.path,
                expected="as many samples as the header promises",
                found=f"a file that ends {missing} bytes too early",
                remedy="copy it again",
            )
        self.quiet.__enter__()
        warnings.simplefilter("ignore")
        try:
            self.raw = mne.io.read_raw(self.path, preload=False, verbose="ERROR")
        except Exception as error:  # each format's reader fails in its own ways
            self.quiet.__exit__(None, None, None)
            raise unreadable(self.path, "an EEG recording that MNE reads", error) from error
        return self.raw

    def __exit__(self, *details: object) -> None:
        self.raw.close()
        self.quiet.__exit__(None, None, None)


@lru_cache(maxsize=1024)
def _info(path: str, _stamp: tuple[int, int]) -> EegInfo:
    file, trial = split_trial(path)
    if trial is not None:
        shape = mat_shape(file, stamp(file))[1]
        check_trial(file, trial, shape)
        return EegInfo(shape[0] / EAV_RATE, EAV_RATE, electrodes.EAV_CHANNELS)
    with _Opened(file) as raw:
        rate = float(raw.info["sfreq"])
        return EegInfo(float(raw.n_times / rate), rate, _pick(file, raw)[1])


def _pick(path: str, raw: Any) -> tuple[list[str], tuple[str, ...]]:
    """The file's names and the canonical names of the channels to read."""
    kinds = raw.get_channel_types()
    pairs = [(n, electrodes.canonical(n)) for n, kind in zip(raw.ch_names, kinds, strict=True) if kind == "eeg"]
    pairs = [pair for pair in pairs if electrodes.on_scalp(pair[1])] or pairs
    twice = [name for name, count in Counter(name for _, name in pairs).items() if count > 1]
    if not pairs or twice:
        raise RecordingError.at(
            path,
            expected="EEG channels, each name once",
            found=f"{', '.join(twice)} more than once" if twice else f"{', '.join(raw.ch_names) or 'no channel'}",
            remedy="rename the channels or set their types in the file",
        )
    return [name for name, _ in pairs], tuple(name for _, name in pairs)


def _check_finite(path: str, data: np.ndarray, channels: Sequence[str], rate: float, first: int) -> None:
    bad = np.argwhere(~np.isfinite(data))
    if len(bad):
        row, sample = bad[0]
        raise RecordingError.at(
            path,
            expected="finite samples",
            found=f"{len(bad)} that are not, the first in {channels[row]} at {(first + sample) / rate:.3f} s",
            remedy="mend the recording or leave the trial out",
        )


def _resample(data: np.ndarray, rate: float, target: float) -> np.ndarray:
    from scipy.signal import resample_poly

    length = max(1, round(data.shape[-1] * target / rate))
    if rate == target:
        return data
    ratio = Fraction(target / rate).limit_denominator(1000)
    data = resample_poly(data, ratio.numerator, ratio.denominator, axis=-1, padtype="line")[..., :length]
    return np.pad(data, ((0, 0), (0, length - data.shape[-1])), mode="edge")


def _edf_missing_bytes(path: Path) -> int:
    """How many bytes short of its header's promise an EDF or BDF file is; 0 for complete files and other formats.

    MNE would read what is left without a word. A header that does not know the length (-1) promises nothing.
    """
    width = {".edf": 2, ".bdf": 3}.get(path.suffix.lower())
    if width is None:
        return 0
    try:
        with path.open("rb") as file:
            header = file.read(256)
            start, records, signals = int(header[184:192]), int(header[236:244]), int(header[252:256])
            file.seek(256 + signals * 216)
            samples = sum(int(file.read(8)) for _ in range(signals))
    except (ValueError, OSError):
        return 0  # not a header: MNE says what is wrong with it
    return max(0, start + max(0, records) * samples * width - path.stat().st_size)
