"""The setting ``protocol.subject_scaling``: the trials of a person whose statistics scale that person's windows.

In: its text, ``off``, ``all`` or ``calibration:K``. Out: its parts. Earlier versions had a switch instead: ``false`` is
``off`` and ``true`` is ``all``.
"""

from __future__ import annotations

import re
from typing import Any

OFF, ALL, CALIBRATION = "off", "all", "calibration"
VALUES = f"{OFF}, {ALL}, or {CALIBRATION}:K with K from 1 to 9,999"
#: The name under which a run keeps the statistics for people without their own: the mean of those trained on.
OTHERS = ""
_FORM = re.compile(rf"{OFF}|{ALL}|{CALIBRATION}:[1-9][0-9]{{0,3}}")
_EARLIER = {"false": OFF, "0": OFF, "true": ALL, "1": ALL}


def is_valid(value: Any) -> bool:
    """Return True if this is a value of the setting."""
    return isinstance(value, str) and _FORM.fullmatch(value) is not None


def current(value: Any) -> Any:
    """Return the value that an earlier version's stands for; any other unchanged."""
    return _EARLIER.get(str(value).lower(), value) if isinstance(value, bool | str) else value


def calibration_trials(text: str) -> int:
    """Return K, the number of each person's trials that are used for scaling only; 0 in the other modes."""
    return int(text.partition(":")[2] or 0)
