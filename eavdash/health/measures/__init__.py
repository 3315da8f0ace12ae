"""The measures of a recording: one module per modality, and the process that runs them.

In: a file and the parts of it that trials use. Out: plain numbers (:mod:`eavdash.health.measures.measure`). Thresholds,
such as for clipping or low level, are in :mod:`eavdash.health.rules`, so that measures stay valid when thresholds
change; only those of bad EEG channels are preprocessing's own (:mod:`eavdash.data.eeg.bad`). The modules do not import
pandas, so that a measuring process starts in a fraction of a second.
"""

#: Increment it when the same file gives different measures: stored answers are then measured again.
VERSION = 4
