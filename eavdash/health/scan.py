"""The scan: measures of every file of a trial table, measured now or, if the file has not changed, in an earlier scan.

In: the rows of a trial table. Out: an answer (:mod:`eavdash.health.measures.measure`) per file, and from these one row
of measures per trial and modality. Delegated to workers.py: measuring; to memory.py: the answers of earlier scans.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from eavdash.config.choices import COLUMN, MIX, MODALITIES
from eavdash.config.schema import StudyConfig
from eavdash.data.cache.digests import file_state
from eavdash.data.eeg.signal import PACKAGE, differing
from eavdash.data.formats.feature_columns import is_feature_table
from eavdash.data.named_files import missing_file
from eavdash.data.recording import seconds, split_item, stamp
from eavdash.data.segments import in_file, segment
from eavdash.errors import EavdashError, OutsideError
from eavdash.health import workers
from eavdash.health.measures.base import MeasureRequest, Part
from eavdash.health.measures.measure import REFUSED, failure
from eavdash.health.memory import MeasureCache
from eavdash.health.report import NUMBERS, TEXTS, no_recordings, records

#: Kinds of temporary failures: another scan measures the file again.
_PASSING = ("crash", "limit", "ImportError", "MemoryError", PACKAGE, REFUSED)

Key = tuple[str, str]  # column ("faces" for the search for faces), file


@dataclass
class Scan:
    """``answers`` per column and file; files measured now and known before; a problem with remembering them."""

    answers: dict[Key, dict[str, Any]] = field(default_factory=dict)
    scanned: int = 0
    reused: int = 0
    problem: str = ""


def part_of(entry: str, start: float | None, stop: float | None) -> tuple[str, Part]:
    """The file in an entry of a path column, and the part that a trial from ``start`` to ``stop`` uses."""
    file, number = split_item(entry)
    return file, Part(number, seconds(start), seconds(stop))


def measure_requests(frame: pd.DataFrame, faces: bool, config: StudyConfig | None = None) -> list[MeasureRequest]:
    """The requests for each file of a column and, with ``faces``, a second one for each video.

    ``config``: the settings of the study that would read them (None: those of the preset quick).
    """
    config = config or StudyConfig()
    found: list[MeasureRequest] = []
    for column in COLUMN.values():
        parts: dict[str, dict[Part, None]] = {}
        rows = in_file(frame, column)
        for entry, start, stop in zip(rows[column], rows["start"], rows["stop"], strict=True):
            if entry:
                file, part = part_of(entry, start, stop)
                parts.setdefault(file, {})[part] = None
        hum = config.eeg.notch if column == "eeg" else 0.0
        hears = config.audio.channel if column == "audio" else MIX
        rules = differing(config.eeg) if column == "eeg" else ()
        for file, of in parts.items():
            if column != "eeg" and is_feature_table(file):
                found.append(MeasureRequest(column, file, tuple(of), rules=_table_rules(column, config)))
            else:
                found.append(MeasureRequest(column, file, tuple(of), hum, hears, rules))
        if faces and column == "video":
            # Items of an array are already cropped to the face.
            whole = [f for f, of in parts.items() if all(p.number is None for p in of) and not is_feature_table(f)]
            found += [MeasureRequest("faces", file, (Part(),)) for file in whole]
    return found


def _table_rules(column: str, config: StudyConfig) -> tuple[tuple[str, str], ...]:
    """The study's settings for the tables of a column, as :func:`eavdash.health.measures.table.measure` takes them."""
    table = (config.vision if column == COLUMN["vision"] else config.audio).table
    return ("time", table.time), ("columns", "\n".join(table.columns))


def scan(
    requests: Sequence[MeasureRequest],
    cache: Path | None,
    report: Callable[[int, int], None] | None = None,
    run: Callable[[Sequence[MeasureRequest]], Generator[tuple[MeasureRequest, dict[str, Any]]]] = workers.run,
) -> Scan:
    """Answer all requests; ``report(done, of)`` is called after each file that has to be opened.

    After an interruption (KeyboardInterrupt), earlier answers are kept.
    """
    done = Scan()
    stamps: dict[MeasureRequest, tuple[int, int]] = {}
    with MeasureCache(cache) as known:
        todo: list[MeasureRequest] = []
        for request in requests:
            key = (request.column, request.file)
            try:
                stamps[request] = stamp_of(request)
            except Exception as error:  # a path can be invalid in many ways
                done.answers[key] = _missing_answer(request.file, error)
                continue
            answer = known.get(request, stamps[request])
            if answer is None:
                todo.append(request)
            else:
                done.answers[key] = answer
        done.reused = len(stamps) - len(todo)
        if report:
            report(len(requests) - len(todo), len(requests))
        with contextlib.closing(run(todo)) as answers:
            for request, answer in answers:
                done.answers[request.column, request.file] = answer
                done.scanned += 1
                if answer.get("kind") not in _PASSING:
                    known.put(request, stamps[request], answer)
                if report:
                    report(len(requests) - len(todo) + done.scanned, len(requests))
    done.problem = known.problem
    return done


