"""Better than guessing: the maps of a model that has learned nothing explain guesses, however faithful they are.

The line is that of every accuracy (results/statistics.py; Combrisson & Jerbi 2015). No check of a map can replace this
one: a model that was trained on shuffled labels is computed, and so explained, as exactly as any other.
"""

from __future__ import annotations

from eavdash.explain.check_record import Check
from eavdash.explain.receipts.registry import CHECKS
from eavdash.explain.receipts.run_question import RunQuestion


def decisions(question: RunQuestion) -> Check:
    """Compare the share of correctly decided test trials with the share that guessing exceeds in 5 % of cases."""
    kind = CHECKS["decisions"]
    if not question.trials or question.line >= 1:
        return kind.not_run(f"{question.trials} test trials are too few to tell the model from guessing.")
    share = question.correct / question.trials
    reason = (
        f"{question.correct} of {question.trials} test trials are decided correctly ({share:.0%}); guessing exceeds "
        f"{question.line:.0%} in 5 of 100 cases."
    )
    found = kind.found("pass" if share > question.line else "fail", share, reason)
    return found.replace(threshold=question.line)
