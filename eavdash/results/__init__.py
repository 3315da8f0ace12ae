"""Results of runs as tidy tables and statistics.

A notebook needs two lines: ``from eavdash.results import scores`` and ``scores(StudyDir(Path("checkpoints/demo")))``.
"""

from eavdash.results.tables import confusion, predictions, scores, summarise, summary, trials

__all__ = ["confusion", "predictions", "scores", "summarise", "summary", "trials"]
