"""What people type to choose subjects, folds and seeds, as tuples."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from eavdash.errors import UsageError


def parse_subjects(
    text: str, available: Sequence[str], what: str = "--subjects", say: Callable[[str], object] = lambda _: None
) -> tuple[str, ...]:
    """Subjects named as on the command line: ``1-3,7,anna``. Ranges take what is there, by number.

    ``say`` is told which of a range were taken, where some of its numbers are not there.

    Raises:
        UsageError: a subject that is not there, a range that holds none, or nothing named.
    """
    chosen: list[str] = []
    lacking: list[str] = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        bounds = re.fullmatch(r"(\d+)-(\d+)", part)
        if part in available or not bounds:
            (chosen if part in available else lacking).append(part)
            continue
        low, high = int(bounds[1]), int(bounds[2])
        inside = [s for s in available if s.isdigit() and low <= int(s) <= high]
        if not inside:
            lacking.append(part)
        elif len({int(s) for s in inside}) < high - low + 1:
            say(f"{what} {part}: there are {_some(inside)}")
        chosen += inside
    if lacking:
        remedy = "name those that are there, or leave it out for all"
        raise UsageError.at(what, expected=f"some of {_some(available)}", found=", ".join(lacking), remedy=remedy)
    if not chosen:
        raise UsageError.at(what, expected="at least one subject", found=repr(text), remedy="name some")
    return tuple(dict.fromkeys(chosen))


def _some(names: Sequence[str]) -> str:
    """Names for people: all of a few, the first and the number of many."""
    return ", ".join(names) if len(names) <= 50 else f"{', '.join(names[:50])} and {len(names) - 50} more"


def parse_numbers(text: str, what: str) -> tuple[int, ...]:
    """``0,1,4`` or ``0-4`` as integers; ``all`` is the empty tuple.

    Raises:
        UsageError: something else.
    """
    if text.strip() == "all":
        return ()
    numbers: list[int] = []
    for part in text.split(","):
        bounds = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not bounds:
            raise UsageError.at(what, expected="numbers such as 0,1 or 0-4", found=repr(text), remedy="mend it")
        numbers += range(int(bounds[1]), int(bounds[2] or bounds[1]) + 1)
    return tuple(dict.fromkeys(numbers))
