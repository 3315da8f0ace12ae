"""The copies of videos that browsers can play: how many are kept, and which of them are in use.

In: the folder ``videos`` of a cache. Those unused for :data:`DAYS`, and the longest unused beyond :data:`GIGABYTES`,
are deleted; ``EAVDASH_VIDEO_DAYS`` and ``EAVDASH_VIDEO_GB`` replace these. A copy that is being played is locked by its
server (``flock``), one that is being written has a hidden name: neither is deleted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import BinaryIO

from eavdash.errors import ConfigError

FOLDER = "videos"
GIGABYTES, DAYS = 10.0, 30.0
#: Seconds after its last use during which a copy stays: its page may be about to play it.
RECENT = 600.0
#: Seconds after the last write when a copy under a temporary name counts as left behind by a killed process.
ABANDONED = 86400.0


def limits() -> tuple[float, float]:
    """Return the bytes to keep, and the seconds to keep an unused copy.

    Raises:
        ConfigError: a variable is not a positive number.
    """
    return _number("EAVDASH_VIDEO_GB", GIGABYTES) * 1e9, _number("EAVDASH_VIDEO_DAYS", DAYS) * 86400


def mark_used(path: Path) -> None:
    """Record that a copy is used now; its modification time, by which browsers know it, stays."""
    with contextlib.suppress(OSError):
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def hold(path: Path) -> BinaryIO | None:
    """Return an open file that keeps a copy from being deleted until it is closed; None for any other file."""
    if path.parent.name != FOLDER:
        return None
    try:
        file = path.open("rb")
    except OSError:
        return None  # reported by the one that reads it
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return file


def delete_unused(path: Path) -> bool:
    """Delete a copy unless it is being played; return True if it is gone."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def trim(folder: Path) -> list[Path]:
    """Delete the copies that exceed the limits, longest unused first; return them.

    Raises:
        ConfigError: as :func:`limits`.
    """
    most, oldest = limits()
    now, copies, deleted = time.time(), [], []
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError):
            stat = path.stat()
            if not path.name.startswith("."):
                copies.append((max(stat.st_atime, stat.st_mtime), stat.st_size, path))
            elif now - stat.st_mtime > ABANDONED:
                path.unlink()
    total = sum(size for _, size, _ in copies)
    for used, size, path in sorted(copies):
        if now - used > RECENT and (now - used > oldest or total > most) and delete_unused(path):
            deleted.append(path)
            total -= size
    return deleted


def _number(variable: str, default: float) -> float:
    text = os.environ.get(variable, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise ConfigError.at(variable, expected="a positive number", found=repr(text), remedy="fix or unset it")
    return value
