"""One look at one file: everything that is measured of it, as a dictionary that JSON can hold.

In: which column of the trial table names the file ("eeg", "audio", "video"; "faces" for the search for faces in a
video), the file, and the parts of it that trials use. Out: :class:`MeasureRequest`'s answer; nothing is raised.
Delegated to audio.py, eeg.py and video.py: the measures; to the readers of eavdash.data: what can be read at all.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eavdash.data.recording import stamp, unreadable
from eavdash.errors import EavdashError
from eavdash.health.measures.base import Facts, Measure, MeasureRequest, Part

#: Bytes from a file's middle that are compared before two files of equal size are compared whole.
SAMPLE = 2**16
_FOUND = re.compile(r"expected (.+?), found ")


def measure_file(request: MeasureRequest) -> dict[str, Any]:
    """Measure.

    The answer has ``problem`` (why the file cannot be read, "" if it can), ``kind`` (a short name of such problems,
    alike for files with alike problems), ``sample`` (a hash of the file's middle), ``length`` (seconds of the whole
    file; absent where there is none) and ``parts``: for each part its measures, or ``problem`` and ``kind``.
    """
    answer: dict[str, Any] = {"problem": "", "kind": "", "parts": []}
    try:
        size = stamp(request.file)[0]
        answer["bytes"] = size
        answer["sample"] = _sample(request.file, size)
        measure = _measure(request.column)
        facts, part_of = measure(request.file, request.parts)
        answer.update(facts)
    except Exception as error:  # decoders raise anything on damaged bytes, and one file must not end the scan
        return answer | failure(request.file, error)
    answer["parts"] = [_guarded(request.file, part, part_of) for part in request.parts]
    if request.parts and request.parts[0].number is not None:
        from eavdash.data.eeg.arrays import release

        release()  # half a gigabyte of an EAV file would stay while other files are looked at
    return answer


def failure(file: str, error: Exception) -> dict[str, str]:
    """``problem`` and ``kind`` of an error."""
    text = str(error if isinstance(error, EavdashError) else unreadable(file, "a recording that can be read", error))
    match = _FOUND.search(text)
    return {"problem": text, "kind": re.sub(r"[\d.]+", "#", match[1]) if match else type(error).__name__}


def _measure(column: str) -> Measure:
    """Each kind's measures; loaded when first needed, as decoders take their time to load."""
    if column == "audio":
        from eavdash.health.measures import audio

        return audio.measure
    if column == "video":
        from eavdash.health.measures import video

        return video.measure
    if column == "faces":
        from eavdash.health.measures import video

        return video.measure_faces
    from eavdash.health.measures import eeg

    return eeg.measure


def _guarded(file: str, part: Part, part_of: Callable[[Part], Facts]) -> Facts:
    try:
        return {"problem": "", "kind": "", **_finite(part_of(part))}
    except Exception as error:  # as in look
        return failure(part.entry(file), error)


def _finite(facts: Facts) -> Facts:
    """``facts`` without the numbers that are none: JSON does not know them."""
    return {k: v for k, v in facts.items() if not (isinstance(v, float) and not math.isfinite(v))}


def _sample(file: str, size: int) -> str:
    with Path(file).open("rb") as stream:
        stream.seek(max(0, size // 2 - SAMPLE // 2), os.SEEK_SET)
        return hashlib.blake2b(stream.read(SAMPLE), digest_size=16).hexdigest()
