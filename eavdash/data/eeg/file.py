"""EEG recordings that MNE reads: one file (or folder), one recording.

In: a path, and start and stop in seconds. Out: an :class:`~eavdash.data.eeg.signal.EegSignal` in volt with canonical
channel names, or the properties in the header. Delegated to ``mne.io.read_raw``: every file format; to guard.py:
truncated and oversized files, which MNE would accept silently; to channels.py: which channels are read; to
interrupted.py: the times of EDF+D; to sidecar.py: what BIDS says of channels.

A recording may name further files: BrainVision's, EEGLAB's and split FIF headers, and references inside HDF5. Each must
be readable by the rules of :mod:`eavdash.store.readable`, in whatever format and however it is spelled.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from eavdash.config.limits import CHANNELS, EEG_VALUES, SECONDS
from eavdash.data.eeg.channels import Chosen, choose_channels
from eavdash.data.eeg.guard import check_before_opening
from eavdash.data.eeg.interrupted import Timeline, locate, timeline
from eavdash.data.eeg.sidecar import Sidecar, sidecar
from eavdash.data.eeg.signal import PACKAGE, EegInfo, EegRules, EegSignal, Remarks
from eavdash.data.formats.companions import foreign_companion, header_of
from eavdash.data.recording import refuse_beyond, sample_range, stamp, unreadable
from eavdash.errors import OutsideError, RecordingError
from eavdash.store.readable import check_readable, checked_opens

_RULES = EegRules()
_INSTALL = re.compile(r"^\s*pip install ([\w.-]+)$", re.MULTILINE)


def file_info(path: str, rules: EegRules = _RULES) -> EegInfo:
    """Read duration, rate and channels from the header.

    Raises:
        RecordingError: it cannot be read or has no EEG channel.
    """
    stamp(path)
    line = _timeline(path, rules)
    with _opened(path) as raw:
        beside = sidecar(path)
        chosen = _channels(path, raw, rules, beside)
        rate = float(raw.info["sfreq"])
        foreign = foreign_companion(path)
        remarks = Remarks(
            chosen.passed,
            chosen.skipped,
            chosen.repeated,
            chosen.reference,
            _marked(raw, chosen, beside),
            (*_bad_spans(raw, line), *beside.spans),
            _gaps(path),
            foreign.name if foreign else "",
        )
        duration = line.stretches[-1].stop if line else float(raw.n_times / rate)
        return EegInfo(duration, rate, tuple(chosen.read), tuple(chosen.others), chosen.system, remarks)


def read_file(
    path: str, start: float | None, stop: float | None, references: Sequence[str], rules: EegRules
) -> tuple[EegSignal, int]:
    """Read the segment from ``start`` to ``stop`` with those ``references`` that exist, and its first sample's number.

    Raises:
        RecordingError: unreadable, outside the file, or with a gap.
    """
    stamp(path)
    line = _timeline(path, rules)
    with _opened(path) as raw:
        beside = sidecar(path)
        chosen = _channels(path, raw, rules, beside)
        names = chosen.read
        kept = {name: chosen.others[name] for name in references if name in chosen.others}
        rate, length = float(raw.info["sfreq"]), int(raw.n_times)
        if line:
            first, last = locate(path, line, length, rate, start, stop)
        else:
            first, last = sample_range(path, length, rate, start, stop)
        rows = [*names.values(), *kept.values()]
        refuse_beyond(path, "samples of all channels in a trial", (last - first) * len(rows), EEG_VALUES)
        try:
            data = raw.get_data(picks=rows, start=first, stop=last, verbose="ERROR")
        except OutsideError:
            raise
        except Exception as error:  # each format's reader raises its own errors
            raise unreadable(path, "readable samples", error) from error
        marked = _marked(raw, chosen, beside)
    with np.errstate(over="ignore"):  # values beyond float32 become infinite and are rejected later
        data = data.astype(np.float32)
    aside = {name: data[len(names) + n] for n, name in enumerate(kept)}
    return EegSignal(data[: len(names)], rate, tuple(names), aside, chosen.system, marked), first


def _timeline(path: str, rules: EegRules) -> Timeline | None:
    return timeline(path) if rules.gaps == "refuse" else None


def _gaps(path: str) -> tuple[tuple[float, float], ...]:
    """The gaps of a file, also if they are ignored in counting."""
    try:
        line = timeline(path)
    except RecordingError:  # records in another order, which only matters where they are counted
        return ()
    return line.gaps if line else ()


def _channels(path: str, raw: Any, rules: EegRules, beside: Sidecar) -> Chosen:
    """Choose the channels of an opened recording after checking that it has samples."""
    try:
        kinds, rate = raw.get_channel_types(), float(raw.info["sfreq"])
    except Exception as error:  # channel types unknown to MNE
        raise unreadable(path, "an EEG recording that MNE reads", error) from error
    if not raw.n_times or not rate > 0:
        raise RecordingError.at(path, expected="a recording", found="no samples", remedy="copy it again")
    refuse_beyond(path, "channels", len(raw.ch_names), CHANNELS)
    refuse_beyond(path, "seconds", raw.n_times / rate, SECONDS)
    if rules.montage != "10-05":
        typed = {name: "eeg" if kind == "EEG" else "misc" for name, kind in beside.types.items()}
        kinds = [typed.get(name, kind) for name, kind in zip(raw.ch_names, kinds, strict=True)]
    return choose_channels(path, raw.ch_names, kinds, rules)


def _marked(raw: Any, chosen: Chosen, beside: Sidecar) -> tuple[str, ...]:
    """The read channels that the recording, or BIDS beside it, marks as bad."""
    bad = {*raw.info["bads"], *beside.bad}
    return tuple(name for name, row in chosen.read.items() if raw.ch_names[row] in bad)


def _bad_spans(raw: Any, line: Timeline | None) -> tuple[tuple[float, float], ...]:
    """Start and stop (seconds) of each annotation that MNE's users call bad: BAD_movement, bad segment."""
    if line:  # MNE drops annotations later than the samples that it counts
        return line.bad
    marks = [mark for mark in raw.annotations if str(mark["description"]).lower().startswith("bad")]
    onsets = [(float(mark["onset"]) - float(raw.first_time), float(mark["duration"])) for mark in marks]
    return tuple((onset, onset + duration) for onset, duration in onsets)


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    """Open an MNE recording, without warnings; what its reader raises becomes a RecordingError.

    Every file that MNE opens meanwhile is checked.
    """
    import mne

    check_before_opening(path)
    header = header_of(path)
    with warnings.catch_warnings(action="ignore"), checked_opens(mne.get_config_path()):
        try:
            raw = mne.io.read_raw(header, preload=False, verbose="ERROR")
        except OutsideError:
            raise
        except Exception as error:  # each format's reader raises its own errors
            if package := _INSTALL.search(str(error)):
                remedy = f"run: pip install {package[1]}"
                raise RecordingError.at(path, expected=PACKAGE, found=f"no {package[1]}", remedy=remedy) from error
            if _has_epochs(path, error):
                raise RecordingError.at(
                    path,
                    expected="a continuous recording, or the number of one of its epochs",
                    found="a file of epochs, and no number",
                    remedy=f"name an epoch for each trial, as in {Path(path).name}#1 for the first",
                ) from error
            raise unreadable(path, "an EEG recording that MNE reads", error) from error
        with closing(raw):
            yield raw
    check_readable(path)  # not replaced by a link while it was read


def _has_epochs(path: str, error: Exception) -> bool:
    """True if MNE refuses a file because its samples are epochs."""
    eeglab = path.lower().endswith(".set") and isinstance(error, TypeError) and "trials" in str(error)
    return eeglab or path.lower().endswith(("-epo.fif", "_epo.fif"))
