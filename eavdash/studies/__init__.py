"""From a dataset and a configuration to the plan of a study: its document, its splits and its runs.

plan.py puts the plan together, of: checks.py (what cannot be planned), document.py (study.json and its tables),
runs.py (which runs there are, and their config.json). Nothing is written here; eavdash.studies.write does that.
"""

from eavdash.studies.plan import Plan, plan
from eavdash.studies.runs import CROSS_SUBJECT, PlannedRun

__all__ = ["CROSS_SUBJECT", "Plan", "PlannedRun", "plan"]
