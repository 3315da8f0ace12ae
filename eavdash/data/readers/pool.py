"""A pool of processes that read trials, in bounded memory.

In: a prepared reader and trials with their windows' spans. Out: their readings in the order of the trials, as if one
process had read them. Delegated to processes.py: the processes; to worker.py: what they do.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from eavdash.config.convert import to_dict
from eavdash.data.readers.base import Reader, Reading, Span, TrialRow
from eavdash.errors import EavdashError, RecordingError
from eavdash.store.processes import python_module
from eavdash.store.processes.pool import Ended, ProcessPool
from eavdash.store.processes.program import Answer

Task = tuple[TrialRow, list[Span]]
#: Memory limit (bytes) of the caller and the processes together, for datasets of any size ...
MEMORY = 2 * 10**9
#: ... of which this much goes to the caller and the shared libraries, and this much to each process.
LIBRARIES = 900 * 10**6
PROCESS = 60 * 10**6
#: The C library keeps freed memory for the next trial instead of requesting new, zeroed pages from the system, which
#: took a third of the time.
_SETTINGS = {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20)}


def jobs_within(jobs: int, reading: int, result: int, memory: int = MEMORY) -> int:
    """The number of processes, up to ``jobs``, that fit into ``memory`` bytes; at least 1, which means the caller's
    process.

    ``reading``: bytes for reading the longest trial; ``result``: bytes of its arrays. In addition the caller may hold
    jobs + 1 results that wait for an earlier one.
    """
    fits = [n for n in range(2, jobs + 1) if LIBRARIES + n * (PROCESS + reading) + (n + 1) * result <= memory]
    return max(fits, default=1)


class ReaderPool(ProcessPool):
    """Processes that read trials of one modality after another."""

    def __init__(self, jobs: int) -> None:
        super().__init__((), jobs, _SETTINGS)

    def read(self, reader: Reader, tasks: Sequence[Task], jobs: int) -> Iterator[Reading]:
        """Yield the reading of each task in order, read by at most ``jobs`` processes; at most jobs + 1 are running or
        waiting.

        Raises:
            RecordingError: a trial cannot be read, or its process was killed; raised for the first such trial in order.
        """
        command = tuple(python_module("eavdash.data.readers.worker", reader.modality))
        if command != self.command:
            self.close()
            self.command = command
        settings = json.dumps([reader.modality, to_dict(reader.study), reader.channels])
        waiting: dict[int, Answer | Exception | Ended] = {}
        started = place = 0

        def take() -> tuple[int, dict[str, Any], float] | None:
            nonlocal started
            if started == min(len(tasks), place + jobs + 1):
                return None
            row, spans = tasks[started]
            started += 1
            return started - 1, {"reader": settings, "row": asdict(row), "spans": spans}, 0.0

        for number, answer in self.answers(take, jobs):
            waiting[number] = answer
            while place in waiting:
                found = waiting.pop(place)
                if place == len(tasks) - 1:
                    self.end_idle()  # the file that each may have cached is no longer needed
                if isinstance(found, Ended):
                    raise _process_died(tasks[place][0], found.code)
                if isinstance(found, Exception):
                    raise found
                facts, (values, mask) = found
                yield Reading(values, mask, facts)
                place += 1


def _process_died(row: TrialRow, code: int) -> EavdashError:
    name = f"with exit code {code}"
    if -code in {*signal.Signals}:
        name = f"by {signal.Signals(-code).name}" + (", perhaps out of memory" if code == -signal.SIGKILL else "")
    return RecordingError.at(
        row.path,
        expected="a process that reads the whole file",
        found=f"a process that ended {name}",
        remedy="try again with fewer jobs, and leave the trial out if it fails again",
    )
