"""The state of every run of a study as one table, read from the runs' files in one pass.

Pages poll this: it needs neither the queue nor torch, and it reads again only files that have changed since the last
look of this process. What it says is judged by :meth:`eavdash.store.RunDir.live_status`, at every look for a run that
is under way, so a run whose process is gone is never shown as running; and for a run that has ended whenever something
in its folder came or went, so that one whose files are gone is never shown as done. A file that was written over in
place is noticed at the next look in a study of up to :data:`THOROUGH` runs, and within a few looks in larger ones.
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
from eavdash.errors import EavdashError, IntegrityError
from eavdash.store import RunDir, StudyDir, unit_name
from eavdash.store.status import ended

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
CACHED_STUDIES = 16
#: Runs of which one look compares every file with what it saw before; the next look goes on with the next ones.
FULL_CHECKS = 1000

Stamp = tuple[int, int, int]


def snapshot(study: StudyDir, runs: Sequence[str] | None = None) -> pd.DataFrame:
    """One row per run, by name.

    Columns: run, unit, subject ("" across subjects), stage, fold, seed, state, shown (the state, "not responding", or
    "damaged": done, and not all of its files are there as written), epoch, epochs, reason, attempt, accuracy (of test
    trials, 0..1, NaN before), started, finished, heartbeat (seconds since 1970, NaN before), ended (nothing more will
    happen by itself), from_epoch (after which the attempt began), executor, host, priority, stopping (to be cancelled),
    of what a run under way uses: cpu (percent of one core), memory, peak (bytes), gpu (percent), gpu_memory (bytes),
    NaN where that is not known.
    """
    known = _study_cache(study)
    with known.lock:
        names = _names(study.path) if runs is None else [*runs]
        due = known.due(names)
        rows = [row for name in names if (row := known.row(study, name, runs is not None, name in due)) is not None]
        if runs is not None:
            return _Table(rows).frame
        if len(known.runs) > len(rows):
            there = set(names)
            known.runs = {name: seen for name, seen in known.runs.items() if name in there}
        if known.table is None or not known.table.update(rows):
            known.table = _Table(rows)
        return known.table.frame.copy(deep=False)


@dataclass(slots=True)
class _CachedRun:
    """A run as it was read last."""

    stamps: tuple[Stamp | None, Stamp | None]  # of its folder and of its status.json
    row: tuple[Any, ...]
    settled: bool  # what was read is true until one of its files changes
    config: Stamp | None = None  # while it is the same, config.json is not read again
    configured: tuple[Any, ...] = ()
    files: tuple[str, ...] = ()  # config.json, and those that the run wrote if it is done
    fingerprint: int = 0  # of these files


@dataclass
class _StudyCache:
    """What this process has read of one study."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    runs: dict[str, _CachedRun] = field(default_factory=dict)
    table: _Table | None = None
    turn: int = 0

    def due(self, names: Sequence[str]) -> set[str]:
        """The runs that this look is thorough about: each in its turn."""
        if len(names) <= FULL_CHECKS:
            return set(names)
        self.turn = self.turn + FULL_CHECKS if self.turn + FULL_CHECKS < len(names) else 0
        return set(names[self.turn : self.turn + FULL_CHECKS])

    def row(self, study: StudyDir, name: str, planned: bool, due: bool) -> tuple[Any, ...] | None:
        """The run's row; None for a folder that is no run. ``planned``: it is one, whatever is missing."""
        folder = f"{study.path}/{name}"
        stamps = _stamp(folder), _stamp(f"{folder}/status.json")
        seen = self.runs.get(name)
        # A running run is judged at every look: its process may have gone without writing anything.
        changed = seen is None or not seen.settled or seen.stamps != stamps
        if seen is None or changed or (due and seen.fingerprint != results_fingerprint(folder, seen.files)):
            if not planned and _stamp(f"{folder}/config.json") is None:
                self.runs.pop(name, None)
                return None
            seen = _read(study, name, stamps, seen)
            self.runs[name] = seen
        return seen.row


class _Table:
    """The rows by column, changed in place: of ten thousand runs few change between two looks."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self.rows = rows
        self.columns = [list(values) for values in zip(*rows, strict=True)] or [[] for _ in COLUMNS]
        self.arrays = [self._array(number) for number in range(len(COLUMNS))]
        self.frame = self._to_frame()  # callers get copies of it: pandas copies what one of them changes

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


def results_fingerprint(folder: str, names: Sequence[str]) -> int:
    """Changes whenever one of these files is written, in place or anew, or is gone."""
    return hash(tuple(_stamp(f"{folder}/{name}") for name in names))


def _read(
    study: StudyDir, name: str, stamps: tuple[Stamp | None, Stamp | None], before: _CachedRun | None
) -> _CachedRun:
    run = study.run(name)
    config, configured = _stamp(str(run.config_file)), before.configured if before is not None else ()
    status: dict[str, Any]
    try:
        status = run.live_status()
        if not configured or before is None or config is None or before.config != config:
            configured = _configured(run.config())
        files = (run.config_file.name, *(run.result_files(status) if status["state"] == "done" else ()))
        fingerprint = results_fingerprint(str(run.path), files)
        row = _row(name, configured, status)
    except (IntegrityError, FileNotFoundError, KeyError, TypeError, ValueError) as error:
        said = (
            str(error) if isinstance(error, IntegrityError) else f"{run.status_file}: {error!r} is not as it should be"
        )
        status = {"state": "failed", "shown": "failed", "reason": said}
        return _CachedRun(stamps, _row(name, configured or _by_name(run), status), settled=False, configured=configured)
    return _CachedRun(stamps, row, status["state"] != "running", config, configured, files, fingerprint)


def _by_name(run: RunDir) -> tuple[Any, ...]:
    """What the table shows of a run whose config.json cannot be read, as far as its name says it."""
    found = re.fullmatch(rf"(.+)-({'|'.join(STAGES)})(?:-fold(\d+))?(?:-seed(\d+))?", run.name)
    if found is None:
        return "", "", "", 0, 0
    unit, stage, fold, seed = found.groups()
    document: dict[str, Any] = {}
    with contextlib.suppress(EavdashError, TypeError, ValueError):
        document = StudyDir.of(run).study()
    naming, selection = document.get("naming") or {}, document.get("selection") or {}
    subject = next((s for s in selection.get("subjects") or () if unit_name(s) == unit), "")
    return unit, subject, stage, int(fold or naming.get("fold") or 0), int(seed or naming.get("seed") or 0)


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
