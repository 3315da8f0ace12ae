"""Assertions on errors by their type and the facts in their fields, not by their wording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from eavdash.errors import EavdashError

Facts = str | tuple[str, ...]


@contextmanager
def fails(
    kind: type[EavdashError], *, where: Facts = (), expected: Facts = (), found: Facts = (), remedy: Facts = ()
) -> Iterator[pytest.ExceptionInfo[EavdashError]]:
    """Expect an error of this type whose fields hold these facts: names, numbers, settings, commands.

    All four parts of the error must be set.
    """
    with pytest.raises(kind) as caught:
        yield caught
    holds(caught.value, where=where, expected=expected, found=found, remedy=remedy)


def holds(
    error: EavdashError, *, where: Facts = (), expected: Facts = (), found: Facts = (), remedy: Facts = ()
) -> None:
    """Assert that an error has all its parts and that they hold these facts."""
    for name, facts in (("where", where), ("expected", expected), ("found", found), ("remedy", remedy)):
        part = getattr(error, name)
        assert part, f"{error!r} has no {name!r}"
        for fact in (facts,) if isinstance(facts, str) else facts:
            assert fact in part, f"{name} {part!r} of {error!r} does not contain {fact!r}"
