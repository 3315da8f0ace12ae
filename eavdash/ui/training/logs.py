"""A run's log for its page: the last lines of log.txt, and a search.

Logs can be large, so only the last :data:`BOUND` bytes are searched.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BOUND = 16_000_000  # bytes, from the end
TAIL = 30  # lines without a search
HITS = 200  # lines of a search, the last ones


@dataclass(frozen=True)
class LogMatches:
    """Lines that contain a text: the last ones with their numbers, the count, and if the whole log was searched."""

    lines: tuple[str, ...]
    count: int
    whole: bool


def tail(path: Path, lines: int = TAIL) -> str:
    """Return the last lines of a text file; empty if it does not exist."""
    return "\n".join(_end(path, 200 * lines).decode(errors="replace").splitlines()[-lines:])


def search(path: Path, text: str) -> LogMatches:
    """Return the lines that contain ``text``, ignoring case, numbered from the first searched line."""
    size = path.stat().st_size if path.exists() else 0
    wanted = text.casefold()
    lines = [
        f"{number}: {line}"
        for number, line in enumerate(_end(path, BOUND).decode(errors="replace").splitlines(), 1)
        if wanted in line.casefold()
    ]
    return LogMatches(tuple(lines[-HITS:]), len(lines), size <= BOUND)


def _end(path: Path, size: int) -> bytes:
    """Return the last ``size`` bytes from the start of a line; empty if the file does not exist."""
    try:
        with path.open("rb") as file:
            whole = path.stat().st_size
            file.seek(max(0, whole - size))
            data = file.read(size)
    except FileNotFoundError:
        return b""
    return data if whole <= size else data.partition(b"\n")[2] or data
