"""Numbers and ranges in the text of a change; every error is one sentence."""

from __future__ import annotations

import math
import re

from eavdash.config.choices import MODALITIES
from eavdash.errors import UsageError
from eavdash.explain.changes.base import NAMES

_NUMBER = r"(?:\d{1,7}(?:\.\d{1,6})?|\.\d{1,6})"
_RANGE = re.compile(rf"({_NUMBER})\s*[-–]\s*({_NUMBER})")


def wrong(option: str, text: str, expected: str) -> UsageError:
    """Return the error that an option's value is something else than expected."""
    return UsageError.at(f"--{option}", expected=expected, found=repr(text), remedy="write it like that")


def modality_of(option: str, text: str, among: tuple[str, ...] = MODALITIES) -> str:
    """Return the modality that ``text`` names, in any case.

    Raises:
        UsageError: it is none of ``among``.
    """
    name = text.strip().casefold()
    if name not in among:
        offered = " or ".join(NAMES[m].casefold() for m in among)
        raise UsageError.at(f"--{option}", expected=f"a modality ({offered})", found=repr(text), remedy="choose one")
    return name


def of_modality(option: str, text: str, like: str, among: tuple[str, ...] = MODALITIES) -> tuple[str, str]:
    """Return the modality and the rest of ``modality:rest``; ``like``: an example for the message.

    Raises:
        UsageError: there is no colon, or no such modality before it.
    """
    name, colon, rest = text.partition(":")
    if not colon or not rest.strip():
        raise wrong(option, text, f"a modality, a colon and a value, as in {like}")
    return modality_of(option, name, among), rest.strip()


def number(option: str, text: str, low: float, high: float, unit: str) -> float:
    """Return a number between two bounds.

    Raises:
        UsageError: it is none, or outside.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:  # also what is not a number
        raise wrong(option, text, f"a number from {low:g} to {high:g} {unit}")
    return value


def is_range(text: str) -> bool:
    """Return True if the text looks like two numbers with a dash between them."""
    return _RANGE.fullmatch(text.strip()) is not None


def span(option: str, text: str, unit: str) -> tuple[float, float]:
    """Return both ends of a range such as ``8-12``.

    Raises:
        UsageError: it is none, or its end is not above its beginning.
    """
    found = _RANGE.fullmatch(text.strip())
    low, high = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
    if not low < high:
        raise wrong(option, text, f"a range in {unit} that grows, as in 8-12")
    return low, high
