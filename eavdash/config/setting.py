"""One setting: its default, its bounds, and the sentence that explains it.

In: a dataclass whose fields are made by :func:`setting`. Out: a :class:`Setting` per key, which parsing, checks, the
launch form and docs/settings.md all read.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any

#: The types of settings as messages name them.
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@dataclass(frozen=True)
class Bounds:
    """The values that a setting may have; a bound that is None does not apply."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()

    def hold(self, value: Any) -> bool:
        """Return True if ``value`` is within the bounds; NaN never is."""
        if self.choices:
            return value in self.choices
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        words = {"at least": self.at_least, "above": self.above, "at most": self.at_most, "below": self.below}
        shown = {word: f"{n:,.0f}" if n == int(n) else f"{n:g}" for word, n in words.items() if n is not None}
        return " and ".join(f"{word} {number}" for word, number in shown.items())


@dataclass(frozen=True)
class Setting:
    """One key of a configuration. ``default`` is that of its own class (see :mod:`eavdash.config.schema`).

    ``examples``: values that a form offers beside others that can be typed.
    """

    kind: Any
    default: Any
    help: str
    bounds: Bounds
    examples: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """The kind and the bounds of a value: ``a number, at least 0 and below 1``."""
        words = [KINDS.get(self.kind, "names separated by commas"), str(self.bounds)]
        return words[1] if self.bounds.choices else ", ".join(filter(None, words))


def setting(
    default: Any,
    help: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    examples: tuple[str, ...] = (),
) -> Any:
    """Return the dataclass field of a setting with its explanation, its bounds, and values to offer."""
    bounds = Bounds(at_least, above, at_most, below, choices)
    return dataclasses.field(default=default, metadata={"help": help, "bounds": bounds, "examples": examples})


def settings_of(cls: Any) -> dict[str, Setting]:
    """Return the settings of a configuration class and of the classes inside it, by their dotted keys."""
    found: dict[str, Setting] = {}
    hints = typing.get_type_hints(cls)
    for entry in dataclasses.fields(cls):
        kind = hints[entry.name]
        if dataclasses.is_dataclass(kind):
            found |= {f"{entry.name}.{key}": value for key, value in settings_of(kind).items()}
        else:
            found[entry.name] = Setting(kind, entry.default, **entry.metadata)
    return found


def value_of(config: Any, key: str) -> Any:
    """Return the value of a dotted key."""
    for part in key.split("."):
        config = getattr(config, part)
    return config
