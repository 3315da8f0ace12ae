"""Completeness: the map sums to what it explains (Sundararajan et al. 2017, axiom 3)."""

from __future__ import annotations

from eavdash.explain.check_record import VERDICTS, Check, Verdict
from eavdash.explain.explanation import NOTHING
from eavdash.explain.receipts.cells import recorded_elements
from eavdash.explain.receipts.question import ExplainedInputs, ExplainedWindowInputs
from eavdash.explain.receipts.registry import CHECKS


def completeness(question: ExplainedInputs) -> Check:
    """Compare the sum of each window's map with output - baseline; what lies outside the recorded part counts as gap.

    The thresholds are a share of what is explained, and the same number of logits, whichever is larger.
    """
    kind = CHECKS["completeness"]
    verdict: Verdict = "pass"
    shares, gaps = [0.0], [0.0]
    for window in question.windows:
        gap = _gap(window)
        good, poor = (gap <= limit * max(window.explained, 1.0) for limit in (kind.good, kind.poor))
        verdict = max(verdict, "pass" if good else "doubtful" if poor else "fail", key=VERDICTS.index)
        shares.append(gap / max(window.explained, NOTHING))
        gaps.append(gap)
    reason = f"The map's sum misses what it explains by at most {max(gaps):.3f} logits, {max(shares):.1%}, in a window."
    return kind.found(verdict, max(shares), reason)


def _gap(window: ExplainedWindowInputs) -> float:
    """Return |sum of the map - (output - baseline)|, plus all that the map has where nothing is recorded."""
    recorded = recorded_elements(window.attributions, window.masks)
    maps = {m: found[0].double().cpu() for m, found in window.attributions.items()}
    inside = sum(float(found[recorded[m]].sum()) for m, found in maps.items())
    outside = sum(float(found[~recorded[m]].abs().sum()) for m, found in maps.items())
    return abs(inside - (window.output - window.baseline)) + outside
