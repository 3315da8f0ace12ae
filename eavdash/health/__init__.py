"""The health of a dataset: every recording measured once, judged, and compared with its partners.

check.py makes the report (report.py) of: scan.py (files → measures, memory.py and workers.py behind it), rules.py
(single recordings), pairing.py (recordings together), protocols.py (what the protocols make of them).
"""

from eavdash.health.check import check_dataset
from eavdash.health.report import SEVERITIES, Finding, HealthReport, made_folder, write_csv

__all__ = ["SEVERITIES", "Finding", "HealthReport", "check_dataset", "made_folder", "write_csv"]
