"""Resource usage of a worker for status.json: CPU, memory, and its GPU if torch uses one.

The worker's children (readers of recordings) are included.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

import psutil

from eavdash.store.status import Usage


class Meter:
    """Usage of this process and its children since the last call of :meth:`now`."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._last = (time.monotonic(), self._seconds())
        self._peak = 0

    def now(self) -> Usage:
        """Return the present usage."""
        now, seconds = time.monotonic(), self._seconds()
        cpu = 100 * (seconds - self._last[1]) / max(1e-6, now - self._last[0])
        self._last = now, seconds
        rss = 0
        for process in self._processes():
            with contextlib.suppress(psutil.Error):
                rss += process.memory_info().rss
        self._peak = max(self._peak, rss)
        return Usage(cpu=round(max(0.0, cpu), 1), rss=rss, peak=self._peak, **_gpu())

    def _processes(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            return [self._process, *self._process.children(recursive=True)]
        return [self._process]

    def _seconds(self) -> float:
        total = 0.0
        for process in self._processes():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total


def _gpu() -> dict[str, Any]:
    """Return the GPU's usage if torch is loaded and has initialised CUDA; this function loads nothing."""
    torch = sys.modules.get("torch")
    found: dict[str, Any] = {}
    with contextlib.suppress(Exception):  # torch is only partly loaded, or the driver's library is missing
        if torch is not None and torch.cuda.is_initialized():
            found["gpu_memory"] = int(torch.cuda.memory_reserved())
            found["gpu"] = float(torch.cuda.utilization())
    return found
