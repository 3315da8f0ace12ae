"""What a worker takes of its machine: processor, main memory, and its GPU where torch has opened one.

Out: a small dictionary for status.json. The worker's children (readers of recordings) count with it.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

import psutil


class Usage:
    """The usage of this process and its children since the last look."""

    def __init__(self) -> None:
        self._me = psutil.Process()
        self._then = (time.monotonic(), self._seconds())
        self._peak = 0

    def now(self) -> dict[str, Any]:
        """``cpu`` in percent of a core, ``rss`` and ``peak`` in bytes, ``gpu`` in percent, ``gpu_memory`` in bytes."""
        now, seconds = time.monotonic(), self._seconds()
        cpu = 100 * (seconds - self._then[1]) / max(1e-6, now - self._then[0])
        self._then = now, seconds
        rss = 0
        for process in self._family():
            with contextlib.suppress(psutil.Error):
                rss += process.memory_info().rss
        self._peak = max(self._peak, rss)
        return {"cpu": round(max(0.0, cpu), 1), "rss": rss, "peak": self._peak, **_gpu()}

    def _family(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            return [self._me, *self._me.children(recursive=True)]
        return [self._me]

    def _seconds(self) -> float:
        total = 0.0
        for process in self._family():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total


def _gpu() -> dict[str, Any]:
    """Of the GPU, if this process has loaded torch and torch has opened one: nothing is loaded for this."""
    torch = sys.modules.get("torch")
    found: dict[str, Any] = {}
    with contextlib.suppress(Exception):  # half-loaded, or without the driver's library: then it is not known
        if torch is not None and torch.cuda.is_initialized():
            found["gpu_memory"] = int(torch.cuda.memory_reserved())
            found["gpu"] = int(torch.cuda.utilization())
    return found
