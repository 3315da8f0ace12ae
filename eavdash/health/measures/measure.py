"""The measures of one file, as a JSON-ready dictionary.

In: a :class:`MeasureRequest`: the column of the file ("eeg", "audio", "video"; "faces" for the search for faces in a
video), the file, and the parts of it that trials use. Out: its answer; nothing is raised. Delegated to audio.py, eeg.py
and video.py: the measures; to the readers of eavdash.data: reading.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from eavdash.data.formats.feature_columns import is_feature_table
from eavdash.data.recording import release, samples_file, stamp, unreadable
from eavdash.errors import EavdashError, OutsideError
from eavdash.health.measures.base import Facts, Measure, MeasureRequest, Part
from eavdash.store.readable import open_readable

#: Bytes from a file's middle that are compared before two files of equal size are compared completely.
SAMPLE = 2**16
#: ``kind`` of a file that may not be read (:mod:`eavdash.store.readable`).
REFUSED = "refused"
_FOUND = re.compile(r"expected (.+?), found ")


def measure_file(request: MeasureRequest) -> dict[str, Any]:
    """Measure one file.

    The answer has ``problem`` (the reason why the file cannot be read, or ""), ``kind`` (a short name of the problem,
    equal for files with similar problems), ``sample`` (a hash of the file's middle), ``length`` (seconds of the whole
    file, if it has a duration) and ``parts``: for each part its measures, or ``problem`` and ``kind``.
    """
    answer: dict[str, Any] = {"problem": "", "kind": "", "parts": []}
    try:
        size = stamp(request.file)[0]
        answer["bytes"] = size
        answer["sample"] = _sample(request.file, size)
        measure = _measure(request)
        facts, part_of = measure(request.file, request.parts)
        answer.update(facts)
    except Exception as error:  # decoders may raise anything on damaged bytes, and one file must not end the scan
        return answer | failure(request.file, error)
    answer["parts"] = [_guarded(request.file, part, part_of) for part in request.parts]
    if request.parts and (request.parts[0].number is not None or is_feature_table(request.file)):
        release()  # else half a gigabyte of an EAV file would stay in memory
    return answer


def failure(file: str, error: Exception) -> dict[str, str]:
    """``problem`` and ``kind`` of an error."""
    text = str(error if isinstance(error, EavdashError) else unreadable(file, "a readable recording", error))
    if isinstance(error, OutsideError):
        return {"problem": text, "kind": REFUSED}
    match = _FOUND.search(text)
    return {"problem": text, "kind": re.sub(r"[\d.]+", "#", match[1]) if match else type(error).__name__}


def _measure(request: MeasureRequest) -> Measure:
    """The measures of a request's column; imported when first needed, as decoders are slow to import."""
    table = request.column != "eeg" and is_feature_table(request.file)
    module, name = ("video", "measure_faces") if request.column == "faces" else (request.column, "measure")
    module = "table" if table else module
    measure = getattr(import_module(f"eavdash.health.measures.{module}"), name)
    if table:
        measure = partial(measure, **dict(request.rules))
    elif request.column == "eeg":
        from eavdash.data.eeg.signal import EegRules

        measure = partial(measure, mains=request.mains, rules=EegRules(**dict(request.rules)))
    elif request.column == "audio":
        measure = partial(measure, channel=request.channel)
    found: Measure = measure
    return found


def _guarded(file: str, part: Part, part_of: Callable[[Part], Facts]) -> Facts:
    try:
        return {"problem": "", "kind": "", **_finite(part_of(part))}
    except Exception as error:  # as in measure_file
        return failure(part.entry(file), error)


def _finite(facts: Facts) -> Facts:
    """``facts`` without non-finite numbers, which JSON does not support."""
    return {k: v for k, v in facts.items() if not (isinstance(v, float) and not math.isfinite(v))}


def _sample(file: str, size: int) -> str:
    with open_readable(samples_file(file)) as stream:
        stream.seek(max(0, size // 2 - SAMPLE // 2), os.SEEK_SET)
        return hashlib.blake2b(stream.read(SAMPLE), digest_size=16).hexdigest()
