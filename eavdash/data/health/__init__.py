"""The health of a dataset: every recording measured once, judged, and compared with its partners.

examine.py makes the report (report.py) of: scan.py (files → measures, remembered.py and workers.py behind it), judge.py
(single recordings), pairing.py (recordings together), outlook.py (what the protocols make of them).
"""

from eavdash.data.health.examine import check
from eavdash.data.health.report import SEVERITIES, Finding, HealthReport, made_folder, write_csv

__all__ = ["SEVERITIES", "Finding", "HealthReport", "check", "made_folder", "write_csv"]
