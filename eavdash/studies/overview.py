"""A table of all studies with progress, size and settings.

In: a checkpoints folder. Out: a table. Unchanged runs are not read again: every file of a run is written by renaming,
which changes the modification time of its folder. A second call with 10,000 runs therefore costs a few ``stat`` each:
of the folder, and of the files that determine the run's state, which may be overwritten in place.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from eavdash.config.convert import recorded_config
from eavdash.errors import EavdashError, IntegrityError
from eavdash.jobs.snapshot import results_fingerprint
from eavdash.store import RunDir, StudyDir, studies
from eavdash.store.documents import Control
from eavdash.studies.archive import sweep

COLUMNS = {
    "study": "str",
    "runs": "int64",
    "done": "int64",
    "states": "object",
    "never_queued": "int64",
    "open": "int64",
    "bytes": "int64",
    "resume_bytes": "int64",
    "created": "str",
    "changed": "float64",
    "dataset": "str",
    "protocol": "str",
    "preset": "str",
    "simulated": "bool",
    "paused": "bool",
    "archived": "bool",
    "problem": "str",
}
#: Seconds after which a folder's modification time is trusted: two quick changes may have the same time.
SETTLED = 2.0
#: Maximum number of run folders in the memory cache.
MAX_CACHED = 50_000


@dataclass(frozen=True)
class _RunScan:
    """The content of a run's folder at one time; its sub-``folders`` may change without changing ``stamp``.

    ``state`` is the displayed state, except for a running run; ``mark`` identifies the content of ``files``.
    """

    stamp: int
    files: tuple[str, ...]
    mark: int
    state: str
    submitted: bool
    open: bool
    bytes: int
    resume: int
    folders: tuple[str, ...]


_cache: dict[str, _RunScan] = {}


def overview(root: Path, archived: bool = False) -> pd.DataFrame:
    """Return one row per study of a checkpoints folder, by name; ``archived``: including archived studies.

    Columns: study, runs, done, states (number of runs in each displayed state), never_queued (planned runs that were
    never submitted), open (submitted runs that have not ended), bytes (of all files), resume_bytes (of the checkpoints
    from which unfinished runs would resume), created (ISO 8601), changed (latest modification, seconds since 1970),
    dataset (its path), protocol, preset, simulated, paused, archived, and problem (why study.json or control.json
    cannot be read; empty otherwise).
    """
    sweep(root)
    rows = [_row(study) for study in studies(root) if archived or study.listed]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def damage(study: StudyDir) -> str:
    """Return why study.json or control.json cannot be read, in one sentence; empty if both can."""
    return str(_recorded(study)["problem"])


def _row(study: StudyDir) -> dict[str, Any]:
    states: Counter[str] = Counter()
    never = size = resume = unfinished = 0
    changed = 0.0
    for entry in _entries(study.path):
        stat = entry.stat(follow_symlinks=False)
        changed = max(changed, stat.st_mtime)
        if not entry.is_dir(follow_symlinks=False):
            size += stat.st_size
            continue
        scan = _scan(entry.path, stat.st_mtime_ns)
        if scan is None:
            size += _tree_size(entry.path)
            continue
        size += scan.bytes + sum(_tree_size(folder) for folder in scan.folders)
        resume += scan.resume
        unfinished += scan.open
        never += scan.state == "queued" and not scan.submitted
        states[_live_state(entry.path) if scan.state == "running" else scan.state] += 1
    return {
        "study": study.name,
        "runs": states.total(),
        "done": states["done"],
        "states": dict(states.most_common()),
        "never_queued": never,
        "open": unfinished,
        "bytes": size,
        "resume_bytes": resume,
        "changed": changed,
        **_recorded(study),
    }


def _recorded(study: StudyDir) -> dict[str, Any]:
    """Return the columns from study.json and control.json."""
    problem, control = "", Control()
    try:
        control = study.control()
    except IntegrityError as error:
        problem = str(error)
    facts: dict[str, Any] = {"created": "", "dataset": "", "protocol": "", "preset": "", "simulated": False}
    try:
        document = study.study()
        facts |= {"created": document.created, "dataset": document.dataset.path}
        facts |= {"simulated": document.dataset.simulated}
        config = recorded_config(document)
        facts |= {"protocol": config.protocol.name, "preset": config.preset}
    except IntegrityError as error:
        problem = problem or str(error)
    return {**facts, "paused": control.paused, "archived": control.archived, "problem": problem}


def _scan(path: str, stamp: int) -> _RunScan | None:
    """Scan a folder with this modification time, or return the cached scan; None if it is not a run."""
    cached = _cache.get(path)
    if cached is not None and cached.stamp == stamp and cached.mark == results_fingerprint(path, cached.files):
        return cached
    run = RunDir(Path(path))
    size = resume = 0
    names, folders = set(), []
    for entry in _entries(run.path):
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry.path)
            continue
        names.add(entry.name)
        length = entry.stat(follow_symlinks=False).st_size
        size += length
        resume += length if entry.name in (run.resume_file.name, run.joint_resume_file.name) else 0
    if run.config_file.name not in names:
        return None
    files = [run.config_file.name, run.status_file.name]
    mark = results_fingerprint(path, files)
    try:
        run.config()
        status = run.status()
        state, submitted = status.named, bool(status.submission)
        unfinished = not status.ended and (submitted or state == "running")
        if state == "done":
            files += run.result_files(status)
            mark = results_fingerprint(path, files)
            state = run.live_status().shown
    except (IntegrityError, KeyError):
        state, submitted, unfinished = "failed", True, False  # as in the snapshot: an unreadable run has failed
    scan = _RunScan(stamp, tuple(files), mark, state, submitted, unfinished, size, resume, tuple(folders))
    if time.time() - stamp / 1e9 > SETTLED:
        if len(_cache) >= MAX_CACHED:
            _cache.clear()
        _cache[path] = scan
    return scan


def _live_state(path: str) -> str:
    """Return the state of a running run, checked against its lock and heartbeat."""
    try:
        return RunDir(Path(path)).live_status().shown
    except EavdashError:
        return "failed"


def _tree_size(path: str) -> int:
    """Return the size of all files under a folder, in bytes."""
    return sum(
        _tree_size(entry.path) if entry.is_dir(follow_symlinks=False) else entry.stat(follow_symlinks=False).st_size
        for entry in _entries(path)
    )


def _entries(path: str | Path) -> list[os.DirEntry[str]]:
    """List a folder, without entries that are deleted meanwhile; a missing folder has none."""
    found = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                try:
                    entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                found.append(entry)
    except OSError:
        return []
    return found
