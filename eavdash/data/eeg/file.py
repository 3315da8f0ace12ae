"""EEG recordings that MNE reads: one file, one recording.

In: a path, and start and stop in seconds. Out: an :class:`~eavdash.data.eeg.signal.EegSignal` in volt with canonical
channel names, or what the header says. Delegated to ``mne.io.read_raw``: every file format. Checked here, because MNE
says nothing: an EDF or BDF file that ends before its header's promise.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eavdash.data.eeg import electrodes
from eavdash.data.eeg.signal import EegInfo, EegSignal
from eavdash.data.recording import sample_range, stamp, unreadable
from eavdash.errors import EavdashError, RecordingError

_NUMBERED = re.compile(r"(.+)-[0-9]+")


def file_info(path: str) -> EegInfo:
    """Duration, rate and channels, from the header.

    Raises:
        RecordingError: it cannot be read or has no EEG channel.
    """
    stamp(path)
    with _OpenRecording(path) as raw:
        names, others = _channels(path, raw)
        rate = float(raw.info["sfreq"])
        return EegInfo(float(raw.n_times / rate), rate, tuple(names), tuple(others))


def read_file(path: str, start: float | None, stop: float | None, references: Sequence[str]) -> tuple[EegSignal, int]:
    """The stretch from ``start`` to ``stop``, with the ``references`` that are there, and its first sample's number.

    Raises:
        RecordingError: unreadable, or outside the file.
    """
    stamp(path)
    with _OpenRecording(path) as raw:
        names, others = _channels(path, raw)
        kept = {name: others[name] for name in references if name in others}
        rate = float(raw.info["sfreq"])
        first, last = sample_range(path, int(raw.n_times), rate, start, stop)
        rows = [*names.values(), *kept.values()]
        try:
            data = raw.get_data(picks=rows, start=first, stop=last, verbose="ERROR")
        except Exception as error:  # each format's reader fails in its own ways
            raise unreadable(path, "samples that can be read", error) from error
    with np.errstate(over="ignore"):  # what float32 does not hold becomes infinite, and is refused as such
        data = data.astype(np.float32)
    beside = {name: data[len(names) + n] for n, name in enumerate(kept)}
    return EegSignal(data[: len(names)], rate, tuple(names), beside), first


def _channels(path: str, raw: Any) -> tuple[dict[str, int], dict[str, int]]:
    """As :func:`chosen`, of an opened recording that has samples and no channel twice."""
    try:
        kinds, rate = raw.get_channel_types(), float(raw.info["sfreq"])
    except Exception as error:  # kinds of channels that MNE does not know
        raise unreadable(path, "an EEG recording that MNE reads", error) from error
    if not raw.n_times or not rate > 0:
        raise RecordingError.at(path, expected="a recording", found="one without a sample", remedy="copy it again")
    # MNE numbers channels of one name: Fp1-0, Fp1-1, which are on no scalp and would be passed over.
    stems = Counter(match[1] for match in map(_NUMBERED.fullmatch, raw.ch_names) if match)
    twice = [name for name, count in stems.items() if count > 1 and electrodes.on_scalp(electrodes.canonical(name))]
    if twice:
        raise _ambiguous_channels(path, f"{', '.join(twice)} more than once")
    return chosen(path, raw.ch_names, kinds)


def chosen(
    path: str, names: Sequence[str], kinds: Sequence[str] | None = None
) -> tuple[dict[str, int], dict[str, int]]:
    """Which of a recording's channels are read, and which others it has: canonical name → row.

    Read are those on the scalp if there is one, else all that the file calls EEG (``kinds`` as MNE spells them).

    Raises:
        RecordingError: there is none, or one twice.
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


class _OpenRecording:
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