def unmeasured(requests: Sequence[MeasureRequest], cache: Path | None) -> int:
    """Return how many files a scan of these requests would open."""
    count = 0
    with MeasureCache(cache) as known:
        for request in requests:
            with contextlib.suppress(Exception):  # a path can be invalid in many ways; a scan opens none such
                count += known.get(request, stamp_of(request)) is None
    return count


def stamp_of(request: MeasureRequest) -> tuple[int, int]:
    """Total size and latest modification time of a recording's files.

    Raises:
        Exception: it is missing, empty, or may not be read.
    """
    if request.column != "eeg":
        return stamp(request.file)
    stamp(request.file)  # raises if it is missing or empty
    return file_state(request.file)[1:3]


def _missing_answer(file: str, error: Exception) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        if isinstance(error, OutsideError) or Path(file).is_file():
            return {**failure(file, error), "parts": []}
        if Path(file).exists() and isinstance(error, EavdashError):
            return {"problem": str(error), "kind": "missing", "parts": []}
    return {"problem": missing_file(file), "kind": "missing", "parts": []}


#: Columns that :func:`measure_table` adds to those of HealthReport.recordings, to compare recordings.
EXTRAS = ("path", "kind", "stop", "length", "sample", "content", "whole", "number", "group")


def measure_table(
    frame: pd.DataFrame, requests: Sequence[MeasureRequest], answers: dict[Key, dict[str, Any]]
) -> pd.DataFrame:
    """Tabulate one row per trial and modality with an entry: the columns of HealthReport.recordings and :data:`EXTRAS`.

    ``kind`` is the kind of problem, which concerns the whole file rather than the trial if ``whole``; ``path`` and
    ``number`` are the entry's, ``start`` and ``stop`` those in the file, ``length`` the whole file's; equal ``content``
    means equal array items, and only files with an equal ``sample`` can be equal.
    """
    part_numbers = {(w.column, w.file): {part: n for n, part in enumerate(w.parts)} for w in requests}
    rows = []
    for trial in records(frame):
        for modality in MODALITIES:
            entry = trial[COLUMN[modality]]
            if not entry:
                continue
            file, part = part_of(entry, *segment(trial, COLUMN[modality]))
            answer = answers.get((COLUMN[modality], file), {})
            found = _part_measures(answer, part_numbers.get((COLUMN[modality], file), {}).get(part))
            if modality == "vision":
                found = {**_part_measures(answers.get(("faces", file), {}), 0), **found}
            row: dict[str, Any] = dict.fromkeys(NUMBERS, math.nan) | dict.fromkeys(TEXTS, "")
            row |= {key: value for key, value in found.items() if key in row}
            rows.append(
                row
                | {
                    **{"subject": trial["subject"], "trial": trial["trial"], "label": trial["label"]},
                    **{"modality": modality, "file": entry, "path": file, "kind": found.get("kind", "")},
                    **{"start": part.start or 0.0, "stop": part.stop if part.stop is not None else math.nan},
                    **{"bytes": answer.get("bytes", math.nan), "length": answer.get("length", math.nan)},
                    **{"sample": answer.get("sample", ""), "content": found.get("content", "")},
                    **{"whole": bool(answer.get("problem")), "number": part.number or 0, "group": trial["group"]},
                }
            )
    if not rows:
        return no_recordings().assign(**dict.fromkeys(EXTRAS, pd.Series(dtype="object")))
    return pd.DataFrame(rows).astype({**dict.fromkeys(NUMBERS, "float64"), **dict.fromkeys(TEXTS, "str")})


def _part_measures(answer: dict[str, Any], number: int | None) -> dict[str, Any]:
    """The measures of one part, or the file's problem."""
    if answer.get("problem"):
        return {"problem": answer["problem"], "kind": answer.get("kind", "")}
    parts = answer.get("parts", [])
    return parts[number] if number is not None and number < len(parts) else {}
