"""From a dataset and a configuration to a study, and all that is done to a study as a whole.

Planning: plan.py puts a plan together, of: checks.py (what cannot be planned), document.py (study.json and its tables)
and runs.py (which runs there are, and their config.json); write.py writes it. Afterwards: overview.py says what there
is, how far and how large; extend.py plans more; archive.py and verify.py look after what is there; probing.py starts
leakage probes; importing.py makes a study of published checkpoints. Running anything is left to ``eavdash.jobs``. All
of it may be called from several processes at once, and refuses what a run still needs.
"""
