"""The state of every run of a study as one table, read from the runs' files in one pass.

Pages poll this: it needs neither the queue nor torch, and it reads again only files that have changed since the last
look of this process. What it says is judged by :meth:`eavdash.store.RunDir.live_status`, at every look for a run that
is under way, so a run whose process is gone is never shown as running.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from eavdash.errors import IntegrityError
from eavdash.store import StudyDir

COLUMNS = {
    "run": "str",
    "unit": "str",
    "subject": "str",
    "stage": "str",
    "fold": "int64",
    "seed": "int64",
    "state": "str",
    "shown": "str",
    "epoch": "int64",
    "epochs": "int64",
    "reason": "str",
    "attempt": "int64",
    "accuracy": "float64",
    "started": "float64",
    "finished": "float64",
    "heartbeat": "float64",
    "ended": "bool",
    "from_epoch": "int64",
    "executor": "str",
    "host": "str",
    "priority": "int64",
    "stopping": "bool",
    "cpu": "float64",
    "memory": "float64",
    "peak": "float64",
    "gpu": "float64",
    "gpu_memory": "float64",
}
#: Studies whose rows a process keeps; those looked at least recently are read anew.
STUDIES = 16

Stamp = tuple[int, int, int]


def ended(status: dict[str, Any]) -> bool:
    """Whether nothing more happens to a run by itself: over, or blocked by a parent that will not be done."""
    blocked = status["state"] == "blocked" and bool(status.get("blocked_by"))
    return blocked or status["state"] in ("done", "failed", "cancelled")


def snapshot(study: StudyDir, runs: Sequence[str] | None = None) -> pd.DataFrame:
    """One row per run, by name.

    Columns: run, unit, subject ("" across subjects), stage, fold, seed, state, shown (the state, or "not responding"),
    epoch, epochs, reason, attempt, accuracy (of test trials, 0..1, NaN before), started, finished, heartbeat (seconds
    since 1970, NaN before), ended (nothing more happens by itself), from_epoch (after which the attempt began),
    executor, host, priority, stopping (it is to be cancelled), and of what a run under way uses: cpu (percent of one
    core), memory, peak (bytes), gpu (percent), gpu_memory (bytes), NaN where that is not known.
    """
    known = _known(study)
    with known.lock:
        names = _names(study.path) if runs is None else [*runs]
        rows = [row for name in names if (row := known.row(study, name, planned=runs is not None)) is not None]
        if runs is None and len(known.runs) > len(rows):
            there = set(names)
            known.runs = {name: seen for name, seen in known.runs.items() if name in there}
        if rows != known.rows or known.frame is None:
            known.rows, known.frame = rows, _frame(rows)
        return known.frame.copy(deep=False)  # pandas copies what a caller changes


@dataclass
class _Seen:
    """A run as it was read last."""

    status: Stamp | None
    config: Stamp | None
    configured: tuple[Any, ...]
    row: tuple[Any, ...]
    under_way: bool


@dataclass
class _Known:
    """What this process has read of one study."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    runs: dict[str, _Seen] = field(default_factory=dict)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    frame: pd.DataFrame | None = None

    def row(self, study: StudyDir, name: str, planned: bool) -> tuple[Any, ...] | None:
        """The run's row; None for a folder that is no run. ``planned``: it is one, whatever is missing."""
        folder = f"{study.path}/{name}"
        status, config = _stamp(f"{folder}/status.json"), _stamp(f"{folder}/config.json")
        if config is None and not planned:
            self.runs.pop(name, None)
            return None
        seen = self.runs.get(name)
        # A running run is judged at every look: its process may have gone without writing anything.
        if seen is None or seen.under_way or seen.status != status or seen.config != config:
            configured = seen.configured if seen is not None and seen.config == config else None
            seen = _read(study, name, status, config, configured)
            self.runs[name] = seen
        return seen.row


_studies: OrderedDict[str, _Known] = OrderedDict()
_guard = threading.Lock()


def _known(study: StudyDir) -> _Known:
    with _guard:
        known = _studies.pop(str(study.path), None) or _Known()
        _studies[str(study.path)] = known
        while len(_studies) > STUDIES:
            _studies.popitem(last=False)
        return known


def _names(folder: os.PathLike[str]) -> list[str]:
    """The folders of a study that may be runs, by name."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    return []


def _stamp(path: str) -> Stamp | None:
    """Changes whenever the file is written anew, which is by renaming; None: there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a path object for each of ten thousand files takes longer than the look
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(study: StudyDir, name: str, status_stamp: Stamp | None, config_stamp: Stamp | None, configured: Any) -> _Seen:
    run = study.run(name)
    status: dict[str, Any]
    try:
        status = run.live_status()
        configured = configured or _configured(run.config())
        row = _row(name, configured, status)
    except (IntegrityError, FileNotFoundError, KeyError, TypeError, ValueError) as error:
        said = (
            str(error) if isinstance(error, IntegrityError) else f"{run.status_file}: {error!r} is not as it should be"
        )
        status = {"state": "failed", "shown": "failed", "reason": said}
        row = _row(name, configured or ("", "", "", 0, 0), status)
        return _Seen(status_stamp, config_stamp, (), row, under_way=False)
    return _Seen(status_stamp, config_stamp, configured, row, under_way=status["state"] == "running")


def _configured(config: dict[str, Any]) -> tuple[Any, ...]:
    """The part of config.json that the table shows."""
    texts = (str(config.get(key) or "") for key in ("unit", "subject", "stage"))
    return (*texts, int(config.get("fold") or 0), int(config.get("seed") or 0))


def _row(name: str, configured: tuple[Any, ...], status: dict[str, Any]) -> tuple[Any, ...]:
    """The values of :data:`COLUMNS`."""
    get = status.get
    execution, job, usage = get("execution") or {}, get("job") or {}, get("usage") or {}
    used = usage if status["state"] == "running" else {}
    return (
        name,
        *configured,
        status["state"],
        status["shown"],
        int(get("epoch") or 0),
        int(get("epochs") or 0),
        str(get("reason") or ""),
        int(get("attempt") or 0),
        _number(get("accuracy")),
        _number(get("started")),
        _number(get("finished")),
        _number(get("heartbeat")),
        ended(status),
        int(get("from_epoch") or 0),
        str(job.get("executor") or execution.get("executor") or "local"),
        str(get("host") or ""),
        int(execution.get("priority") or 0),
        bool(get("cancel")) and status["state"] == "running",
        _number(used.get("cpu")),
        _number(used.get("rss")),
        _number(usage.get("peak") if usage.get("peak") is not None else get("peak")),
        _number(used.get("gpu")),
        _number(used.get("gpu_memory")),
    )


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _frame(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    columns = zip(*rows, strict=True) if rows else ((),) * len(COLUMNS)
    made: dict[str, Any] = {}
    for (name, kind), values in zip(COLUMNS.items(), columns, strict=True):
        # By column, never by cell: a table of ten thousand runs is made in milliseconds.
        made[name] = pd.array(values, dtype="str") if kind == "str" else np.array(values, dtype=kind)
    return pd.DataFrame(made)
