"""Distances of the trials' maps to the mean map of their class, made without the trial.

In: normalised maps, subjects and classes. Out: 1 - cosine of the angle between a map and the mean over subjects of the
mean maps of their other trials of that class: 0 the same pattern, 1 unrelated, 2 the opposite. Its scale does not
matter, its signs do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEAST = 3  # other maps of the class, below which a distance says nothing


def distances(maps: np.ndarray, subjects: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Return the distance (trial,) of each map (trial, ...); NaN where the class has too few other maps."""
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    who, what = np.asarray(subjects, str), np.asarray(classes, str)
    out = np.full(len(flat), np.nan)
    for name in dict.fromkeys(what.tolist()):
        at = np.flatnonzero(what == name)
        if len(at) <= LEAST:
            continue
        people, codes, counts = np.unique(who[at], return_inverse=True, return_counts=True)
        sums = np.zeros((len(people), flat.shape[1]))
        np.add.at(sums, codes, flat[at])
        total = (sums / counts[:, None]).sum(axis=0)
        for trial, code in zip(at.tolist(), codes.tolist(), strict=True):
            rest = total - sums[code] / counts[code]
            own = (sums[code] - flat[trial]) / (counts[code] - 1) if counts[code] > 1 else 0.0
            mean = rest + own
            length = float(np.linalg.norm(mean) * np.linalg.norm(flat[trial]))
            if length > 0:
                out[trial] = 1 - float(mean @ flat[trial]) / length
    return out
