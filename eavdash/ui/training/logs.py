"""What a run has printed, for its page: the end of log.txt, and the lines that hold a text.

Logs can be large, so only the last :data:`BOUND` bytes are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BOUND = 16_000_000  # bytes, from the end
TAIL = 30  # lines without a search
HITS = 200  # lines of a search, the last ones


@dataclass(frozen=True)
class LogMatches:
    """Lines that hold a text: the last of them with their numbers, how many there are, and what was looked at."""

    lines: tuple[str, ...]
    count: int
    whole: bool


def tail(path: Path, lines: int = TAIL) -> str:
    """The last lines of a text file; empty if there is none."""
    return "\n".join(_end(path, 200 * lines).decode(errors="replace").splitlines()[-lines:])


def search(path: Path, text: str) -> LogMatches:
    """The lines with ``text`` in them, whatever the case. Lines are numbered from the first that was looked at."""
    size = path.stat().st_size if path.exists() else 0
    wanted = text.casefold()
    found = [
        f"{number}: {line}"
        for number, line in enumerate(_end(path, BOUND).decode(errors="replace").splitlines(), 1)
        if wanted in line.casefold()
    ]
    return LogMatches(tuple(found[-HITS:]), len(found), size <= BOUND)


def _end(path: Path, size: int) -> bytes:
    """The last ``size`` bytes, from the beginning of a line; none where there is no file."""
    try:
        with path.open("rb") as file:
            whole = path.stat().st_size
            file.seek(max(0, whole - size))
            data = file.read(size)
    except FileNotFoundError:
        return b""
    return data if whole <= size else data.partition(b"\n")[2] or data
