"""The record of one check of an explanation, and the verdict on several. Needs neither torch nor the recordings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from eavdash.store.record import Part

Verdict = Literal["pass", "doubtful", "fail", "not run"]
#: From the best verdict to the worst; a check that was not run says nothing about the map.
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


def worst(checks: Iterable[Check]) -> Verdict:
    """Return the worst verdict: fail before doubtful before pass; "not run" if there is no other."""
    return max((check.verdict for check in checks), key=VERDICTS.index, default="not run")


def graded(value: float, good: float, poor: float) -> Verdict:
    """Return pass at ``good`` or better, fail beyond ``poor``; values grow better from ``poor`` towards ``good``."""
    sign = 1 if good >= poor else -1
    if sign * value >= sign * good:
        return "pass"
    return "doubtful" if sign * value >= sign * poor else "fail"
