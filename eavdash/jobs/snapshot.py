"""Snapshot of the states of all runs of a study as one table, read from the runs' files.

Pages poll this: it needs neither the queue nor torch, and reads only files that have changed since this process's last
snapshot. States come from :meth:`eavdash.store.RunDir.live_status`. A running run is checked in every snapshot, so a
run whose process is gone is never shown as running. A run that has ended is checked whenever a file in its folder was
added or removed, so a run whose files are gone is never shown as done. A file that was overwritten in place is noticed
in the next snapshot of a study of up to :data:`FULL_CHECKS` runs, and within a few snapshots of a larger one.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from eavdash.config.choices import STAGES
from eavdash.errors import IntegrityError
from eavdash.jobs.obstacle import obstacle
from eavdash.store import RunDir, StudyDir, unit_name
from eavdash.store.documents import Naming, RunConfig
from eavdash.store.run import PLANNED
from eavdash.store.status import LiveStatus, RunStatus, Usage

COLUMNS = {
    "run": "str",
    "unit": "str",
    "subject": "str",
    "stage": "str",
    "fold": "int64",
    "seed": "int64",
    "state": "str",
    "shown": "str",
    "phase": "str",
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
#: Number of studies that a process caches; the least recently used ones are read again.
CACHED_STUDIES = 16
#: Number of runs of which one snapshot compares every file with the cache; the next snapshot takes the next ones.
FULL_CHECKS = 1000

Stamp = tuple[int, int, int]


def snapshot(study: StudyDir, runs: Sequence[str] | None = None) -> pd.DataFrame:
    """Return one row per run, sorted by name.

    Columns: run, unit, subject ("" across subjects), stage, fold, seed, state, shown (the state, "not responding", or
    "damaged": done, but a result file is missing or changed, "waiting": for runs that it needs), phase (what it does,
    empty unless it is running), epoch, epochs, reason, attempt, accuracy (of test
    trials, 0..1, NaN before), started, finished, heartbeat (seconds since 1970, NaN before), ended (it will not change
    by itself), from_epoch (after which the attempt started), executor, host, priority, stopping (being cancelled); and
    the usage of a running run: cpu (percent of one core), memory, peak (bytes), gpu (percent), gpu_memory (bytes), NaN
    if unknown.
    """
    cache = _study_cache(study)
    with cache.lock:
        names = _names(study.path) if runs is None else [*runs]
        due = cache.due(names)
        rows = [row for name in names if (row := cache.row(study, name, runs is not None, name in due)) is not None]
        if runs is not None:
            return _with_obstacle(_Table(rows).frame, study)
        if len(cache.runs) > len(rows):
            existing = set(names)
            cache.runs = {name: cached for name, cached in cache.runs.items() if name in existing}
        if cache.table is None or not cache.table.update(rows):
            cache.table = _Table(rows)
        return _with_obstacle(cache.table.frame.copy(deep=False), study)


def _with_obstacle(table: pd.DataFrame, study: StudyDir) -> pd.DataFrame:
    """Let the runs that need the scheduler name what keeps it from going on."""
    waits = ((table["state"] == "queued") & (table["reason"] != PLANNED)) | table["stopping"]
    if waits.any() and (problem := obstacle(study.path.parent)):
        return table.assign(reason=table["reason"].mask(waits, problem))
    return table


@dataclass(slots=True)
class _CachedRun:
    """A run as last read."""

    stamps: tuple[Stamp | None, Stamp | None]  # of its folder and of its status.json
    row: tuple[Any, ...]
    settled: bool  # the row is valid until one of its files changes
    config: Stamp | None = None  # of config.json
    configured: tuple[Any, ...] = ()
    files: tuple[str, ...] = ()  # config.json, and the result files of a finished run
    fingerprint: int = 0  # of these files


@dataclass
class _StudyCache:
    """The rows of one study that this process has read."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    runs: dict[str, _CachedRun] = field(default_factory=dict)
    table: _Table | None = None
    turn: int = 0

    def due(self, names: Sequence[str]) -> set[str]:
        """Return the runs to be checked fully in this snapshot: all, or the next :data:`FULL_CHECKS` in turn."""
        if len(names) <= FULL_CHECKS:
            return set(names)
        self.turn = self.turn + FULL_CHECKS if self.turn + FULL_CHECKS < len(names) else 0
        return set(names[self.turn : self.turn + FULL_CHECKS])

    def row(self, study: StudyDir, name: str, planned: bool, due: bool) -> tuple[Any, ...] | None:
        """Return the run's row; None for a folder that is not a run. ``planned``: it is one, even without files."""
        folder = f"{study.path}/{name}"
        stamps = _stamp(folder), _stamp(f"{folder}/status.json")
        cached = self.runs.get(name)
        # A running run is checked in every snapshot: its process may be gone without having written anything.
        changed = cached is None or not cached.settled or cached.stamps != stamps
        if cached is None or changed or (due and cached.fingerprint != results_fingerprint(folder, cached.files)):
            if not planned and _stamp(f"{folder}/config.json") is None:
                self.runs.pop(name, None)
                return None
            cached = _read(study, name, stamps, cached)
            self.runs[name] = cached
        return cached.row


