"""The health check of a dataset: every recording is measured, checked, and compared with the others of its trial.

check.py makes the report (report.py) from scan.py (files → measures, using memory.py and workers.py), rules.py (single
recordings), pairing.py (relations between recordings) and protocols.py (preview of the splits). Nothing is imported
here, so that the measuring processes start without pandas.
"""
