"""Agreement over seeds: models that differ only in the draws of their training should look at the same places.

Models that predict equally well can decide for different reasons (D'Amour et al. 2022); a map that changes with the
seed describes one training, not the data.
"""

from __future__ import annotations

from eavdash.explain.check_record import Check
from eavdash.explain.receipts.registry import CHECKS
from eavdash.explain.receipts.run_question import RunQuestion


def seeds(question: RunQuestion) -> Check:
    """Correlate the ranks of the maps' cells with those of the same windows in runs with other seeds."""
    kind = CHECKS["seeds"]
    if not question.others:
        return kind.not_run("The study has no finished run of the same trials with another seed.")
    if not question.windows:
        return kind.not_run("The run has no test windows.")
    found = [value for other in question.others for value in question.correlations(other, cells=True)]
    value = sum(found) / len(found)
    reason = (
        f"The order of the maps' cells correlates by {value:.2f} (lowest {min(found):.2f}) with those of "
        f"{len(question.others)} other {'seed' if len(question.others) == 1 else 'seeds'} over "
        f"{len(question.windows)} windows."
    )
    return kind.graded(value, reason)
