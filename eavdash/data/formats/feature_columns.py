"""The columns of a table of features: which one has the times, which are features, and which are about the rows.

In: the header of a file of OpenFace, py-feat, openSMILE or any other program, and the study's settings. Out: places in
the header. Names are compared in lower case and without blanks at their ends, as OpenFace writes ``" success"``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from eavdash.config.feature_table import FeatureTableConfig
from eavdash.data.formats.columns import usual
from eavdash.errors import RecordingError
from eavdash.text import shortened

#: Suffixes of files that are read as tables of features where a trial table names them as video or audio.
SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".xlsx")
#: Names of the column of times in seconds; the first one that a file has is taken.
TIMES = ("timestamp", "time", "frametime", "frame_time", "time_s", "seconds", "start", "onset", "t")
FACES = ("face_id", "faceid", "face")
#: 1 or 0: whether the row's face was found; 0 to 1: how sure that is.
SUCCESS, CONFIDENCE = "success", "confidence"
#: Numbers that are no features: places in a file, times, and what a model must not see.
_OTHERS = (
    *("frame", "frame_number", "frameindex", "frame_index", "index", "row", "name", "file", "input", "approx_time"),
    *("end", "stop", "offset", "duration", "frameheight", "framewidth", "unnamed:_0"),
    *("label", "labels", "class", "target", "subject", "participant", "trial", "group", "session", "identity"),
)
#: What only counts the rows: the same in every trial, so that nothing can be told from it.
_COUNTERS = frozenset((*TIMES, "frame", "frame_number", "frameindex", "frame_index", "index", "row", "approx_time"))
_NO_FEATURES = frozenset((*TIMES, *FACES, SUCCESS, CONFIDENCE, *_OTHERS, ""))
#: ``NAME/N``: a column that counts N per second.
_COUNTED = re.compile(r"(.+)/\s*(\d+(?:\.\d+)?)\s*")
_WORD = re.compile(r"[^\W\d][\w .:()\[\]-]{0,60}")


def is_feature_table(path: str) -> bool:
    """Return True if a recording is read as a table of features, by the end of its name."""
    return path.lower().endswith(SUFFIXES)


def place_of(header: Sequence[str], *names: str) -> int | None:
    """Return the place of the first of ``names``, as :func:`usual` writes them, that the header has."""
    known = [usual(name) for name in header]
    return next((known.index(name) for name in names if name in known), None)


def time_place(where: str, header: Sequence[str], settings: FeatureTableConfig) -> tuple[int, float]:
    """Return the place of the column of times, and how many of its numbers are a second.

    Raises:
        RecordingError: there is none, or its name stands twice.
    """
    name, per_second = settings.time.strip(), 1.0
    if name and name not in header and (counted := _COUNTED.fullmatch(name)):
        name, per_second = counted[1].strip(), float(counted[2])
    place = place_of(header, *([usual(name)] if name else TIMES))
    if place is None or not per_second:
        raise RecordingError.at(
            where,
            expected=f"the column {shortened(name)!r} of times" if name else f"a column of times ({', '.join(TIMES)})",
            found=f"none{_among(header)}",
            remedy="name it with vision.table.time or audio.table.time, or NAME/N where it counts N per second, "
            "as frame/30",
        )
    if [usual(other) for other in header].count(usual(header[place])) > 1:
        found = f"{shortened(header[place])!r} twice"
        raise RecordingError.at(where, expected="one column of times", found=found, remedy="rename or leave out one")
    return place, per_second


def feature_places(where: str, header: Sequence[str], settings: FeatureTableConfig) -> list[int]:
    """Return the places of the columns that may be features.

    Raises:
        RecordingError: there is none, or one name stands twice among them.
    """
    without = [pattern[1:] for pattern in settings.columns if pattern.startswith("-")]
    wanted = [pattern for pattern in settings.columns if not pattern.startswith("-")]
    chosen = [
        n
        for n, name in enumerate(header)
        if (_matches(name, wanted) if wanted else usual(name) not in _NO_FEATURES) and not _matches(name, without)
    ]
    if all(usual(header[n]) in _COUNTERS for n in chosen):  # or none is chosen
        none = f"none{_among(header)}"
        asked = f"columns of features that match {shortened(', '.join(settings.columns))}"
        raise RecordingError.at(
            where,
            expected=asked if settings.columns else "columns of features beside the times",
            found=f"only the times and counters {', '.join(header[n] for n in chosen)}" if chosen else none,
            remedy="correct vision.table.columns or audio.table.columns",
        )
    names = [header[n] for n in chosen]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise RecordingError.at(
            where, expected="each column once", found=f"{shortened(twice)!r} twice", remedy="rename or leave out one"
        )
    return chosen


def unmatched(columns: Sequence[str], settings: FeatureTableConfig) -> str:
    """Return the first name or pattern of the settings that chooses none of a table's feature ``columns``, or ""."""
    wanted = (pattern for pattern in settings.columns if not pattern.startswith("-"))
    return next((pattern for pattern in wanted if not any(_matches(name, [pattern]) for name in columns)), "")


def _matches(name: str, patterns: Sequence[str]) -> bool:
    lower = name.casefold()
    # openSMILE's names have brackets, which in a pattern stand for one of several letters.
    return any(lower == p or fnmatchcase(lower, p) for p in (pattern.strip().casefold() for pattern in patterns))


def _among(header: Sequence[str]) -> str:
    """Name the columns; the first line of what is no table of named columns is not quoted."""
    names = [name for name in header if name]
    if len(names) < 2 or not all(map(_WORD.fullmatch, names)):
        return ", and no line of names: this is no table of features"
    return f" among {shortened(', '.join(names))}"
