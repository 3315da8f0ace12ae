"""Dependencies between runs, and the release of blocked runs.

A fusion depends on its encoders, and with ``protocol.pooled`` an encoder depends on the run over all subjects. A
waiting run is "blocked" and holds no slot, thread or task. The process that ends a run also updates its
:func:`children`, and a process that writes "blocked" checks the parents once more afterwards, so that no end is missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from eavdash.errors import IntegrityError, QueueError
from eavdash.store import RunDir, StudyDir
from eavdash.store.status import RunStatus


def parents(run: RunDir) -> list[RunDir]:
    """Return the runs that must be done before this one."""
    return [run.sibling(name) for name in run.place().parents]


def children(run: RunDir) -> list[RunDir]:
    """Return the runs that depend on this one."""
    try:
        changed = run.study.path.stat().st_mtime_ns
    except FileNotFoundError:
        return []
    return [run.sibling(name) for name in _waiting(run.study.path, changed).get(run.name, ())]


@lru_cache(maxsize=8)
def _waiting(study: Path, _changed: int) -> dict[str, list[str]]:
    """Return the names of the children by the name of the parent; read again when runs were added to the study."""
    found: dict[str, list[str]] = {}
    for run in StudyDir(study).runs():
        try:
            for parent in run.place().parents:
                found.setdefault(parent, []).append(run.name)
        except IntegrityError:
            continue
    return found


def obstacles(run: RunDir, known: Mapping[RunDir, RunStatus] | None = None) -> tuple[list[str], dict[str, str]]:
    """Return the names of the parents that are not done yet, and the reasons of those that will not finish.

    ``known``: statuses that the caller has read a moment ago; it checks them again later by :func:`unblock`.
    """
    waiting: list[str] = []
    lost: dict[str, str] = {}
    for parent in parents(run):
        try:
            status = (known or {}).get(parent) or parent.status()
            if status.state in ("queued", "blocked"):
                parent.place()  # a run without a readable config.json is never computed
        except IntegrityError as error:
            lost[parent.name] = f"{parent.name} cannot be read: {error}"
            continue
        state, reason = status.state, status.reason or "no reason given"
        if state == "failed":
            lost[parent.name] = f"{parent.name} failed: {reason}"
        elif state == "cancelled":
            lost[parent.name] = f"{parent.name} was cancelled"
        elif state == "blocked" and status.blocked_by:
            lost[parent.name] = f"{parent.name} is blocked: {reason}"
        elif state != "done":
            waiting.append(parent.name)
    return waiting, lost


def waiting_reason(names: list[str]) -> str:
    """Return the reason of a run that waits for others."""
    return f"waits for {', '.join(names)}"


def unblock(run: RunDir, status: RunStatus | None = None) -> RunStatus:
    """Update a blocked run's status, if it was read already, from its parents' and return it.

    Raises:
        IntegrityError: the run is gone.
    """
    status = status or run.status()
    while status.state == "blocked":
        waiting, lost = obstacles(run)
        expect = {"state": "blocked", "submission": status.submission, "reason": status.reason}
        try:
            if not waiting and not lost:
                return run.transition("queued", expect=expect, reason="", blocked_by=())
            reason = "; ".join(lost.values()) or waiting_reason(waiting)
            if status.reason == reason and status.blocked_by == tuple(lost):
                return status
            return run.transition("blocked", expect=expect, reason=reason, blocked_by=tuple(lost))
        except QueueError:
            status = run.status()  # another process has changed it in the meantime
    return status


def release_children(run: RunDir) -> list[RunDir]:
    """Update the runs that depend on a run that has ended; return those that may start now."""
    free = []
    for child in children(run):
        try:
            if (status := child.status()).state != "blocked":
                continue
            status = unblock(child, status)
        except IntegrityError:
            continue
        if status.state == "queued":
            free.append(child)
        elif status.blocked_by:
            free += release_children(child)
    return free
