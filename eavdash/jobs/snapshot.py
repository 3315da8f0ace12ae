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
        if runs is not None:
            return _Table(rows).frame
        if len(known.runs) > len(rows):
            there = set(names)
            known.runs = {name: seen for name, seen in known.runs.items() if name in there}
        if known.table is None or not known.table.update(rows):
            known.table = _Table(rows)
        return known.table.frame.copy(deep=False)


@dataclass(slots=True)
class _Seen:
    """A run as it was read last."""

    status: Stamp | None
    row: tuple[Any, ...]
    settled: bool  # what was read is true until status.json changes
    attempt: tuple[Any, ...] = ()  # tells one attempt from every other; while it lasts, config.json is not read again
    configured: tuple[Any, ...] = ()


@dataclass
class _Known:
    """What this process has read of one study."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    runs: dict[str, _Seen] = field(default_factory=dict)
    table: _Table | None = None

    def row(self, study: StudyDir, name: str, planned: bool) -> tuple[Any, ...] | None:
        """The run's row; None for a folder that is no run. ``planned``: it is one, whatever is missing."""
        status = _stamp(f"{study.path}/{name}/status.json")
        seen = self.runs.get(name)
        # A running run is judged at every look: its process may have gone without writing anything. What config.json
        # says of a run never changes after it was planned, and whoever plans it again writes its status after it.
        if seen is None or not seen.settled or seen.status != status:
            if not planned and _stamp(f"{study.path}/{name}/config.json") is None:
                self.runs.pop(name, None)
                return None
            seen = _read(study, name, status, seen)
            self.runs[name] = seen
        return seen.row


class _Table:
    """The rows by column, changed in place: of ten thousand runs few change between two looks."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self.rows = rows
        self.columns = [list(values) for values in zip(*rows, strict=True)] or [[] for _ in COLUMNS]
        self.arrays = [self._array(number) for number in range(len(COLUMNS))]
        self.frame = self._whole()  # callers get copies of it: pandas copies what one of them changes

    def update(self, rows: list[tuple[Any, ...]]) -> bool:
        """Take over what has changed; False if these are not the same runs."""
        if len(rows) != len(self.rows):
            return False
        touched: set[int] = set()
        for number, (new, old) in enumerate(zip(rows, self.rows, strict=True)):
            if new is not old:
                if new[0] != old[0]:
                    return False
                for column, value in enumerate(new):
                    if value != old[column]:
                        self.columns[column][number] = value
                        touched.add(column)
        self.rows = rows
        for column in touched:
            self.arrays[column] = self._array(column)
        if touched:
            self.frame = self._whole()
        return True

    def _array(self, column: int) -> Any:
        kind = [*COLUMNS.values()][column]
        values = self.columns[column]
        return pd.array(values, dtype="str") if kind == "str" else np.array(values, dtype=kind)

    def _whole(self) -> pd.DataFrame:
        return pd.DataFrame(dict(zip(COLUMNS, self.arrays, strict=True)), copy=False)


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


def _read(study: StudyDir, name: str, stamp: Stamp | None, before: _Seen | None) -> _Seen:
    run = study.run(name)
    status: dict[str, Any]
    try:
        status = run.live_status()
        attempt = tuple(status.get(key) for key in ("submission", "attempt", "started"))
        goes_on = before is not None and not before.settled and before.attempt == attempt
        configured = before.configured if before is not None and goes_on else _configured(run.config())
        row = _row(name, configured, status)
    except (IntegrityError, FileNotFoundError, KeyError, TypeError, ValueError) as error:
        said = (
            str(error) if isinstance(error, IntegrityError) else f"{run.status_file}: {error!r} is not as it should be"
        )
        status = {"state": "failed", "shown": "failed", "reason": said}
        return _Seen(stamp, _row(name, ("", "", "", 0, 0), status), settled=False)
    return _Seen(stamp, row, status["state"] != "running", attempt, configured)


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
