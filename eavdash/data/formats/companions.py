"""The files of a recording: the one in the trial table and those that belong to it.

In: a path of the trial table. Out: the header through which it is read, all of its files, and what is wrong with them:
a companion that is missing, or that is named like another recording's. BrainVision's header names its companions, as
does EEGLAB's; those of split FIF, Nihon Kohden, Persyst and Curry are in the same folder. A folder (.mff) has those
inside it.
"""

from __future__ import annotations

import contextlib
import os
from itertools import count, takewhile
from pathlib import Path

from eavdash.data.formats.eeglab import samples_name
from eavdash.data.recording import FOLDERS, folder_files, split_item
from eavdash.store.readable import check_readable, open_readable

_BRAINVISION = (".vhdr", ".ahdr")
#: Suffixes of the companions in the same folder, for formats that do not name them.
_BESIDE = {".eeg": (".pnt", ".log", ".21e"), ".lay": (".dat",), ".cdt": (".cdt.dpa", ".cdt.dpo")}
#: Data files that tables name instead of the header, and the header's suffix.
_HEADERS = {".eeg": ".vhdr", ".vmrk": ".vhdr", ".avg": ".ahdr", ".amrk": ".ahdr", ".fdt": ".set"}


def header_of(path: str) -> str:
    """The file to open for a recording: for a BrainVision or EEGLAB data file the header of that name, if it exists."""
    file = Path(path)
    suffix = _HEADERS.get(file.suffix.lower(), "")
    for end in (suffix, suffix.upper()) if suffix else ():
        if (header := file.with_suffix(end)).is_file():
            return str(header)
    return path


def files_of(path: str) -> list[Path]:
    """The files of a recording that exist: the one in the table first, then its companions."""
    file = Path(header_of(split_item(path)[0]))
    suffix = file.suffix.lower()
    others: list[Path] = []
    if suffix in FOLDERS and file.is_dir():
        return folder_files(file)
    if suffix in _BRAINVISION:
        others = referenced_files(file)
    elif suffix == ".fif":
        parts = (file.with_name(f"{file.stem}-{n}{file.suffix}") for n in count(1))
        others = list(takewhile(Path.is_file, parts))
    elif suffix == ".set":
        named = _named_samples(file)
        others = [named] if named and named.is_file() else _own(file, ".fdt")
    elif suffix in _BESIDE:
        others = [one for end in _BESIDE[suffix] for one in _own(file, end)]
    return [file, *sorted(p for p in others if p.is_file())]


def missing_companion(path: str) -> Path | None:
    """The file with a recording's samples that its header names and that does not exist, if so.

    Raises:
        OutsideError: it may not be read; whether it exists is not told.
    """
    file = Path(header_of(path))
    named = _named_samples(file)
    if named is not None:
        check_readable(named)
    if file.suffix.lower() == ".set" and any(map(Path.is_file, _own(file, ".fdt"))):
        return None  # MNE reads that one instead
    return None if named is None or named.is_file() else named


def foreign_companion(path: str) -> Path | None:
    """The file with a recording's samples if the header names another one than that of its own name, which exists.

    Raises:
        OutsideError: it may not be read.
    """
    file = Path(header_of(path))
    named = _named_samples(file)
    if named is not None:
        check_readable(named)
    if named is None or not named.is_file() or named.stem == file.stem:
        return None
    own = _own(file, named.suffix)
    return named if any(map(Path.is_file, own)) else None


def epoch_samples(path: str) -> Path | None:
    """The file with the samples of an EEGLAB header; None if the header has them."""
    file = Path(path)
    others = [one for one in files_of(path) if one != file]
    return others[0] if others and _named_samples(file) else None


def referenced_files(header: Path) -> list[Path]:
    """The files that a header of BrainVision names."""
    found = _brainvision(header)
    return [found[key] for key in found]


def _brainvision(header: Path) -> dict[bytes, Path]:
    found: dict[bytes, Path] = {}
    with contextlib.suppress(OSError):
        with open_readable(header) as file:
            lines = file.read(10_000).splitlines()
        for line in lines:
            key, _, value = line.partition(b"=")
            key = key.strip().lower()
            if key in (b"datafile", b"markerfile") and value.strip():
                name = os.fsdecode(value.strip()).replace("$b", header.stem)
                found[key] = header.with_name(name) if "/" not in name else header.parent / name
    return found


def _named_samples(file: Path) -> Path | None:
    """The file with the samples that a header names; None if it names none."""
    suffix = file.suffix.lower()
    if suffix in _BRAINVISION:
        return _brainvision(file).get(b"datafile")
    if suffix != ".set":
        return None
    with contextlib.suppress(Exception):  # damaged bytes raise anything; MNE reports the reason
        if name := samples_name(str(file)):
            return file.parent / name
    return None


def _own(file: Path, end: str) -> list[Path]:
    return [file.with_name(file.stem + e) for e in dict.fromkeys((end, end.lower(), end.upper()))]
