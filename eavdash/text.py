"""Names, numbers and sizes as text: natural order, counted nouns, bytes."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable


@functools.lru_cache(maxsize=100_000)
def natural_key(text: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """A sort key that puts "2" before "10" and "s2" before "s10"; different texts never compare equal."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple((0, int(p), "") if "0" <= p[0] <= "9" else (1, 0, p.casefold()) for p in parts), text


def natural_order(texts: Iterable[str]) -> tuple[str, ...]:
    """The distinct texts in natural order."""
    return tuple(sorted({str(t) for t in texts}, key=natural_key))


def parts(text: str) -> tuple[str, ...]:
    """Return the parts of a list such as ``a, b`` without blanks and empty parts."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def plural(number: int, noun: str, nouns: str = "") -> str:
    """Return a number with its noun, such as ``1 trial``, ``1,200 trials`` or, with ``nouns``, ``2 studies``."""
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"


def size(number: int) -> str:
    """Return a number of bytes as text, such as ``12 GB`` or ``2.0 kB``."""
    value, unit = float(max(0, number)), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
