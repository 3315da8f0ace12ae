"""The health of a dataset: every recording measured once, judged, and compared with its partners.

check.py makes the report (report.py) of: scan.py (files → measures, with memory.py and workers.py behind it), rules.py
(single recordings), pairing.py (recordings together), protocols.py (what the protocols make of them). Nothing is
imported here: the processes that measure start without pandas.
"""
