"""EEG recordings that MNE reads: one file, one recording.

In: a path, and start and stop in seconds. Out: an :class:`~eavdash.data.eeg.signal.EegSignal` in volt with canonical
channel names, or the properties in the header. Delegated to ``mne.io.read_raw``: every file format. Truncated EDF and
BDF files, which MNE accepts silently, are detected here.

A recording may name further files: BrainVision's, EEGLAB's and split FIF headers, and references inside HDF5. Each must
be readable by the rules of :mod:`eavdash.store.readable`, in whatever format and however it is spelled.
"""

from __future__ import annotations

import contextlib
import re
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eavdash.data.eeg import electrodes
from eavdash.data.eeg.signal import EegInfo, EegSignal
from eavdash.data.formats.eav_mat import storage_problem
from eavdash.data.recording import refuse_beyond, sample_range, stamp, unreadable
from eavdash.errors import EavdashError, OutsideError, RecordingError
from eavdash.limits import CHANNELS, EEG_VALUES, HEADER_BYTES, SECONDS, unfolds
from eavdash.store.readable import check_readable, checked_opens, open_readable

_NUMBERED = re.compile(r"(.+)-[0-9]+")
_BRAINVISION_CHANNELS = re.compile(rb"^\s*NumberOfChannels\s*=\s*([0-9]{1,18})", re.IGNORECASE | re.MULTILINE)


def file_info(path: str) -> EegInfo:
    """Read duration, rate and channels from the header.

    Raises:
        RecordingError: it cannot be read or has no EEG channel.
    """
    stamp(path)
    with _OpenRecording(path) as raw:
        names, others = _channels(path, raw)
        rate = float(raw.info["sfreq"])
        return EegInfo(float(raw.n_times / rate), rate, tuple(names), tuple(others))


def read_file(path: str, start: float | None, stop: float | None, references: Sequence[str]) -> tuple[EegSignal, int]:
    """Read the segment from ``start`` to ``stop`` with those ``references`` that exist, and its first sample's number.

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


class _OpenRecording:
    """Context manager of an MNE recording, without warnings, closed afterwards; errors become RecordingErrors.

    Every file that MNE opens meanwhile is checked.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.quiet = contextlib.ExitStack()

    def __enter__(self) -> Any:
        import mne

        _refuse_references(self.path)
        _check_size(Path(self.path))
        if missing := _edf_missing_bytes(Path(self.path)):
            raise RecordingError.at(
                self.path,
                expected="as many samples as the header states",
                found=f"a file that ends {missing} bytes too early",
                remedy="copy it again",
            )
        self.quiet.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        try:
            self.quiet.enter_context(checked_opens(mne.get_config_path()))
            self.raw = mne.io.read_raw(self.path, preload=False, verbose="ERROR")
        except OutsideError:
            self.quiet.close()
            raise
        except Exception as error:  # each format's reader raises its own errors
            self.quiet.close()
            raise unreadable(self.path, "an EEG recording that MNE reads", error) from error
        return self.raw

    def __exit__(self, *details: object) -> None:
        self.raw.close()
        self.quiet.close()
        check_readable(self.path)  # not replaced by a link while it was read


def _refuse_references(path: str) -> None:
    """Refuse an HDF5 file that unfolds to too much, or with content in other files, which are opened unchecked.

    Raises:
        RecordingError: it does, or refers to another file.
    """
    if not _is_hdf5(path):
        return
    try:
        import h5py

        with h5py.File(path, "r") as file:
            seen: set[int] = set()
            values = 0
            groups: list[Any] = [file]
            while groups:
                group = groups.pop()
                for name in group:
                    link = group.get(name, getlink=True)
                    found: Any = group[name] if isinstance(link, h5py.HardLink) else None
                    outside = isinstance(found, h5py.Dataset) and (found.external or found.is_virtual)
                    if isinstance(link, h5py.ExternalLink) or outside:
                        raise RecordingError.at(
                            path, expected="a whole file", found="content in another", remedy="export it as one file"
                        )
                    values += found.size or 0 if isinstance(found, h5py.Dataset) else 0
                    refuse_beyond(path, "numbers in an HDF5 file", values, EEG_VALUES)
                    if isinstance(found, h5py.Group) and (at := h5py.h5o.get_info(found.id).addr) not in seen:
                        seen.add(at)
                        groups.append(found)
    except (ImportError, OSError, KeyError, ValueError, RuntimeError):
        return  # MNE reports the reason


def _is_hdf5(path: str) -> bool:
    """True if HDF5's signature is at the beginning of the file or after a block before it."""
    with (
        RecordingError.from_os(path, expected="a recording", remedy="fix its permissions"),
        open_readable(path) as file,
    ):
        for at in (0, *(512 * 2**n for n in range(12))):
            file.seek(at)
            if file.read(8) == b"\x89HDF\r\n\x1a\n":
                return True
    return False


def _check_size(path: Path) -> None:
    """Check the size that a header declares, before MNE reads it, which takes minutes or gigabytes if it is too large.

    Raises:
        RecordingError: it declares too many channels or seconds, or unfolds to too much.
    """
    suffix, name = path.suffix.lower(), str(path)
    try:
        with path.open("rb") as file:
            head = file.read(256)
            file.seek(-4, 2)
            unfolded = int.from_bytes(file.read(), "little")  # of a .gz, modulo 4 GiB
    except OSError:
        return  # a folder, or MNE reports the error
    if suffix in (".vhdr", ".ahdr"):
        refuse_beyond(name, "bytes of header", path.stat().st_size, HEADER_BYTES)
        declared = _BRAINVISION_CHANNELS.search(path.read_bytes())
        refuse_beyond(name, "channels", int(declared[1]) if declared else 0, CHANNELS)
    elif suffix in (".edf", ".bdf"):
        with contextlib.suppress(ValueError):  # MNE reports the error
            refuse_beyond(name, "channels", int(head[252:256]), CHANNELS)
            refuse_beyond(name, "seconds", int(head[236:244]) * float(head[244:252]), SECONDS)
    elif head.startswith(b"\x89HDF") and suffix != ".set":  # unfolds, and no format of EEG that MNE reads
        raise RecordingError.at(name, expected="an EEG recording", found="an HDF5 file", remedy="convert it")
    wrong = ""
    if suffix == ".set":
        with contextlib.suppress(struct.error, zlib.error), path.open("rb") as file:  # MNE reports the error
            wrong = storage_problem(file, EEG_VALUES)
    if suffix == ".gz" and unfolds(size := path.stat().st_size, unfolded):
        wrong = f"{size:,} bytes that unfold to {unfolded:,}"
    if wrong:
        raise RecordingError.at(name, expected="EEG that can be read", found=wrong, remedy="export it again")


def _edf_missing_bytes(path: Path) -> int:
    """Number of bytes missing from an EDF or BDF file by its header; 0 for complete files and other formats.

    MNE would silently read the rest. A header with an unknown length (-1) cannot be checked.
    """
    width = {".edf": 2, ".bdf": 3}.get(path.suffix.lower())
    if width is None:
        return 0
    try:
        with open_readable(path) as file:
            header = file.read(256)
            start, records, signals = int(header[184:192]), int(header[236:244]), int(header[252:256])
            file.seek(256 + signals * 216)
            samples = sum(int(file.read(8)) for _ in range(signals))
    except (ValueError, OSError):
        return 0  # not a valid header: MNE reports the error
    return max(0, start + max(0, records) * samples * width - path.stat().st_size)
