"""The columns of a trial table, and what people call them.

In: the cells of a file, and which of its columns to take for which. Out: the same cells under the names that
:mod:`eavdash.data.formats.tablefile` checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from eavdash.data.formats.delimited import Cells
from eavdash.errors import TableError
from eavdash.text import shortened

REQUIRED = ("subject", "trial", "label")
RECORDINGS = ("eeg", "audio", "video")
OPTIONAL = ("group", "start", "stop")
#: For each recording its own start, stop and offset, which a table may have.
CLOCKS = {r: (f"{r}_start", f"{r}_stop", f"{r}_offset") for r in RECORDINGS}
CLOCK_COLUMNS = tuple(name for names in CLOCKS.values() for name in names)
KNOWN = frozenset((*REQUIRED, *OPTIONAL, *RECORDINGS, *CLOCK_COLUMNS))
#: A table to fill in: one long EEG file and a sound per trial, then files per trial.
TEMPLATE = (
    "subject,trial,label,group,start,stop,eeg,audio,video,eeg_start,eeg_stop\n"
    "anna,1,calm,morning,,,anna.edf,anna-1.wav,anna-1.mp4,0,20\n"
    "anna,2,tense,morning,,,anna.edf,anna-2.wav,anna-2.mp4,20,40\n"
    "ben,1,calm,,,,ben-1.edf,ben-1.wav,,,\n"
)


def usual(name: str) -> str:
    """Return a column's name as a trial table writes it: ``EEG start`` is eeg_start."""
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())


def known_in(names: Iterable[str], columns: Mapping[str, str]) -> int:
    """Count the names that are columns of a trial table, or that ``columns`` takes for such."""
    names = set(names)
    return len({usual(name) for name in names} & KNOWN) + len(names & set(columns.values()))


def among(header: Iterable[str]) -> str:
    """Name the columns of what is a table; the first line of any other file is not quoted."""
    names = [name for name in header if name]
    if not KNOWN & set(names) and known_in(names, {}) < 2:
        return " and none of the others: this is no trial table"
    return f" among {shortened(', '.join(names))}"


def named(where: str | Path, cells: Cells, columns: Mapping[str, str]) -> Cells:
    """Return the cells under a trial table's names.

    A header that has the required columns as they are is taken literally, as further columns may have any name;
    another one in any case. Columns without name and content are left out.

    Raises:
        TableError: the file has no column that ``columns`` (our name → its name) names, or one is taken twice.
    """
    header, notes = list(cells.header), list(cells.notes)
    for name, own in columns.items():
        if header.count(own) != 1 or list(columns.values()).count(own) > 1:
            found = f"{shortened(own)} for several" if own in header else f"no {shortened(own)}{among(header)}"
            remedy = "choose another column for each"
            raise TableError.at(where, expected=f"one column for {name}", found=found, remedy=remedy)
    takes = {own: name for name, own in columns.items()}
    header = [takes.get(h, f"{h} (not used)" if h in columns else h) for h in header]
    strange = {h: usual(h) for h in header if h not in KNOWN and usual(h) in KNOWN and usual(h) not in header}
    if set(REQUIRED) <= set(header) and set(RECORDINGS) & set(header):
        notes += [
            f"{where}: column {h!r} is a further column; name it {name!r} if it is meant so"
            for h, name in strange.items()
        ]
    else:
        header = [strange.get(h, h) for h in header]
    unnamed = [n for n, name in enumerate(header) if not name]
    if len(unnamed) > 1 or cells.separator not in ("", ","):  # a single one has always been a further column
        kept = [n for n, name in enumerate(header) if name or any(row[n] for _, row in cells.rows)]
        if len(kept) < len(header):
            rows = [(line, [row[n] for n in kept]) for line, row in cells.rows]
            return Cells([header[n] for n in kept], rows, cells.separator, tuple(notes))
    return replace(cells, header=header, notes=tuple(notes))
