"""The record of one check of an explanation, and the verdict on several. Needs neither torch nor the recordings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from eavdash.store.record import FromList, Part

Verdict = Literal["pass", "doubtful", "fail", "not run"]
#: From the best verdict to the worst, after "not run", which says nothing about the map.
VERDICTS: tuple[Verdict, ...] = ("not run", "pass", "doubtful", "fail")


class Check(Part):
    """The outcome of one check: its number, the threshold of a pass, the verdict, and the reason in one sentence.

    ``name`` is a key of :data:`eavdash.explain.receipts.registry.CHECKS`, which has its label and what it asks.
    """

    name: str
    value: float | None = None
    threshold: float | None = None
    verdict: Verdict
    reason: str


Checks = Annotated[tuple[Check, ...], FromList]


def worst(checks: Iterable[Check]) -> Verdict:
    """Return the worst verdict: fail, then doubtful, then pass; "not run" if there is no other."""
    return max((check.verdict for check in checks), key=VERDICTS.index, default="not run")


def verdict_of(checks: Iterable[Check]) -> dict[str, Any]:
    """Return the outcomes as JSON: the worst verdict, and each check's with its numbers and reason."""
    found = tuple(checks)
    return {"verdict": worst(found), "checks": [check.document() for check in found]}