class _Table:
    """The rows by column, updated in place: of ten thousand runs only few change between two snapshots."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self.rows = rows
        self.columns = [list(values) for values in zip(*rows, strict=True)] or [[] for _ in COLUMNS]
        self.arrays = [self._array(number) for number in range(len(COLUMNS))]
        self.frame = self._to_frame()  # callers get shallow copies: pandas copies a column on write

    def update(self, rows: list[tuple[Any, ...]]) -> bool:
        """Update the changed values; return False if these are not the same runs."""
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
            self.frame = self._to_frame()
        return True

    def _array(self, column: int) -> Any:
        kind = [*COLUMNS.values()][column]
        values = self.columns[column]
        return pd.array(values, dtype="str") if kind == "str" else np.array(values, dtype=kind)

    def _to_frame(self) -> pd.DataFrame:
        return pd.DataFrame(dict(zip(COLUMNS, self.arrays, strict=True)), copy=False)


_caches: OrderedDict[str, _StudyCache] = OrderedDict()
_caches_lock = threading.Lock()


def _study_cache(study: StudyDir) -> _StudyCache:
    with _caches_lock:
        known = _caches.pop(str(study.path), None) or _StudyCache()
        _caches[str(study.path)] = known
        while len(_caches) > CACHED_STUDIES:
            _caches.popitem(last=False)
        return known


def _names(folder: os.PathLike[str]) -> list[str]:
    """Return the names of a study's folders that may be runs, sorted."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and _is_folder(entry))
    return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """True for a folder, and a link to one; a link that leads nowhere or to itself is none."""
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))  # noqa: PTH112


def _stamp(path: str) -> Stamp | None:
    """Return a value that changes whenever the file is replaced (files are written by renaming); None if missing."""
    try:
        found = os.stat(path)  # noqa: PTH116 - creating ten thousand path objects takes longer than this call
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def results_fingerprint(folder: str, names: Sequence[str]) -> int:
    """Return a value that changes whenever one of these files is written, replaced or removed."""
    return hash(tuple(_stamp(f"{folder}/{name}") for name in names))


def _read(
    study: StudyDir, name: str, stamps: tuple[Stamp | None, Stamp | None], before: _CachedRun | None
) -> _CachedRun:
    run = study.run(name)
    config, configured = _stamp(str(run.config_file)), before.configured if before is not None else ()
    try:
        live = run.live_status()
        status = live.status
        if not configured or before is None or config is None or before.config != config:
            configured = _configured(run.config())
        files = (run.config_file.name, *(run.result_files(status) if status.state == "done" else ()))
        fingerprint = results_fingerprint(str(run.path), files)
        row = _row(name, configured, live)
    except (IntegrityError, FileNotFoundError, KeyError, TypeError, ValueError) as error:
        reason = str(error) if isinstance(error, IntegrityError) else f"{run.status_file}: invalid content: {error!r}"
        live = LiveStatus(RunStatus(state="failed"), "failed", reason)
        return _CachedRun(stamps, _row(name, configured or _by_name(run), live), settled=False, configured=configured)
    return _CachedRun(stamps, row, status.state != "running", config, configured, files, fingerprint)


def _by_name(run: RunDir) -> tuple[Any, ...]:
    """Return unit, subject, stage, fold and seed from the name of a run whose config.json cannot be read."""
    found = re.fullmatch(rf"(.+)-({'|'.join(STAGES)})(?:-fold(\d+))?(?:-seed(\d+))?", run.name)
    if found is None:
        return "", "", "", 0, 0
    unit, stage, fold, seed = found.groups()
    subject, naming = "", Naming()
    with contextlib.suppress(IntegrityError):
        document = StudyDir.of(run).study()
        subject = next((s for s in document.selection.subjects if unit_name(s) == unit), "")
        naming = document.naming
    return unit, subject, stage, int(fold or naming.fold or 0), int(seed or naming.seed or 0)


def _configured(config: RunConfig) -> tuple[Any, ...]:
    """Return the values of config.json that the table has: unit, subject, stage, fold, seed."""
    return config.unit, config.subject, config.stage, config.fold, config.seed


def _row(name: str, configured: tuple[Any, ...], live: LiveStatus) -> tuple[Any, ...]:
    """Return the values of :data:`COLUMNS`."""
    status = live.status
    used = status.usage if status.state == "running" else Usage()
    return (
        name,
        *configured,
        status.state,
        live.shown,
        status.doing if live.shown == "running" else "",
        status.epoch,
        status.epochs,
        live.reason,
        status.attempt,
        _number(status.accuracy),
        _number(status.started),
        _number(status.finished),
        _number(status.heartbeat),
        status.ended,
        status.from_epoch,
        str(status.job.executor if status.job else status.execution.get("executor") or "local"),
        status.host or "",
        int(status.execution.get("priority") or 0),
        bool(status.cancel) and status.state == "running",
        _number(used.cpu),
        _number(used.rss),
        _number(status.usage.peak if status.usage.peak is not None else status.peak),
        _number(used.gpu),
        _number(used.gpu_memory),
    )


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
