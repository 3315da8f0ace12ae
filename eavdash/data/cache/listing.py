"""Listing and clearing the cache.

In: a cache's folder. Out: an :class:`Entry` for each thing that can be made again: window sets, encoders' features,
copies of videos, the databases of measures and digests. Other kinds are listed by their folder's name.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eavdash.data.cache import digests, videos
from eavdash.data.cache.content import WindowSetRecord
from eavdash.data.cache.folders import abandoned, discard
from eavdash.errors import IntegrityError, UsageError
from eavdash.store.paths import HEALTH
from eavdash.store.record import read_record

UNFINISHED = "unfinished"
_KINDS = {
    "features": "features of a run's windows, computed by a trained encoder",
    "summaries": "simple features of a run's windows, for the baselines beside its encoder",
    videos.FOLDER: "a copy of a video that browsers can play",
    HEALTH: "the report of a dataset's newest check, which the app shows",
    "scan.sqlite": "measures of each recording, from checks",
    digests.FILE: "digests of the recordings",
}
_MOST_NAMES = 5  # subjects and settings


@dataclass(frozen=True)
class Entry:
    """One entry of a cache: ``kind`` (windows, features, videos ..., or unfinished), ``key`` (unique in the cache),
    ``bytes`` on disk, ``used`` (seconds since the epoch: its last use by the file system's time stamps).
    """

    kind: str
    key: str
    bytes: int
    used: float
    description: str
    path: Path


def entries(cache: Path) -> list[Entry]:
    """List a cache, longest unused first; unfinished entries only if their process has ended."""
    found = []
    for top in _inside(cache):
        if top.is_dir() and not top.is_symlink():
            found += [_entry(top.name, path) for path in _inside(top) if _is_listed(path)]
        elif _is_listed(top) and not top.name.endswith(("-journal", "-wal", "-shm")):
            found.append(_entry(top.name, top))
    return sorted((e for e in found if e is not None), key=lambda e: (e.used, e.key))


def clear(
    cache: Path,
    keys: Collection[str] = (),
    *,
    older_than: float | None = None,
    everything: bool = False,
    dry_run: bool = False,
) -> list[Entry]:
    """Delete the entries with these keys (or their beginnings), or those unused for ``older_than`` days, or all.

    Returns the deleted entries, or with ``dry_run`` those that would be; a video that is being played stays. A process
    that has arrays mapped keeps them until it ends (only then is their disk space freed); a deleted entry is made again
    when it is needed.

    Raises:
        UsageError: nothing was chosen, or a key matches no entry or several.
    """
    if not keys and older_than is None and not everything:
        raise UsageError.at(
            "cache", expected="keys, an age or --all", found="none of them", remedy="choose what to delete"
        )
    there = entries(cache)
    chosen = there if everything else [e for e in there if e.key in {_find_entry(there, key).key for key in keys}]
    if older_than is not None and not everything:
        limit = time.time() - older_than * 86400
        chosen += [e for e in there if e.used < limit and e not in chosen]
    if dry_run:
        return chosen
    deleted = []
    for entry in chosen:
        if entry.kind == videos.FOLDER and entry.path.is_file() and not videos.delete_unused(entry.path):
            continue
        discard(entry.path)
        deleted.append(entry)
        for end in ("-journal", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                entry.path.with_name(entry.path.name + end).unlink()
    return deleted


def _find_entry(there: Iterable[Entry], key: str) -> Entry:
    fitting = [e for e in there if e.key.startswith(key)]
    exact = [e for e in fitting if e.key == key]
    if len(fitting) != 1 and not exact:
        raise UsageError.at(
            f"cache entry {key!r}",
            expected="the key of one entry, or its beginning",
            found=f"{len(fitting)} entries" if fitting else "no such entry",
            remedy="choose from `eavdash cache list`",
        )
    return exact[0] if exact else fitting[0]


def _inside(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(folder.iterdir())
    return []


def _is_listed(path: Path) -> bool:
    return not path.name.startswith(".") or abandoned(path)


def _entry(kind: str, path: Path) -> Entry | None:
    """The entry at ``path``; None if it has just been deleted."""
    try:
        own = path.stat()
        stats = [p.lstat() for p in path.rglob("*")] if path.is_dir() else [own]
    except OSError:
        return None
    # Reading a file may update its access time; a folder is touched when it is read (folders.py).
    used = own.st_mtime if path.is_dir() else max(own.st_mtime, own.st_atime)
    if path.name.startswith("."):
        return Entry(UNFINISHED, path.name, _size(stats), used, f"{kind}, left behind by a killed process", path)
    described = _windows(path) if kind == "windows" else _KINDS.get(kind, kind)
    return Entry(kind.partition(".")[0], path.name, _size(stats), used, described, path)


def _size(stats: Iterable[Any]) -> int:
    return sum(s.st_blocks * 512 for s in stats)


def _windows(folder: Path) -> str:
    """Modality, dataset and settings of a window set."""
    try:
        about = read_record(folder / "meta.json", WindowSetRecord).about
    except IntegrityError:
        about = None
    if about is None:
        return "windows made by an earlier version, or damaged"
    more = len(about.subjects) - _MOST_NAMES
    who = ", ".join(about.subjects[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    how = ", ".join(f"{name} {_value(value)}" for name, value in about.settings.items() if value not in ("", [], None))
    return (
        f"{about.modality} of subject{'s' * (len(about.subjects) > 1)} {who}: {about.trials} trials, "
        f"{about.windows} windows; {how}; from {about.dataset}"
    )


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} names" if len(value) > _MOST_NAMES else "+".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
