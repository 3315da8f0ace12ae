"""Parsing of the subjects, folds and seeds that a user types."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from eavdash.config.limits import NUMBERS
from eavdash.errors import UsageError
from eavdash.text import parts, shortened

#: A whole number of at most 18 digits, and a range of two; Python converts no more than 4,300.
_RANGE = re.compile(r"\s*(\d{1,18})(?:\s*-\s*(\d{1,18}))?\s*")


def parse_subjects(
    text: str, available: Sequence[str], option: str = "--subjects", note: Callable[[str], object] = lambda _: None
) -> tuple[str, ...]:
    """Return the subjects of a list such as ``1-3,7,anna``. A range takes the subjects that exist, by number.

    ``note`` is called with a sentence about each range that is incomplete.

    Raises:
        UsageError: a subject does not exist, a range is empty, or the list is empty.
    """
    chosen: list[str] = []
    missing: list[str] = []
    for part in parts(text):
        bounds = _RANGE.fullmatch(part)
        if part in available or not bounds or not bounds[2]:
            (chosen if part in available else missing).append(part)
            continue
        low, high = int(bounds[1]), int(bounds[2])
        inside = [s for s in available if s.isdecimal() and len(s) <= 18 and low <= int(s) <= high]
        if not inside:
            missing.append(part)
        elif len({int(s) for s in inside}) < high - low + 1:
            note(f"{option} {part}: only {_shortened(inside)} exist")
        chosen += inside
    if missing:
        remedy = "choose existing subjects, or leave the option out for all"
        raise UsageError.at(
            option, expected=f"some of {_shortened(available)}", found=shortened(", ".join(missing)), remedy=remedy
        )
    if not chosen:
        raise UsageError.at(option, expected="at least one subject", found=repr(text), remedy="name at least one")
    return tuple(dict.fromkeys(chosen))


def _shortened(names: Sequence[str]) -> str:
    """List all names, or the first 50 and the number of the rest."""
    return ", ".join(names) if len(names) <= 50 else f"{', '.join(names[:50])} and {len(names) - 50} more"


def parse_numbers(text: str, option: str) -> tuple[int, ...]:
    """Return ``0,1,4`` or ``0-4`` as integers; ``all`` is the empty tuple.

    Raises:
        UsageError: the text is anything else, or names more than :data:`~eavdash.config.limits.NUMBERS`.
    """
    if text.strip() == "all":
        return ()
    numbers: list[int] = []
    for part in text.split(","):
        bounds = _RANGE.fullmatch(part)
        found = repr(shortened(text))
        asked = range(int(bounds[1]), int(bounds[2] or bounds[1]) + 1) if bounds else range(0)
        if not asked:
            raise UsageError.at(option, expected="numbers such as 0,1 or 0-4", found=found, remedy="correct it")
        if (count := len(numbers) + asked.stop - asked.start) > NUMBERS:
            expected = f"at most {NUMBERS:,} numbers"
            raise UsageError.at(option, expected=expected, found=f"{count:,} in {found}", remedy="ask for fewer")
        numbers += asked
    return tuple(dict.fromkeys(numbers))
