"""All checks: what each is called, what it asks, its thresholds and its source. Pages and documents read this table.

Needs no torch: the functions that compute the checks are named here and imported when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from eavdash.explain.check_record import Check, Verdict


@dataclass(frozen=True)
class CheckKind:
    """One check. A value at ``good`` or better passes, one beyond ``poor`` fails, one between them is doubtful."""

    name: str
    label: str
    asks: str
    of: Literal["map", "run"]  # what is checked: one map, or a run once for all its maps
    good: float
    poor: float
    module: str  # of this package; its function has the check's name
    source: str

    def graded(self, value: float, reason: str) -> Check:
        """Return the outcome for a value."""
        sign = 1 if self.good >= self.poor else -1
        verdict: Verdict = "doubtful" if sign * value >= sign * self.poor else "fail"
        return self.found("pass" if sign * value >= sign * self.good else verdict, value, reason)

    def found(self, verdict: Verdict, value: float, reason: str) -> Check:
        """Return the outcome with a verdict that follows from more than one value."""
        return Check(name=self.name, value=value, threshold=self.good, verdict=verdict, reason=reason)

    def not_run(self, reason: str) -> Check:
        """Return the outcome of a check that could not be made."""
        return Check(name=self.name, verdict="not run", reason=reason)

    @property
    def function(self) -> Callable[[Any], Check]:
        """The function that computes it, from an ``ExplainedInputs`` for a map, or a ``RunQuestion`` for a run."""
        found: Callable[[Any], Check] = getattr(import_module(f"eavdash.explain.receipts.{self.module}"), self.name)
        return found


CHECKS: dict[str, CheckKind] = {
    kind.name: kind
    for kind in (
        CheckKind(
            name="completeness",
            label="Completeness",
            asks="Does the map sum to the difference between the output and that at the baseline?",
            of="map",
            good=0.05,
            poor=0.10,
            module="completeness",
            source="Sundararajan et al. 2017",
        ),
        CheckKind(
            name="deletion",
            label="Deletion",
            asks="Does the output fall faster when cells go in the map's order than in random orders?",
            of="map",
            good=1.0,
            poor=1.0,
            module="curves",
            source="Petsiuk et al. 2018",
        ),
        CheckKind(
            name="insertion",
            label="Insertion",
            asks="Does the output rise faster when cells come back in the map's order than in random orders?",
            of="map",
            good=1.0,
            poor=1.0,
            module="curves",
            source="Petsiuk et al. 2018",
        ),
        CheckKind(
            name="stability",
            label="Stability",
            asks="Do maps of the same window with a little noise rank its cells alike?",
            of="map",
            good=0.6,
            poor=0.3,
            module="steadiness",
            source="Alvarez-Melis & Jaakkola 2018",
        ),
        CheckKind(
            name="sensitivity",
            label="Sensitivity",
            asks="How much does a little noise change the map's values?",
            of="map",
            good=0.8,
            poor=1.25,
            module="steadiness",
            source="Yeh et al. 2019",
        ),
        CheckKind(
            name="infidelity",
            label="Infidelity",
            asks="Does the map predict how the output changes when cells are replaced?",
            of="map",
            good=0.6,
            poor=1.0,
            module="infidelity",
            source="Yeh et al. 2019",
        ),
        CheckKind(
            name="decisions",
            label="Better than guessing",
            asks="Does the model decide more test trials correctly than guessing would?",
            of="run",
            good=0.0,
            poor=0.0,
            module="decisions",
            source="Combrisson & Jerbi 2015",
        ),
        CheckKind(
            name="weights",
            label="Other weights",
            asks="Does a model whose weights were drawn again have other maps?",
            of="run",
            good=0.7,
            poor=0.9,
            module="randomisation",
            source="Adebayo et al. 2018",
        ),
        CheckKind(
            name="fusion_weights",
            label="Other fusion",
            asks="Do the maps change when only the fusion's weights are drawn again?",
            of="run",
            good=0.97,
            poor=0.995,
            module="randomisation",
            source="Adebayo et al. 2018",
        ),
        CheckKind(
            name="seeds",
            label="Other seeds",
            asks="Do models trained with other seeds on the same trials have similar maps?",
            of="run",
            good=0.5,
            poor=0.2,
            module="seeds",
            source="D'Amour et al. 2022",
        ),
    )
}


#: The checks that ask whether a map sums to the output's changes.
OF_SUMS = ("completeness", "infidelity")


def check_explanation(question: Any, left_out: Collection[str] = ()) -> tuple[Check, ...]:
    """Run the checks of one map that are not ``left_out``.

    ``question`` is an :class:`eavdash.explain.receipts.question.ExplainedInputs`.
    """
    return tuple(k.function(question) for k in CHECKS.values() if k.of == "map" and k.name not in left_out)


def check_run(question: Any) -> tuple[Check, ...]:
    """Run all checks of a run; ``question`` is an :class:`eavdash.explain.receipts.run_question.RunQuestion`."""
    return tuple(kind.function(question) for kind in CHECKS.values() if kind.of == "run")
