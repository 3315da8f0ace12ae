"""The program of the measuring processes (:mod:`eavdash.store.processes.program`).

In: requests: the fields of a :class:`MeasureRequest`. Out: their answers. The output of decoders is discarded.
"""

from __future__ import annotations

import os
from typing import Any

from eavdash.health.measures.base import MeasureRequest, Part
from eavdash.health.measures.measure import measure_file
from eavdash.store.processes.program import Answer, serve


def answer(request: dict[str, Any]) -> Answer:
    """Measure one file."""
    parts = tuple(Part(**part) for part in request["parts"])
    rules = tuple((name, value) for name, value in request["rules"])
    return measure_file(MeasureRequest(**{**request, "parts": parts, "rules": rules})), []


if __name__ == "__main__":
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    serve(answer)
