"""Planning of studies, and the operations on whole studies.

Planning: plan.py makes a plan with checks.py (conflicts and invalid settings), document.py (study.json and its tables)
and runs.py (the runs and their config.json); write.py writes it. Afterwards: overview.py lists studies with progress
and size; extend.py copies a study or adds runs; archive.py archives and deletes; verify.py compares checksums;
probing.py starts leakage probes; importing.py makes a study from published checkpoints. ``eavdash.jobs`` runs them.
Every function is safe to call from several processes at once and refuses to remove what an active run needs.
"""
