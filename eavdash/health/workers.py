"""The measuring processes of the scan: they measure several files at once, and a crash does not end the scan.

In: requests. Out: pairs of request and answer, in order of completion. A file that crashes its process
(:mod:`eavdash.health.measures.worker`) or exceeds its time limit has that as its problem. Delegated to
processes/pool.py: the processes.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eavdash.errors import sentence
from eavdash.health.measures.base import MeasureRequest
from eavdash.store.processes import python_module
from eavdash.store.processes.pool import Ended, ProcessPool

#: Time limit of any file in seconds, and bytes per additional second: the speed of a slow network drive.
LIMIT, BYTES_PER_SECOND = 120.0, 2**21
#: Array files from this size (bytes) on are read one at a time: each is loaded completely (EAV: half a gigabyte).
LARGE = 64 * 2**20
_ARRAYS = (".mat", ".pkl", ".dat", ".set")
_FILES_PER_PROCESS = 8  # fewer are measured faster than another process starts
_MOST = 8
COMMAND = tuple(python_module("eavdash.health.measures.worker"))


def run(
    requests: Sequence[MeasureRequest],
    limit: float = LIMIT,
    command: Sequence[str] = COMMAND,
    processes: int | None = None,
) -> Generator[tuple[MeasureRequest, dict[str, Any]]]:
    """Yield each request with its answer, as they complete. ``processes``: by default, by the number of cores.

    An answer's ``kind`` is "crash" or "limit" if the process ended without one.
    """
    count = processes or max(1, min(len(os.sched_getaffinity(0)), _MOST, -(-len(requests) // _FILES_PER_PROCESS)))
    large = deque(x for x in requests if _is_large(x.file))
    rest = deque(x for x in requests if not _is_large(x.file))
    reading: set[MeasureRequest] = set()  # one large array at the most

    def take() -> tuple[tuple[MeasureRequest, float], dict[str, Any], float] | None:
        if large and not reading:
            request = large.popleft()
            reading.add(request)
        elif rest:
            request = rest.popleft()
        else:
            return None
        seconds = limit + _size(request.file) / BYTES_PER_SECOND
        return (request, seconds), asdict(request), seconds

    with ProcessPool(command, count) as pool:
        for (request, seconds), answer in pool.answers(take):
            reading.discard(request)
            yield request, answer[0] if isinstance(answer, tuple) else _failed(request.file, answer, seconds)


def _is_large(file: str) -> bool:
    return file.lower().endswith(_ARRAYS) and _size(file) >= LARGE


def _size(file: str) -> int:
    try:
        return Path(file).stat().st_size
    except OSError:
        return 0


def _failed(file: str, end: Exception | Ended, limit: float) -> dict[str, Any]:
    """The answer for a file whose process gave none."""
    kind, found = "crash", f"a failed measuring process ({str(end).strip().splitlines()[-1]})"
    if isinstance(end, Ended) and end.overdue:
        kind, found = "limit", f"a file that is still being read after {limit:.0f} s"
    elif isinstance(end, Ended):
        reason = signal.strsignal(-end.code) if end.code < 0 else f"exit code {end.code}"
        found = f"a file that crashes its decoder ({reason})"
    problem = sentence(file, "a readable recording", found, "copy the file again, or leave it out")
    return {"problem": problem, "kind": kind, "parts": []}
