"""Checks of an EEG file before MNE opens it: what its header declares, whether it is whole, and what it refers to.

In: the path of a recording. Out: nothing, or an error; formats that are not known here are left to MNE.
"""

from __future__ import annotations

import contextlib
import re
import struct
import zlib
from pathlib import Path
from typing import Any

from eavdash.config.limits import CHANNELS, EEG_VALUES, HEADER_BYTES, SECONDS, unfolds
from eavdash.data.formats.companions import header_of, missing_companion
from eavdash.data.formats.eav_mat import storage_problem
from eavdash.data.recording import refuse_beyond
from eavdash.errors import RecordingError
from eavdash.store.readable import open_readable

#: How files of Nihon Kohden begin, which are .eeg too and need no header.
_NIHON = (b"EEG-", b"DAE-", b"QI-4")
#: Data files that are nothing without their header, and its suffix.
_HEADLESS = {".eeg": ".vhdr", ".vmrk": ".vhdr", ".fdt": ".set"}
_BRAINVISION_CHANNELS = re.compile(rb"^\s*NumberOfChannels\s*=\s*([0-9]{1,18})", re.IGNORECASE | re.MULTILINE)


def check_before_opening(path: str) -> None:
    """Check a file's references, declared size and length.

    Raises:
        OutsideError: it may not be read.
        RecordingError: it refers to other files that no check sees, declares or unfolds to too much, or is truncated.
    """
    path = header_of(path)
    _refuse_missing(path)
    if Path(path).is_dir():
        return
    _refuse_references(path)
    _check_size(Path(path))
    if missing := _edf_missing_bytes(Path(path)):
        raise RecordingError.at(
            path,
            expected="as many samples as the header states",
            found=f"a file that ends {missing} bytes too early",
            remedy="copy it again",
        )


def _refuse_missing(path: str) -> None:
    """Refuse a header without its samples, and samples without their header.

    Raises:
        RecordingError: a companion is missing.
    """
    file = Path(path)
    if missing := missing_companion(path):
        own = file.with_suffix(missing.suffix)
        there = f", but {own.name}" if own.is_file() else ""
        fix = f"write DataFile={own.name} into the header, a text file" if there else "copy it there"
        raise RecordingError.at(
            path,
            expected=f"the file of its samples that it names, {missing.name}",
            found=f"no such file{there}",
            remedy=f"{fix}, or give the files the names that they had when they were written",
        )
    header = _HEADLESS.get(file.suffix.lower())
    if header is None:
        return
    with (
        RecordingError.from_os(path, expected="a recording", remedy="fix its permissions"),
        open_readable(path) as opened,
    ):
        head = opened.read(4)
    if header != ".vhdr" or head not in _NIHON:
        raise RecordingError.at(
            path,
            expected=f"its header {file.with_suffix(header).name} beside it",
            found="this file alone",
            remedy="copy the header there and name it in the trial table",
        )


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
