"""One row per study: how far it is, how large, and what it was made of.

In: a checkpoints folder. Out: a table. Nothing is read twice while it stays as it is: every file of a run is written by
renaming, which changes the time of its folder, so that a second look at 10,000 runs costs a few ``stat`` for each: of
the folder, and of files that the run's state rests on, which may be written over in place.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from eavdash.errors import EavdashError, IntegrityError
from eavdash.jobs.snapshot import results_fingerprint
from eavdash.store import RunDir, StudyDir, studies
from eavdash.store.status import ended
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
#: A folder's time is trusted once it is this many seconds old: a clock may tick the same for two changes in a row.
SETTLED = 2.0
#: Folders of runs that are remembered.
REMEMBERED = 50_000


@dataclass(frozen=True)
class _Look:
    """What the folder of a run held at one time; ``folders`` beside its files change without it.

    ``state`` is the one shown, but for a run that says that it is running; ``files`` have the ``mark`` that they had.
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


_known: dict[str, _Look] = {}


def overview(root: Path, archived: bool = False) -> pd.DataFrame:
    """One row per study of a checkpoints folder, by name; ``archived``: those as well that were put away.

    Columns: study, runs, done, states (how many runs are shown in each state), never_queued (runs that are planned and
    were never submitted), open (runs that were submitted and have not ended), bytes (of all its files), resume_bytes
    (of them, what unfinished runs would go on from), created (ISO 8601), changed (of any of its files, seconds since
    1970), dataset (its path), protocol, preset, simulated, paused, archived, and problem (why its study.json cannot be
    read; empty otherwise).
    """
    sweep(root)
    rows = []
    for study in studies(root):
        control = study.control()
        if archived or not control["archived"]:
            rows.append(_row(study, control))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def size(number: int) -> str:
    """Bytes for people: ``12 GB``."""
    value, unit = float(number), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"


def _row(study: StudyDir, control: dict[str, Any]) -> dict[str, Any]:
    problem, document = "", dict[str, Any]()
    try:
        document = study.study()
    except IntegrityError as error:
        problem = str(error)
    config, dataset = dict(document.get("config") or {}), dict(document.get("dataset") or {})
    states: Counter[str] = Counter()
    never = size = resume = unfinished = 0
    changed = 0.0
    for entry in _entries(study.path):
        stat = entry.stat(follow_symlinks=False)
        changed = max(changed, stat.st_mtime)
        if not entry.is_dir(follow_symlinks=False):
            size += stat.st_size
            continue
        found = _look(entry.path, stat.st_mtime_ns)
        if found is None:
            size += _tree(entry.path)
            continue
        size += found.bytes + sum(_tree(folder) for folder in found.folders)
        resume += found.resume
        unfinished += found.open
        never += found.state == "queued" and not found.submitted
        states[_shown(entry.path) if found.state == "running" else found.state] += 1
    return {
        "study": study.name,
        "runs": states.total(),
        "done": states["done"],
        "states": dict(states.most_common()),
        "never_queued": never,
        "open": unfinished,
        "bytes": size,
        "resume_bytes": resume,
        "created": str(document.get("created") or ""),
        "changed": changed,
        "dataset": str(dataset.get("path") or ""),
        "protocol": str(dict(config.get("protocol") or {}).get("name") or ""),
        "preset": str(config.get("preset") or ""),
        "simulated": bool(dataset.get("simulated")),
        "paused": bool(control["paused"]),
        "archived": bool(control["archived"]),
        "problem": problem,
    }


def _look(path: str, stamp: int) -> _Look | None:
    """What a folder with this time holds; None if it is no run's."""
    known = _known.get(path)
    if known is not None and known.stamp == stamp and known.mark == results_fingerprint(path, known.files):
        return known
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
        state, submitted = str(status["state"]), bool(status.get("submission"))
        goes_on = not ended(status) and (submitted or state == "running")
        if state == "done":
            files += run.result_files(status)
            mark = results_fingerprint(path, files)
            state = str(run.live_status()["shown"])
    except (IntegrityError, KeyError):
        state, submitted, goes_on = "failed", True, False  # as in the runs' own table: what cannot be read has failed
    found = _Look(stamp, tuple(files), mark, state, submitted, goes_on, size, resume, tuple(folders))
    if time.time() - stamp / 1e9 > SETTLED:
        if len(_known) >= REMEMBERED:
            _known.clear()
        _known[path] = found
    return found


def _shown(path: str) -> str:
    """The state of a run that says that it is running, checked against what can be observed."""
    try:
        return str(RunDir(Path(path)).live_status()["shown"])
    except EavdashError:
        return "failed"


def _tree(path: str) -> int:
    """Bytes of all files under a folder."""
    return sum(
        _tree(entry.path) if entry.is_dir(follow_symlinks=False) else entry.stat(follow_symlinks=False).st_size
        for entry in _entries(path)
    )


def _entries(path: str | Path) -> list[os.DirEntry[str]]:
    """What lies in a folder; nothing if it is gone, and without what goes at this very moment."""
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
