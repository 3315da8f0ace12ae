"""Baselines: the inputs from which attributions are measured.

An attribution answers "why this decision rather than that at the baseline?", so a baseline with an opinion of its own
turns the question. Two are offered, for each modality:

* ``mean``: the input that scaling maps to zero (:meth:`eavdash.explain.fused.FusedModel.baseline`);
* ``training``: :data:`DRAWS` windows that the run was trained on, over which attributions are averaged
  (training_windows.py).

``mixed`` takes for each modality the one of :data:`MIXED`. Methods without a baseline have ``none``. Neither torch nor
the recordings are needed here.
"""

from __future__ import annotations

from eavdash.errors import UsageError
from eavdash.explain.method_registry import METHODS, NONE

#: Method → its baselines, the default first.
BASELINES = {name: kind.baselines or (NONE,) for name, kind in METHODS.items()}
#: The better of both for each modality, by how often the planted place, time and electrode get most of the attribution.
MIXED = {"vision": "training", "audio": "training", "eeg": "mean"}
DRAWS = 12  # training windows


def baseline_of(method: str, baseline: str = "") -> str:
    """Return a method's baseline, its first one if none is given.

    Raises:
        UsageError: there is no such method, or it has no such baseline.
    """
    if method not in BASELINES:
        raise UsageError.at("method", expected=", ".join(BASELINES), found=repr(method), remedy="choose one")
    offered = BASELINES[method]
    if baseline and baseline not in offered:
        where = f"baseline of {method}"
        raise UsageError.at(where, expected=" or ".join(offered), found=repr(baseline), remedy="choose one")
    return baseline or offered[0]


def kind_for(modality: str, baseline: str) -> str:
    """Return the baseline of one modality, ``mean`` or ``training``, under the chosen one."""
    return MIXED[modality] if baseline == "mixed" else baseline
