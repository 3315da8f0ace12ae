"""Separation of points: how much of their variance goes with the subject, and how much with the label.

In: points (trial, dimension), their subjects and labels. Out: a :class:`Separation` and a sentence. It is a
permutational analysis of variance (Anderson 2001, Austral Ecology 26:32) in Euclidean distance with both factors:
partial eta squared of a factor is the part of the variance left by the other factor that it explains. Labels are
exchanged within subjects and subjects within labels, which gives p and the eta squared of chance: with many subjects
and few trials even random points have a large one, so factors are compared by what they explain above chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from eavdash.results.paired import ALPHA
from eavdash.store.record import Part, Whole

PERMUTATIONS = 999
LEAST_TRIALS = 10


class Separation(Part):
    """Partial eta squared of label and subject, its mean under permutations, and p; NaN where it cannot be told."""

    trials: Whole
    subjects: Whole
    labels: Whole
    label: float = math.nan
    label_chance: float = math.nan
    label_p: float = math.nan
    subject: float = math.nan
    subject_chance: float = math.nan
    subject_p: float = math.nan
    too_few: str = ""

    def above(self, factor: str) -> float:
        """Return how much of the variance a factor explains above chance; 0 if that is not significant."""
        p, found, chance = (getattr(self, factor + end) for end in ("_p", "", "_chance"))
        return float(found - chance) if p < ALPHA else 0.0


def separation(points: np.ndarray, subjects: Sequence[str], labels: Sequence[str], seed: int = 0) -> Separation:
    """Return what separates points (trial, dimension)."""
    _, who = np.unique(np.asarray(subjects, str), return_inverse=True)
    _, what = np.unique(np.asarray(labels, str), return_inverse=True)
    people, classes = int(who.max(initial=-1)) + 1, int(what.max(initial=-1)) + 1
    counts = Separation(trials=len(points), subjects=people, labels=classes)
    needed = max(LEAST_TRIALS, 2 * (people + classes))
    if len(points) < needed:
        reason = f"Too few trials to tell what separates them ({len(points)} of at least {needed})."
        return counts.replace(too_few=reason)
    values = points - points.mean(axis=0)
    random = np.random.default_rng(seed)
    found: dict[str, float] = {}
    for name, factor, other in (("label", what, who), ("subject", who, what)):
        if factor.max() > 0:
            eta, chance, p = _partial_eta(values, factor, other, random)
            found |= {name: eta, f"{name}_chance": chance, f"{name}_p": p}
    return counts.replace(**found)


def verdict(found: Separation, label: str = "label") -> str:
    """Return what separates the points in a sentence; ``label``: what the labels are, such as emotion."""
    if found.too_few:
        return found.too_few
    said = {
        name: f"{word} explains {_percent(getattr(found, name))} of the variance (chance "
        f"{_percent(getattr(found, f'{name}_chance'))}, {_p(getattr(found, f'{name}_p'))})"
        for name, word in (("subject", "subject"), ("label", label))
        if math.isfinite(getattr(found, name))
    }
    figures = ", ".join(said.values())
    who, what = found.above("subject"), found.above("label")
    if "subject" not in said:
        answer = f"The {label}s are apart" if what else f"The {label}s are not apart"
        return f"{answer}: {figures}. All points are of one subject, so nothing can be said about who."
    if not who and not what:
        return f"Neither who nor what separates these points: {figures}."
    if not what or not who:
        first, second = ("who", "what") if who else ("what", "who")
        return f"What separates these points is {first}, not {second}: {figures}."
    first, second = ("who", "what") if who > what else ("what", "who")
    return f"What separates these points is more {first} than {second}: {figures}."


def _partial_eta(
    values: np.ndarray, factor: np.ndarray, other: np.ndarray, random: np.random.Generator
) -> tuple[float, float, float]:
    """Return partial eta squared of a factor given another, its mean under permutations, and p."""
    blocks = [np.flatnonzero(other == code) for code in range(int(other.max()) + 1)]
    left = values.copy()
    for at in blocks:
        left[at] -= values[at].mean(axis=0)
    total = float(np.square(left).sum())
    if not total:
        return 0.0, 0.0, 1.0
    dummies = np.eye(int(factor.max()) + 1)

    def explained(codes: np.ndarray) -> float:
        design = dummies[codes]
        for at in blocks:
            design[at] -= design[at].mean(axis=0)
        u, size, _ = np.linalg.svd(design, full_matrices=False)
        return float(np.square(u[:, size > 1e-9 * size.max(initial=1.0)].T @ left).sum()) / total

    observed = explained(factor)
    drawn = np.empty(PERMUTATIONS)
    for number in range(PERMUTATIONS):
        codes = factor.copy()
        for at in blocks:
            codes[at] = random.permutation(factor[at])
        drawn[number] = explained(codes)
    p = (1 + int((drawn >= observed - 1e-12).sum())) / (1 + PERMUTATIONS)
    return observed, float(drawn.mean()), p


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _p(value: float) -> str:
    return "p ≤ 0.001" if value <= 0.001 else f"p = {value:.3f}"
