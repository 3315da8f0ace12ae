"""The states of a run: legal transitions, the history of attempts, and liveness.

The functions take the content of a run's status.json. "Paused" is not a state of a run but of its study. "Not
responding" is not a state either: it is derived here from the run's lock and heartbeat. "Damaged" (done, but a result
file is missing or changed) is derived by :meth:`eavdash.store.RunDir.live_status`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eavdash.store.atomic import boot_clock, host, is_locked

STATES = ("queued", "blocked", "running", "done", "failed", "cancelled")
#: Every legal change of state. ``running → queued``: the process died; the run will resume from its last epoch.
TRANSITIONS: dict[str, frozenset[str]] = {
    "queued": frozenset({"running", "blocked", "failed", "cancelled"}),
    "blocked": frozenset({"queued", "running", "failed", "cancelled"}),
    "running": frozenset({"done", "failed", "cancelled", "queued"}),
    "done": frozenset({"queued"}),
    "failed": frozenset({"queued"}),
    "cancelled": frozenset({"queued"}),
}
#: Types of those fields of a status that the program computes with.
FIELD_TYPES: dict[type, tuple[str, ...]] = {
    dict: ("execution", "job", "usage", "checksums", "sizes"),
    list: ("history", "blocked_by", "beat"),
    int: ("attempt", "epoch", "epochs", "from_epoch", "launch", "kills", "killed_epoch"),
    float: ("heartbeat", "started", "finished"),
}
#: Seconds between a worker's heartbeats; age of the last one at which a run is shown as not responding.
HEARTBEAT_EVERY = 2.0
HEARTBEAT_LOST = 10.0
#: Attempts that a run's history keeps.
HISTORY = 50


def validation_error(status: Mapping[str, Any]) -> str:
    """Return the first invalid field of a status with its value; empty if the status is valid."""
    if status.get("state") not in STATES:
        return f"state {status.get('state')!r}"
    for kind, names in FIELD_TYPES.items():
        for name in names:
            value = status.get(name)
            if value is not None and not isinstance(value, (int, float) if kind is float else kind):
                return f"{name} {value!r}"
    return ""


def with_liveness(path: Path, status: dict[str, Any]) -> dict[str, Any]:
    """Add ``shown`` to the status of the run in folder ``path``: its state, or "not responding" with a new reason."""
    status["shown"] = status["state"]
    if status["state"] != "running":
        return status
    here = status.get("host") == host()
    if here and not is_locked(path / ".lock"):
        status["shown"] = "not responding"
        status["reason"] = "its process is gone; the queue will resume it from the last finished epoch"
    elif (age := _age(path, status, here)) > HEARTBEAT_LOST:
        status["shown"] = "not responding"
        status["reason"] = (
            f"no heartbeat for {age:.0f} s: its process is stopped or its machine is busy; wait until it continues, "
            "or cancel and retry it: the last finished epoch is kept"
        )
    return status


def _age(path: Path, status: Mapping[str, Any], here: bool) -> float:
    """Return the seconds since the last heartbeat, independent of changes to any machine's clock."""
    heartbeat = float(status.get("heartbeat") or 0)
    boot, now = boot_clock()
    then = status.get("beat") or ["", 0.0]
    if here and then[0] == boot:
        return float(now - then[1])
    if here:
        return max(0.0, time.time() - heartbeat)
    # Another machine's clock may be wrong: after its heartbeat has been seen to change, count from that change.
    with _seen_lock:
        seen = _seen.get(str(path))
        if seen is None or seen[0] != heartbeat:
            if len(_seen) > 50_000:
                _seen.clear()
            _seen[str(path)] = (heartbeat, now, seen is not None)
            return 0.0 if seen else max(0.0, time.time() - heartbeat)
        since = float(now - seen[1])
        return since if seen[2] else max(since, time.time() - heartbeat)


# By run: heartbeat, time at which it was first seen, True if it was seen to change.
_seen: dict[str, tuple[float, float, bool]] = {}
_seen_lock = threading.Lock()


def with_attempt(status: Mapping[str, Any], state: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the status; if a change to ``state`` with ``fields`` ends an attempt, with it added to the history."""
    if status["state"] != "running" or state == "running":
        return dict(status)
    attempt = {
        "attempt": int(status.get("attempt") or 0),
        "host": status.get("host"),
        "executor": dict(status.get("job") or {}).get("executor") or "local",
        "started": status.get("started"),
        "finished": fields.get("finished") or time.time(),
        "from_epoch": int(status.get("from_epoch") or 0),
        "epoch": int(fields.get("epoch") or status.get("epoch") or 0),
        "state": state,
        "reason": fields.get("reason") or "",
    }
    return {**status, "history": [*(status.get("history") or []), attempt][-HISTORY:]}


def ended(status: dict[str, Any]) -> bool:
    """Return True if a run will not change by itself: it has ended, or a parent that will not finish blocks it."""
    blocked = status["state"] == "blocked" and bool(status.get("blocked_by"))
    return blocked or status["state"] in ("done", "failed", "cancelled")
