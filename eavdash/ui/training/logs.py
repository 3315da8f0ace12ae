"""A run's log for its page: the last lines of log.txt, and a search.

Logs can be large, so only the last :data:`~eavdash.store.regular.BOUND` bytes are searched.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eavdash.store.regular import LINE, last_lines, read_end

TAIL = 30  # lines without a search
HITS = 200  # lines of a search, the last ones


@dataclass(frozen=True)
class LogMatches:
    """Lines that contain a text: the last ones with their numbers, the count, and if the whole log was searched."""

    lines: tuple[str, ...]
    count: int
    whole: bool


def tail(path: Path, lines: int = TAIL) -> str:
    """Return the last lines of a text file; empty if it does not exist, the reason if it cannot be read."""
    try:
        return "\n".join(last_lines(path, lines))
    except OSError as error:
        return str(error)


def search(path: Path, text: str) -> LogMatches:
    """Return the lines that contain ``text``, ignoring case, numbered from the first searched line."""
    try:
        content, whole = read_end(path)
    except OSError:
        return LogMatches((), 0, True)
    wanted = text.casefold()
    lines = [
        f"{number}: {line[:LINE]}"
        for number, line in enumerate(content.decode(errors="replace").splitlines(), 1)
        if wanted in line.casefold()
    ]
    return LogMatches(tuple(lines[-HITS:]), len(lines), whole)
