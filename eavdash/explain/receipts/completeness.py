"""Completeness: the map sums to what it explains (Sundararajan et al. 2017, axiom 3)."""

from __future__ import annotations

from eavdash.explain.check_record import VERDICTS, Check, Verdict
from eavdash.explain.explanation import NOTHING
from eavdash.explain.receipts.cells import recorded_elements
from eavdash.explain.receipts.question import ExplainedInputs

#: Largest gap of a pass and of a doubtful verdict: share of what is explained, and logits, whichever is larger.
GOOD, POOR = (0.05, 0.05), (0.10, 0.10)


def completeness(question: ExplainedInputs) -> Check:
    """Compare the sum of each window's map, also of its values where nothing is recorded, with output - baseline."""
    verdict: Verdict = "pass"
    worst_gap, worst_share, beyond = 0.0, 0.0, 0
    for window in question.windows:
        recorded = recorded_elements(window.attributions, window.masks)
        inside = sum(float(a[0].double().cpu()[recorded[m]].sum()) for m, a in window.attributions.items())
        outside = sum(float(a[0].double().cpu()[~recorded[m]].abs().sum()) for m, a in window.attributions.items())
        gap = abs(inside - (window.output - window.baseline)) + outside
        found: Verdict = "pass" if _within(gap, window.explained, GOOD) else "doubtful"
        found = found if _within(gap, window.explained, POOR) else "fail"
        verdict = max(verdict, found, key=VERDICTS.index)
        beyond += found != "pass"
        share = gap / max(window.explained, NOTHING)
        worst_gap, worst_share = max((worst_share, worst_gap), (share, gap))[::-1]
    reason = (
        f"The sum of the map differs from what it explains by at most {worst_share:.1%} ({worst_gap:.3f} logits) in a "
        f"window; {beyond} of {len(question.windows)} windows differ by more than {GOOD[0]:.0%} and {GOOD[1]} logits."
    )
    return Check(name="completeness", value=worst_share, threshold=GOOD[0], verdict=verdict, reason=reason)


def _within(gap: float, explained: float, limits: tuple[float, float]) -> bool:
    return gap <= max(limits[0] * explained, limits[1])
