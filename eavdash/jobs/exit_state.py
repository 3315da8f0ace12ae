"""The state of a run whose job ended without writing one.

Depending on its status and on the exit of its job, the run was stopped on request, has failed, or will resume after its
last finished epoch.
"""

from __future__ import annotations

import errno
import time
from typing import Any

from eavdash.jobs.executors import Exit
from eavdash.jobs.queue_tasks import new_request_id
from eavdash.store.status import RunStatus

#: Number of consecutive kills, without a finished epoch in between, after which a run fails.
MAX_KILLS = 3
#: Exit codes of a worker that could not write its failure, with their reasons.
EXIT_REASONS = {
    errno.ENOSPC: "its files could not be written: the disk is full; free some disk space, then retry: "
    "the last finished epoch is kept",
    errno.EIO: "its files could not be written; fix the disk or the permissions, then retry: "
    "the last finished epoch is kept",
}


def state_after_exit(status: RunStatus, ended: Exit, counted: bool) -> tuple[str, dict[str, Any]]:
    """Return the new state and its fields, after a job that ended without writing a state.

    ``counted``: this end counts towards :data:`MAX_KILLS`.
    """
    epoch = status.epoch
    over = {"finished": time.time()}
    if status.cancel:
        after = f" after epoch {epoch}" if epoch else ""
        if status.halt:
            # Stopped to resume later or elsewhere: by a new request, so that the task of the old one ends.
            fields = {"cancel": None, "halt": None, "submission": new_request_id()}
            return "queued", {**fields, "reason": f"{status.halt}{after}"}
        return "cancelled", {**over, "reason": f"cancelled{after}"}
    if ended.code is not None and 0 <= ended.code < 128 and not ended.reason and status.state == "running":
        if ended.code == errno.ENOEXEC:
            return "failed", {**over, "reason": "its process could not be started; see the scheduler's log"}
        no_result = f"its process ended with exit code {ended.code} without a result; see its log"
        return "failed", {**over, "reason": EXIT_REASONS.get(ended.code, no_result)}
    number = 9 if ended.code is None else -ended.code if ended.code < 0 else max(0, ended.code - 128)
    early = status.state == "queued" and ended.code is not None and 0 <= ended.code < 128
    what = ended.reason or (
        f"its job ended with exit code {ended.code} before it started"
        if early
        else f"its process was killed (signal {number})"
    )
    progress = epoch > status.killed_epoch
    kills = (0 if progress else status.kills) + counted
    if kills >= MAX_KILLS:
        reason = f"{what} {kills} times; find the cause (out of memory?), then retry"
        return "failed", {**over, "kills": kills, "reason": reason}
    reason = f"{what if counted or ended.reason else 'its process is gone'}; it resumes after epoch {epoch}"
    return "queued", {"kills": kills, "killed_epoch": epoch, "reason": reason}
