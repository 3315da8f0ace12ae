"""The measuring processes of the scan: they measure several files at once, and a crash does not end the scan.

In: requests. Out: pairs of request and answer, in order of completion. A file that crashes its process
(:mod:`eavdash.health.measures.worker`) or exceeds its time limit has that as its problem. Delegated to
data/process_pool.py: the processes.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eavdash.data.process_pool import Ended, ProcessPool
from eavdash.errors import sentence
from eavdash.health.measures.base import MeasureRequest
from eavdash.processes import python_module

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
    todo = _Pending(requests)

    def take() -> tuple[tuple[MeasureRequest, float], dict[str, Any], float] | None:
        if (request := todo.take()) is None:
            return None
        seconds = limit + _size(request.file) / BYTES_PER_SECOND
        return (request, seconds), asdict(request), seconds

    with ProcessPool(command, count) as pool:
        for (request, seconds), answer in pool.answers(take):
            todo.done(request)
            yield request, answer[0] if isinstance(answer, tuple) else _failed(request.file, answer, seconds)


class _Pending:
    """The pending requests, handed out so that large arrays are never read at the same time."""

    def __init__(self, requests: Sequence[MeasureRequest]) -> None:
        self._large = deque(x for x in requests if _is_large(x.file))
        self._rest = deque(x for x in requests if not _is_large(x.file))
        self._reading: MeasureRequest | None = None

    def take(self) -> MeasureRequest | None:
        """Take the next request; None while there is none that may be measured now."""
        if self._large and self._reading is None:
            self._reading = self._large.popleft()
            return self._reading
        return self._rest.popleft() if self._rest else None

    def done(self, request: MeasureRequest) -> None:
        """Let another large file be read if this was the one."""
        if request is self._reading:
            self._reading = None


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
