"""How tests ask for an error: by its type and by the facts in its fields, never by its wording."""

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

    The error has all four parts, so that whoever reads it learns where, what was expected, what was found, what to do.
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
        assert part, f"{error!r} does not say {name!r}"
        for fact in (facts,) if isinstance(facts, str) else facts:
            assert fact in part, f"{name} {part!r} of {error!r} does not hold {fact!r}"
