"""EEG recordings that MNE reads: one file, one recording.

In: a path, and start and stop in seconds. Out: an :class:`~eavdash.data.eeg.signal.EegSignal` in volt with canonical
channel names, or the properties in the header. Delegated to ``mne.io.read_raw``: every file format; to guard.py:
truncated and oversized files, which MNE would accept silently.

A recording may name further files: BrainVision's, EEGLAB's and split FIF headers, and references inside HDF5. Each must
be readable by the rules of :mod:`eavdash.store.readable`, in whatever format and however it is spelled.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np

from eavdash.data.eeg import electrodes
from eavdash.data.eeg.guard import check_before_opening
from eavdash.data.eeg.signal import EegInfo, EegSignal
from eavdash.data.recording import refuse_beyond, sample_range, stamp, unreadable
from eavdash.errors import EavdashError, OutsideError, RecordingError
from eavdash.limits import CHANNELS, EEG_VALUES, SECONDS
from eavdash.store.readable import check_readable, checked_opens

_NUMBERED = re.compile(r"(.+)-[0-9]+")


def file_info(path: str) -> EegInfo:
    """Read duration, rate and channels from the header.

    Raises:
        RecordingError: it cannot be read or has no EEG channel.
    """
    stamp(path)
    with _opened(path) as raw:
        names, others = _channels(path, raw)
        rate = float(raw.info["sfreq"])
        return EegInfo(float(raw.n_times / rate), rate, tuple(names), tuple(others))


def read_file(path: str, start: float | None, stop: float | None, references: Sequence[str]) -> tuple[EegSignal, int]:
    """Read the segment from ``start`` to ``stop`` with those ``references`` that exist, and its first sample's number.

    Raises:
        RecordingError: unreadable, or outside the file.
    """
    stamp(path)
    with _opened(path) as raw:
        names, others = _channels(path, raw)
        kept = {name: others[name] for name in references if name in others}
        rate = float(raw.info["sfreq"])
        first, last = sample_range(path, int(raw.n_times), rate, start, stop)
        rows = [*names.values(), *kept.values()]
        refuse_beyond(path, "samples of all channels in a trial", (last - first) * len(rows), EEG_VALUES)
        try:
            data = raw.get_data(picks=rows, start=first, stop=last, verbose="ERROR")
        except OutsideError:
            raise
        except Exception as error:  # each format's reader raises its own errors
            raise unreadable(path, "readable samples", error) from error
    with np.errstate(over="ignore"):  # values beyond float32 become infinite and are rejected later
        data = data.astype(np.float32)
    beside = {name: data[len(names) + n] for n, name in enumerate(kept)}
    return EegSignal(data[: len(names)], rate, tuple(names), beside), first


def _channels(path: str, raw: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Choose the channels of an opened recording after checking that it has samples and no channel twice."""
    try:
        kinds, rate = raw.get_channel_types(), float(raw.info["sfreq"])
    except Exception as error:  # channel types unknown to MNE
        raise unreadable(path, "an EEG recording that MNE reads", error) from error
    if not raw.n_times or not rate > 0:
        raise RecordingError.at(path, expected="a recording", found="no samples", remedy="copy it again")
    refuse_beyond(path, "channels", len(raw.ch_names), CHANNELS)
    refuse_beyond(path, "seconds", raw.n_times / rate, SECONDS)
    # MNE numbers channels of equal names: Fp1-0, Fp1-1, which are not electrodes and would be ignored.
    stems = Counter(match[1] for match in map(_NUMBERED.fullmatch, raw.ch_names) if match)
    twice = [name for name, count in stems.items() if count > 1 and electrodes.on_scalp(electrodes.canonical(name))]
    if twice:
        raise _ambiguous_channels(path, f"{', '.join(twice)} more than once")
    return choose_channels(path, raw.ch_names, kinds)


def choose_channels(
    path: str, names: Sequence[str], kinds: Sequence[str] | None = None
) -> tuple[dict[str, int], dict[str, int]]:
    """Choose the channels to read from a recording, and return them and the others: canonical name → row.

    Scalp electrodes are read if there are any, else all channels of type EEG (``kinds`` in MNE's spelling).

    Raises:
        RecordingError: there is none, or a name occurs twice.
    """
    named = [electrodes.canonical(name) for name in names]
    eeg = [row for row, kind in enumerate(kinds or ["eeg"] * len(named)) if kind == "eeg"]
    rows = [row for row in eeg if electrodes.on_scalp(named[row])] or eeg
    twice = [name for name, count in Counter(named[row] for row in rows).items() if count > 1]
    if not rows or twice:
        raise _ambiguous_channels(
            path, f"{', '.join(twice)} more than once" if twice else ", ".join(names) or "no channel"
        )
    read = {named[row]: row for row in rows}
    beside = Counter(name for name in named if name not in read)
    return read, {name: row for row, name in enumerate(named) if beside[name] == 1}


def _ambiguous_channels(path: str, found: str) -> EavdashError:
    return RecordingError.at(
        path,
        expected="EEG channels, each name once",
        found=found,
        remedy="rename the channels or set their types in the file",
    )


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    """Open an MNE recording, without warnings; what its reader raises becomes a RecordingError.

    Every file that MNE opens meanwhile is checked.
    """
    import mne

    check_before_opening(path)
    with warnings.catch_warnings(action="ignore"), checked_opens(mne.get_config_path()):
        try:
            raw = mne.io.read_raw(path, preload=False, verbose="ERROR")
        except OutsideError:
            raise
        except Exception as error:  # each format's reader raises its own errors
            raise unreadable(path, "an EEG recording that MNE reads", error) from error
        with closing(raw):
            yield raw
    check_readable(path)  # not replaced by a link while it was read
