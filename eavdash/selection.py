"""What people type to choose subjects, folds and seeds, as tuples."""

from __future__ import annotations

import re
from collections.abc import Sequence

from eavdash.errors import UsageError


def parse_subjects(text: str, available: Sequence[str]) -> tuple[str, ...]:
    """Subjects named as on the command line: ``1-3,7,anna``. Ranges take what is there, by number.

    Raises:
        UsageError: a range that holds none of the dataset's subjects, or nothing named.
    """
    chosen: list[str] = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        bounds = re.fullmatch(r"(\d+)-(\d+)", part)
        if part in available or not bounds:
            chosen.append(part)
            continue
        low, high = int(bounds[1]), int(bounds[2])
        inside = [s for s in available if s.isdigit() and low <= int(s) <= high]
        if not inside:
            raise UsageError.at(
                "--subjects", expected=f"some of {', '.join(available)}", found=part, remedy="name others"
            )
        chosen += inside
    if not chosen:
        raise UsageError.at("--subjects", expected="at least one subject", found=repr(text), remedy="name some")
    return tuple(dict.fromkeys(chosen))


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
