"""Permutation test of one class's maps against those of the other classes, corrected over all cells.

In: normalised maps of trials, their subjects and classes. Out: per class the mean difference and the corrected p of
every cell. A subject's difference is the mean map of the class minus the mean of the other classes' mean maps, so that
every subject and every class has one vote. The largest magnitude over all cells is what chance is compared with (the
max-statistic: Nichols & Holmes 2002, Hum. Brain Mapp. 15:1), and the p of the classes are multiplied by their number
(Bonferroni).

With :func:`~eavdash.results.paired.least_subjects` subjects or more the differences of whole subjects change sign
(``mne.stats.permutation_t_test``): the result is about people like these. With fewer no such test can pass; the classes
are then exchanged among the trials within each subject, and the result is about these subjects alone. Trials count as
exchangeable there, also those of one conversation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from eavdash.results.paired import ALPHA, least_subjects

PERMUTATIONS = 4_999
LEAST_TRIALS = 3  # maps of the class, and of the others, below which nothing is tested
SUBJECTS, TRIALS = "subjects", "trials"  # whose differences change sign, or what is exchanged within subjects


@dataclass(frozen=True)
class MapTest:
    """Test of one class: ``difference`` and corrected ``p`` like a map, NaN where nothing was tested.

    ``exchanged``: :data:`SUBJECTS`, :data:`TRIALS`, or empty with the reason in ``too_few``.
    """

    difference: np.ndarray
    p: np.ndarray
    subjects: int
    trials: int  # of the class
    exchanged: str
    too_few: str = ""

    @property
    def least_p(self) -> float:
        """The smallest corrected p; NaN if nothing was tested."""
        return float(np.nanmin(self.p)) if np.isfinite(self.p).any() else math.nan


def compare_classes(
    maps: np.ndarray, subjects: Sequence[str], classes: Sequence[str], names: Sequence[str], seed: int = 0
) -> dict[str, MapTest]:
    """Test the maps (trial, ...) of each class of ``names``, given the subject and the class of every trial."""
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    who, what = np.asarray(subjects, str), np.asarray(classes, str)
    found = {name: _compare(flat, who, what, name, len(names), seed) for name in names}
    tested = sum(1 for each in found.values() if each.exchanged)
    shape = maps.shape[1:]
    return {
        name: replace(
            each, difference=each.difference.reshape(shape), p=np.minimum(1.0, each.p * tested).reshape(shape)
        )
        for name, each in found.items()
    }


def _compare(flat: np.ndarray, who: np.ndarray, what: np.ndarray, name: str, tests: int, seed: int) -> MapTest:
    both = [s for s in dict.fromkeys(who.tolist()) if len(set((what == name)[who == s].tolist())) == 2]
    inside = np.isin(who, both)
    flat, who, what = flat[inside], who[inside], what[inside]
    trials, others = int((what == name).sum()), int((what != name).sum())
    nothing = np.full(flat.shape[1], np.nan)
    if min(trials, others) < LEAST_TRIALS:
        reason = (
            f"maps of {name} and of others from the same subjects: {trials} and {others} of at least {LEAST_TRIALS}"
        )
        return MapTest(nothing, nothing, len(both), trials, "", reason)
    rows = [np.flatnonzero(who == s) for s in both]
    differences = np.stack([_weights(what[at], name) @ flat[at] for at in rows])
    mean = differences.mean(axis=0)
    if len(both) >= least_subjects(tests):
        return MapTest(mean, _by_subject(differences, seed), len(both), trials, SUBJECTS)
    ways = math.prod(math.comb(len(at), int((what[at] == name).sum())) for at in rows)
    if ways < 1 / ALPHA:
        return MapTest(mean, nothing, len(both), trials, "", f"trials to exchange: {ways} ways are too few for a test")
    return MapTest(mean, _by_trial(flat, what, rows, name, seed), len(both), trials, TRIALS)


def _weights(what: np.ndarray, name: str) -> np.ndarray:
    """Return the weights (..., trial) whose sum of maps is a subject's difference, for classes (..., trial)."""
    out = (what == name) / (what == name).sum(axis=-1, keepdims=True)
    others = [other for other in dict.fromkeys(what.ravel().tolist()) if other != name]
    for other in others:
        here = what == other
        out = out - here / here.sum(axis=-1, keepdims=True) / len(others)
    return np.asarray(out, dtype=np.float64)


def _by_subject(differences: np.ndarray, seed: int) -> np.ndarray:
    """Return the p of each cell under changes of sign of whole subjects; exact where there are few."""
    from mne.stats import permutation_t_test

    p = np.ones(differences.shape[1])
    varied = differences.std(axis=0) > 1e-12
    if varied.any():
        p[varied] = permutation_t_test(differences[:, varied], PERMUTATIONS, seed=seed, verbose="error")[1]
    return p


def _by_trial(flat: np.ndarray, what: np.ndarray, rows: Sequence[np.ndarray], name: str, seed: int) -> np.ndarray:
    """Return the p of each cell under exchanges of the trials' classes within subjects.

    A cell's statistic is the mean difference over subjects divided by the cell's spread within subjects, which no
    exchange changes.
    """
    random = np.random.default_rng(seed)
    spread = np.sqrt(sum(flat[at].var(axis=0) * len(at) for at in rows) / len(flat))
    varied = spread > 1e-12
    p = np.ones(flat.shape[1])
    observed, drawn = np.zeros(varied.sum()), np.zeros((PERMUTATIONS, varied.sum()))
    for at in rows:
        scaled = flat[at][:, varied] / spread[varied]
        observed += _weights(what[at], name) @ scaled
        drawn += _weights(random.permuted(np.tile(what[at], (PERMUTATIONS, 1)), axis=1), name) @ scaled
    if varied.any():
        largest = np.sort(np.abs(drawn).max(axis=1) * (1 + 1e-9))  # equal ones are equal despite rounding
        p[varied] = (1 + PERMUTATIONS - np.searchsorted(largest, np.abs(observed))) / (1 + PERMUTATIONS)
    return p
