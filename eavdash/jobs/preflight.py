"""What must be there before runs are handed to a place: asked of the place itself, and said in sentences.

In: the checkpoints folder and how runs are to be computed. Out: what is not met, or an error that says all of it.
"""

from __future__ import annotations

from pathlib import Path

from eavdash.config.schema import Execution
from eavdash.errors import QueueError
from eavdash.jobs.executors import NOTE, make


def preflight(root: Path, settings: Execution) -> tuple[list[str], list[str]]:
    """Requirements of a place that are not met, and those that could not be looked at in time.

    Raises:
        UsageError: there is no such place.
    """
    executor = make(settings.executor)
    if executor.queues:
        root.mkdir(parents=True, exist_ok=True)  # what the place's machines have to see
    found = executor.check(root, settings)
    return [s for s in found if not s.startswith(NOTE)], [s for s in found if s.startswith(NOTE)]


def require_preflight(root: Path, settings: Execution) -> list[str]:
    """Refuse to hand runs to a place that could not compute them; what could not be looked at is returned.

    Raises:
        UsageError: there is no such place.
        QueueError: a requirement is not met.
    """
    wrong, unsure = preflight(root, settings)
    if wrong:
        raise QueueError(" ".join(wrong))
    return unsure
