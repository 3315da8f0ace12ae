"""A corpus of broken and odd inputs, with the errors and findings that each must lead to.

The cases of recordings all go into one dataset (:func:`make_corpus`), one subject each, beside sound ones, so that one
run of the check meets them all. Cases of tables, folders and archives are datasets of their own.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

COLUMNS = {"vision": "video", "audio": "audio", "eeg": "eeg"}
HEADER = ("subject", "trial", "label", "group", "start", "stop", "eeg", "audio", "video")


@dataclass(frozen=True)
class Recording:
    """One recording of the corpus.

    ``make(path)`` writes it at ``path`` (or puts something else there). ``finding`` is a pattern of the check's finding
    ("" if there must be none) and ``severity`` its severity; ``reading_error`` a pattern of the error of reading it
    (None: as ``finding``; "": it can be read). ``content`` checks the result; ``item`` follows the name in the table.
    """

    name: str
    file: str
    make: Callable[[Path], object]
    finding: str = ""
    severity: str = "error"
    reading_error: str | None = None
    content: Callable[[str], None] | None = None
    item: str = ""

    @property
    def error(self) -> str:
        """The pattern of the error of reading it."""
        return (self.finding if self.severity == "error" else "") if self.reading_error is None else self.reading_error


@dataclass(frozen=True)
class Dataset:
    """A table, a folder or an archive: ``make(folder)`` returns the path to open.

    ``opening_error`` is a pattern of the error of opening it ("": it opens), ``finding`` of a finding of the check.
    """

    name: str
    make: Callable[[Path], Path]
    opening_error: str = ""
    finding: str = ""
    severity: str = "error"
    content: Callable[[Path], None] | None = None


def fine(name: str, file: str, make: Callable[[Path], object], content: Callable[[str], None]) -> Recording:
    """An odd recording that must be read correctly."""
    return Recording(name, file, make, content=content)


def make_corpus(folder: Path, cases: dict[str, Sequence[Recording]]) -> Path:
    """The cases of each modality as one trial table, a subject each."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "trials.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, HEADER, restval="")
        rows.writeheader()
        for modality, recordings in cases.items():
            for case in recordings:
                case.make(folder / case.file)
                entry = f"{case.file}{case.item}"
                rows.writerow({"subject": case.name, "trial": "1", "label": "a", COLUMNS[modality]: entry})
    return folder


def text(content: str | bytes) -> Callable[[Path], object]:
    """Writes this content."""
    data = content.encode() if isinstance(content, str) else content
    return lambda path: path.write_bytes(data)


def changed(make: Callable[[Path], object], change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Writes a recording, then changes its bytes."""

    def write(path: Path) -> None:
        make(path)
        path.write_bytes(change(path.read_bytes()))

    return write


def share(part: float) -> Callable[[bytes], bytes]:
    """Only the first ``part`` of the bytes."""
    return lambda data: data[: int(len(data) * part)]


def renamed(make: Callable[[Path], object], suffix: str) -> Callable[[Path], object]:
    """Writes a recording under its own suffix, then gives it the path's."""

    def write(path: Path) -> None:
        own = path.with_name(f"{path.stem}-own{suffix}")
        make(own)
        own.rename(path)

    return write
