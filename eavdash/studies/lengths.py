"""A remark of a plan: how many trials are shorter than the window.

In: the trials of a plan and a configuration. Out: a sentence, or none. Only headers of recordings are read, of at most
:data:`LOOKED` trials.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from eavdash.config.choices import COLUMN
from eavdash.config.schema import StudyConfig
from eavdash.errors import EavdashError
from eavdash.text import plural

#: Number of trials whose recordings are opened, evenly spread over the table; one with a stop is not.
LOOKED = 400
#: In the order in which headers are quickly read.
_ORDER = ("audio", "eeg", "vision")
#: Share of the window below which a trial is short: containers round durations.
_SHORT = 0.95


def short_trials_notes(trials: pd.DataFrame, config: StudyConfig) -> list[str]:
    """Return a note on the trials that are shorter than the window; none if there are none."""
    timed = trials["stop"].notna()
    rest = trials[~timed]
    rest = rest.iloc[:: max(1, math.ceil(len(rest) / LOOKED))]
    looked = pd.concat([trials[timed], rest])
    found = [s for row in looked.to_dict("records") if (s := _seconds({str(k): v for k, v in row.items()}, config))]
    short = [s for s in found if s < _SHORT * config.window]
    if not short:
        return []
    sampled = "" if len(looked) == len(trials) else " that were looked at"
    counted = f"{len(short)} of {plural(len(found), 'trial')}{sampled}"
    return [
        f"{counted} are shorter than the window of {config.window:g} s (the longest of them has {max(short):.3g} s): "
        "each gives one window, the rest of which is empty; set a shorter window"
    ]


def _seconds(row: dict[str, Any], config: StudyConfig) -> float:
    """Return the length of a trial; 0 if it has no recording of the study, or one that cannot be read."""
    from eavdash.data.cache.window_set_spec import trial_duration

    modality = next((m for m in _ORDER if m in config.modalities and row[COLUMN[m]]), "")
    if not modality:
        return 0.0
    begin = 0.0 if math.isnan(row["start"]) else float(row["start"])
    if row["stop"] > begin:
        return float(row["stop"]) - begin
    try:
        return trial_duration(row[COLUMN[modality]], modality, row["start"], row["stop"], config)
    except EavdashError:
        return 0.0
