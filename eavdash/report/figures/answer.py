"""The answer of the page of subjects in one sentence, and the texts of the means beside it.

In: means over subjects and the study's declared question. Out: plain texts; scores in per cent.
"""

from __future__ import annotations

from collections.abc import Sequence

from eavdash.report import theme
from eavdash.results.comparisons import Question
from eavdash.results.metrics import METRICS
from eavdash.results.paired import ALPHA, Comparison, least_subjects
from eavdash.results.subjects import Standing
from eavdash.text import p_value, plural


def answer(found: Sequence[Standing], question: Question) -> str:
    """Return the sentence; ``found``: the standings at level trial, in the question's metric."""
    by_stage = {s.stage: s for s in found}
    if not by_stage:
        return ""
    if "fusion" not in by_stage or len(by_stage) == 1:
        best = max(found, key=lambda s: s.mean)
        rank = f", the highest of {plural(len(found), 'stage')}" if len(found) > 1 else ""
        return f"{theme.label(best.stage)} {theme.percent(best.mean, 1)}{rank}; there is nothing to compare it with."
    parts = [f"Fusion {theme.percent(by_stage['fusion'].mean, 1)}"]
    if question.primary is not None and question.primary.subjects:
        parts.append(f"{_gap(question.primary)}, the modality chosen by validation")
    if mean := next((c for c in question.secondary if (c.a, c.b) == ("fusion", "fusion:mean")), None):
        parts.append(_gap(mean))
    return f"{', '.join(parts)}; {_told(question)}."


def interval(standing: Standing) -> str:
    """Return ``95 % interval 58–75 %, 42 subjects``."""
    if standing.subjects < 2:
        return "1 subject: no interval over subjects"
    if standing.low == standing.high:  # Student's interval of equal values has no width, whatever is known
        return f"{standing.subjects} subjects alike: no interval over subjects"
    return f"95 % interval {100 * standing.low:.0f}–{100 * standing.high:.0f} %, {standing.subjects} subjects"


def metric_name(metric: str) -> str:
    """Return a metric's name at the start of a text."""
    name = METRICS[metric]
    return name[0].upper() + name[1:]


def _gap(c: Comparison) -> str:
    other = theme.label(c.b)
    other = f"the {other[0].lower()}{other[1:]}" if ":" in c.b else other
    points = 100 * c.difference
    if round(points, 1) == 0:
        return f"level with {other}"
    return f"{abs(points):.1f} points {'above' if points > 0 else 'below'} {other}"


def _told(question: Question) -> str:
    c = question.primary
    if question.why_not:
        if c is not None and c.subjects < least_subjects() and "subjects" in question.why_not:
            return f"too few subjects to tell ({c.subjects} of at least {least_subjects()})"
        return "no verdict: not all runs are done" if c is not None else "no verdict without validation trials"
    if c is None:
        return "no verdict"
    told = "no difference can be told" if c.p >= ALPHA else f"fusion is {'better' if c.difference > 0 else 'worse'}"
    return f"{told} ({p_value(c.p)})"
