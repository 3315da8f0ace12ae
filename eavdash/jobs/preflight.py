"""Checks of an executor's requirements before runs are submitted to it."""

from __future__ import annotations

from pathlib import Path

from eavdash.config.schema import Execution
from eavdash.errors import QueueError
from eavdash.jobs.executors import NOTE, get_executor


def preflight(root: Path, settings: Execution) -> tuple[list[str], list[str]]:
    """Return the requirements of an executor that are not met, and those that could not be checked in time.

    Raises:
        UsageError: there is no such executor.
    """
    executor = get_executor(settings.executor)
    if executor.has_queue:
        root.mkdir(parents=True, exist_ok=True)  # the executor's machines must see it
    found = executor.check(root, settings)
    return [s for s in found if not s.startswith(NOTE)], [s for s in found if s.startswith(NOTE)]


def require_preflight(root: Path, settings: Execution) -> list[str]:
    """Check that an executor can compute runs; return the requirements that could not be checked in time.

    Raises:
        UsageError: there is no such executor.
        QueueError: a requirement is not met.
    """
    unmet, unchecked = preflight(root, settings)
    if unmet:
        raise QueueError(" ".join(unmet))
    return unchecked
