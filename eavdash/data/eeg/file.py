"""EEG recordings that MNE reads: one file, one recording.

In: a path, and start and stop in seconds. Out: an :class:`~eavdash.data.eeg.signal.EegSignal` in volt with canonical
channel names, or the properties in the header. Delegated to ``mne.io.read_raw``: every file format. Truncated EDF and
BDF files, which MNE accepts silently, are detected here.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from eavdash.data.eeg import electrodes
from eavdash.data.eeg.signal import EegInfo, EegSignal
from eavdash.data.recording import sample_range, stamp, unreadable
from eavdash.errors import EavdashError, RecordingError

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
        try:
            data = raw.get_data(picks=rows, start=first, stop=last, verbose="ERROR")
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
    """Open an MNE recording, without warnings; what its reader raises becomes a RecordingError."""
    import mne

    if missing := _edf_missing_bytes(Path(path)):
        raise RecordingError.at(
            path,
            expected="as many samples as the header states",
            found=f"a file that ends {missing} bytes too early",
            remedy="copy it again",
        )
    with warnings.catch_warnings(action="ignore"):
        try:
            raw = mne.io.read_raw(path, preload=False, verbose="ERROR")
        except Exception as error:  # each format's reader raises its own errors
            raise unreadable(path, "an EEG recording that MNE reads", error) from error
        with closing(raw):
            yield raw


def _edf_missing_bytes(path: Path) -> int:
    """Number of bytes missing from an EDF or BDF file by its header; 0 for complete files and other formats.

    MNE would silently read the rest. A header with an unknown length (-1) cannot be checked.
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
        return 0  # not a valid header: MNE reports the error
    return max(0, start + max(0, records) * samples * width - path.stat().st_size)
