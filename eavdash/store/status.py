"""The states of a run: what each may become, what is remembered of an attempt, and whether "running" is true.

In: the content of a run's status.json. Out: the same with what can be observed. "Paused" is no state of a run, it
belongs to the study; "not responding" is none either, it is derived here, from the run's lock and its heartbeat, and
"damaged" (done, but its files are not there as it wrote them) by :meth:`eavdash.store.RunDir.live_status`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eavdash.store.atomic import boot_clock, host, is_locked

STATES = ("queued", "blocked", "running", "done", "failed", "cancelled")
#: Every legal change of state. ``running → queued``: the process died and the run will go on from its last epoch.
TRANSITIONS: dict[str, frozenset[str]] = {
    "queued": frozenset({"running", "blocked", "failed", "cancelled"}),
    "blocked": frozenset({"queued", "running", "failed", "cancelled"}),
    "running": frozenset({"done", "failed", "cancelled", "queued"}),
    "done": frozenset({"queued"}),
    "failed": frozenset({"queued"}),
    "cancelled": frozenset({"queued"}),
}
#: What the fields of a status are made of, where something is computed from them.
KINDS: dict[type, tuple[str, ...]] = {
    dict: ("execution", "job", "usage", "checksums", "sizes"),
    list: ("history", "blocked_by", "beat"),
    int: ("attempt", "epoch", "epochs", "from_epoch", "launch", "kills", "killed_epoch"),
    float: ("heartbeat", "started", "finished"),
}
#: Seconds between a worker's heartbeats, and the age at which a run is shown as not responding.
HEARTBEAT_EVERY = 2.0
HEARTBEAT_LOST = 10.0
#: Attempts that a run remembers.
HISTORY = 50


def validation_error(status: Mapping[str, Any]) -> str:
    """What is wrong in a status that no version of this program has written; empty if nothing is."""
    if status.get("state") not in STATES:
        return f"state {status.get('state')!r}"
    for kind, names in KINDS.items():
        for name in names:
            value = status.get(name)
            if value is not None and not isinstance(value, (int, float) if kind is float else kind):
                return f"{name} {value!r}"
    return ""


def with_liveness(path: Path, status: dict[str, Any]) -> dict[str, Any]:
    """A status, of the run in folder ``path``, with ``shown``: its state, or "not responding" and the reason why."""
    status["shown"] = status["state"]
    if status["state"] != "running":
        return status
    here = status.get("host") == host()
    if here and not is_locked(path / ".lock"):
        status["shown"] = "not responding"
        status["reason"] = "its process is gone; the queue takes it up again from the last finished epoch"
    elif (age := _age(path, status, here)) > HEARTBEAT_LOST:
        status["shown"] = "not responding"
        status["reason"] = (
            f"no heartbeat for {age:.0f} s: its process is stopped or its machine is busy; it goes on when they do, "
            "or cancel and retry it: the last finished epoch is kept"
        )
    return status


def _age(path: Path, status: Mapping[str, Any], here: bool) -> float:
    """Seconds since the heartbeat, whatever anybody's clock is set to."""
    heartbeat = float(status.get("heartbeat") or 0)
    boot, now = boot_clock()
    then = status.get("beat") or ["", 0.0]
    if here and then[0] == boot:
        return float(now - then[1])
    if here:
        return max(0.0, time.time() - heartbeat)
    # Another machine's clock may be wrong: once a change of its heartbeat was seen, count from that.
    with _seen_lock:
        seen = _seen.get(str(path))
        if seen is None or seen[0] != heartbeat:
            if len(_seen) > 50_000:
                _seen.clear()
            _seen[str(path)] = (heartbeat, now, seen is not None)
            return 0.0 if seen else max(0.0, time.time() - heartbeat)
        since = float(now - seen[1])
        return since if seen[2] else max(since, time.time() - heartbeat)


_seen: dict[
    str, tuple[float, float, bool]
] = {}  # run → heartbeat, when it was first seen, whether it was seen to change
_seen_lock = threading.Lock()


def with_attempt(status: Mapping[str, Any], state: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The status with the attempt in its history that a change to ``state`` (and ``fields``) ends, if it ends one."""
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
    """Whether nothing more happens to a run by itself: over, or blocked by a parent that will not be done."""
    blocked = status["state"] == "blocked" and bool(status.get("blocked_by"))
    return blocked or status["state"] in ("done", "failed", "cancelled")
