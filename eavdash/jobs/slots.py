"""Slots: how many runs this machine computes at once.

A slot is a locked file whose descriptor the job inherits, so that it is free exactly when the job is dead, whether or
not anybody was there to notice. There is one per core (``EAVDASH_SLOTS`` says otherwise), and a run takes as many as
it has threads.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from eavdash.errors import ConfigError
from eavdash.jobs import locks


def slot_count() -> int:
    """``EAVDASH_SLOTS``, else the number of cores that this process may use.

    Raises:
        ConfigError: the variable is not a number above 0.
    """
    given = os.environ.get("EAVDASH_SLOTS")
    if given:
        if not given.isdecimal() or int(given) < 1:
            raise ConfigError.at(
                "EAVDASH_SLOTS", expected="a whole number above 0", found=repr(given), remedy="mend or unset it"
            )
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Slots:
    """The slots of one machine, as files ``0 … count-1`` in a folder."""

    def __init__(self, folder: Path, count: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.files = [folder / str(i) for i in range(count)]
        self._turn = threading.Lock()

    @contextlib.contextmanager
    def take(self, number: int, wanted: Callable[[], bool]) -> Iterator[list[int] | None]:
        """Wait for ``number`` slots (at most all there are) and hold them: a list of descriptors.

        None when ``wanted()`` became false while waiting. Leaving the block gives up this process's hold; a job that
        inherited the descriptors keeps its own.
        """
        leases: dict[Path, int] = {}
        try:
            # One waits at a time, so that a run in need of several slots is not starved by those that need one.
            with self._turn:
                number = min(number, len(self.files))
                while wanted():
                    for file in self.files:
                        if len(leases) < number and file not in leases:
                            descriptor = locks.acquire(file, patience=0)
                            if descriptor is not None:
                                leases[file] = descriptor
                    if len(leases) == number:
                        break
                    time.sleep(0.1)
            yield list(leases.values()) if len(leases) == number else None
        finally:
            for descriptor in leases.values():
                os.close(descriptor)
