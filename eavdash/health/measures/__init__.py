"""What is measured of a recording before anyone trains on it: one module per kind, and the process that runs them.

In: a file and the parts of it that trials use. Out: plain numbers (:mod:`eavdash.health.measures.measure`). Nothing is
judged here: what counts as clipped or too quiet is said by :mod:`eavdash.health`, so that measures can be kept
while thresholds change. The modules load no pandas: a process that measures starts in a fraction of a second.
"""

#: Raise it when the same file gives other measures than before: what was remembered of it is then measured again.
VERSION = 1
