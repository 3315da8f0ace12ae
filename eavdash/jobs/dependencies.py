"""Which runs wait for which, and how the end of one reaches those that wait for it.

A fusion waits for its encoders, and with ``protocol.pooled`` an encoder for the run over all subjects. A waiting run
is "blocked" and holds nothing: no slot, no thread, no task. Whoever ends a run looks at those that wait for it
(:func:`children`), and whoever writes "blocked" looks at the parents once more afterwards, so that no end is missed.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from eavdash.errors import IntegrityError, QueueError
from eavdash.store import RunDir, StudyDir


def parents(run: RunDir) -> list[RunDir]:
    """The runs that must be done before this one."""
    return [run.sibling(name) for name in dict(run.config().get("parents") or {}).values()]


def children(run: RunDir) -> list[RunDir]:
    """The runs that wait for this one."""
    try:
        changed = run.study.path.stat().st_mtime_ns
    except FileNotFoundError:
        return []
    return [run.sibling(name) for name in _waiting(run.study.path, changed).get(run.name, ())]


@lru_cache(maxsize=8)
def _waiting(study: Path, _changed: int) -> dict[str, list[str]]:
    """Names of runs by the name of what they wait for; read again when runs were added to the study."""
    found: dict[str, list[str]] = {}
    for run in StudyDir(study).runs():
        try:
            for parent in dict(run.config().get("parents") or {}).values():
                found.setdefault(parent, []).append(run.name)
        except IntegrityError:
            continue
    return found


def obstacles(run: RunDir) -> tuple[list[str], dict[str, str]]:
    """Names of the parents that are not done yet, and those that will not be, with the reason."""
    waiting: list[str] = []
    lost: dict[str, str] = {}
    for parent in parents(run):
        try:
            status = parent.status()
            if status["state"] in ("queued", "blocked"):
                parent.config()  # without it that run will never be computed
        except IntegrityError as error:
            lost[parent.name] = f"{parent.name} cannot be read: {error}"
            continue
        state, reason = status["state"], status.get("reason") or "no reason given"
        if state == "failed":
            lost[parent.name] = f"{parent.name} failed: {reason}"
        elif state == "cancelled":
            lost[parent.name] = f"{parent.name} was cancelled"
        elif state == "blocked" and status.get("blocked_by"):
            lost[parent.name] = f"{parent.name} is blocked: {reason}"
        elif state != "done":
            waiting.append(parent.name)
    return waiting, lost


def waiting_reason(names: list[str]) -> str:
    """The reason of a run that waits for others."""
    return f"waits for {', '.join(names)}"


def unblock(run: RunDir) -> dict[str, Any]:
    """Bring a blocked run's status up to date with its parents'; the status then.

    Raises:
        IntegrityError: the run is gone.
    """
    while (status := run.status())["state"] == "blocked":
        waiting, lost = obstacles(run)
        expect = {"state": "blocked", "submission": status.get("submission"), "reason": status.get("reason")}
        try:
            if not waiting and not lost:
                return run.transition("queued", expect=expect, reason="", blocked_by=[])
            reason = "; ".join(lost.values()) or waiting_reason(waiting)
            if status.get("reason") == reason and list(status.get("blocked_by") or ()) == list(lost):
                return status
            return run.transition("blocked", expect=expect, reason=reason, blocked_by=list(lost))
        except QueueError:
            continue  # cancelled, queued anew or brought forward by somebody else in this very moment
    return status


def pass_on(run: RunDir) -> list[RunDir]:
    """Tell those that wait for a run that it has ended; the runs that may go on now."""
    free = []
    for child in children(run):
        try:
            if child.status()["state"] != "blocked":
                continue
            status = unblock(child)
        except IntegrityError:
            continue
        if status["state"] == "queued":
            free.append(child)
        elif status.get("blocked_by"):
            free += pass_on(child)
    return free
