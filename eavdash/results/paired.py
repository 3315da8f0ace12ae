"""Paired comparisons over subjects: test, interval, effect size and corrections.

In: accuracies (fractions) of the same subjects, on the same trials. Out: a :class:`Comparison`. The p value is that of
the sign-flip permutation test of the mean difference (Fisher 1935; ``scipy.stats.permutation_test``), exact up to 13
subjects, from 9,999 seeded resamples above, and the normal limit of its distribution from 200 subjects. Beside it stand
the signed-rank test (Wilcoxon 1945), Student's interval of the mean difference, and the matched-pairs rank-biserial
correlation (Kerby 2014). Holm (1979) corrects families.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

ALPHA = 0.05
_EXACT = 13  # subjects up to which all 2^n sign flips are computed
_RESAMPLES = 9_999
_NORMAL = 200  # subjects from which the null distribution is the normal one of the same variance


@dataclass(frozen=True)
class Comparison:
    """Comparison of ``a`` with ``b`` over the same trials of the same subjects.

    Differences are a - b, fractions; p values are two-sided. What needs more subjects is NaN.
    """

    a: str
    b: str
    subjects: int
    mean_a: float
    mean_b: float
    difference: float
    better: int
    worse: int
    p: float  # sign-flip permutation of the mean; NaN below two subjects or for what no test may judge
    p_wilcoxon: float
    effect: float  # rank-biserial, -1..1
    low: float  # 95 % interval of the mean difference
    high: float
    p_holm: float = math.nan
    trials: int = 0  # that both have been tested on
    trials_left_out: int = 0  # that only one of both has been tested on
    subjects_left_out: int = 0  # without a common trial


def compare(a: str, first: Sequence[float], b: str, second: Sequence[float]) -> Comparison:
    """Compare the accuracies of ``a`` and ``b``, one of each per subject."""
    x, y = np.asarray(first, float), np.asarray(second, float)
    gap = np.round(x - y, 12)  # equal scores must remain ties despite rounding errors
    p = wilcoxon = effect = low = high = math.nan
    if len(gap) >= 2:
        p = sign_flip(gap)
        wilcoxon, effect = _signed_rank(gap)
        low, high = mean_interval(gap)
    mean = (float(x.mean()), float(y.mean()), float(gap.mean())) if len(gap) else (math.nan,) * 3
    better, worse = int((gap > 0).sum()), int((gap < 0).sum())
    return Comparison(a, b, len(gap), *mean, better, worse, p, wilcoxon, effect, low, high)


def sign_flip(gap: np.ndarray) -> float:
    """Return the two-sided p of the mean of paired differences (n,) under random flips of their signs."""
    if not gap.any():
        return 1.0
    if len(gap) >= _NORMAL:
        return math.erfc(abs(gap.sum()) / math.sqrt(2 * float((gap**2).sum())))
    from scipy.stats import permutation_test

    found = permutation_test(
        (gap,),
        lambda x, axis: np.round(x.mean(axis=axis), 12),  # equal means must count as equal
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**_EXACT if len(gap) <= _EXACT else _RESAMPLES,
        batch=2**_EXACT,
        rng=np.random.default_rng(0),
    )
    return min(1.0, float(found.pvalue))


def least_subjects(comparisons: int = 1, alpha: float = ALPHA) -> int:
    """Return the least number of subjects with which one of a family of tests can pass Holm's first step.

    The smallest p of a sign-flip test of n differences is 2/2^n.
    """
    return math.ceil(1 + math.log2(max(1, comparisons) / alpha))


def too_few_subjects(subjects: int) -> str:
    """Return a sentence beginning with "Too few" if no test over so few subjects can pass; otherwise empty."""
    least = least_subjects()
    if subjects >= least:
        return ""
    return (
        f"Too few subjects for a conclusion ({subjects} of at least {least}): with fewer, the paired test can never "
        "reach "
        f"p < {ALPHA:g}."
    )


def holm(p: Sequence[float]) -> list[float]:
    """Apply Holm's step-down correction; NaN values stay NaN and do not count."""
    order = sorted((i for i, value in enumerate(p) if not math.isnan(value)), key=lambda i: p[i])
    out, running = [math.nan] * len(p), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, p[i] * (len(order) - rank)))
        out[i] = running
    return out


def resampled_t(gap: Sequence[float], ratio: float) -> float:
    """Return the two-sided p of the corrected resampled t-test (Nadeau & Bengio 2003, Machine Learning 52:239).

    For differences of folds whose models share training data. ``gap``: mean difference per fold; ``ratio``: test to
    training items of a fold. NaN below two folds.
    """
    from scipy.special import stdtr

    found = np.asarray(gap, float)
    if len(found) < 2:
        return math.nan
    spread = float(found.var(ddof=1)) * (1 / len(found) + ratio)
    if spread == 0:
        return 1.0 if found.mean() == 0 else 0.0
    return float(2 * stdtr(len(found) - 1, -abs(found.mean()) / math.sqrt(spread)))


def _signed_rank(gap: np.ndarray) -> tuple[float, float]:
    """Return p and effect of the signed-rank test; exact without ties, normal otherwise (enumeration takes seconds)."""
    gap = gap[gap != 0]
    if not len(gap):
        return 1.0, 0.0
    ranks = pd.Series(np.abs(gap)).rank().to_numpy()
    surplus = float(ranks[gap > 0].sum() - ranks[gap < 0].sum())
    effect = surplus / float(ranks.sum())
    if len(gap) >= _NORMAL:  # as below, without the second that importing scipy.stats takes
        return math.erfc(abs(surplus) / math.sqrt(2 * float((ranks**2).sum()))), effect
    from scipy.stats import wilcoxon

    exact = len(np.unique(ranks)) == len(ranks) <= 50
    found = wilcoxon(gap, method="exact") if exact else wilcoxon(gap, method="approx")
    return float(found.pvalue), effect


def mean_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return Student's 95 % interval of the mean of two values or more, one per subject."""
    from scipy.special import stdtrit

    x = np.asarray(values, float)
    half = float(stdtrit(len(x) - 1, 0.975) * x.std(ddof=1) / math.sqrt(len(x)))
    return float(x.mean()) - half, float(x.mean()) + half


def share_interval(values: np.ndarray) -> tuple[float, float]:
    """Return :func:`mean_interval` of shares, cut at 0 and 1; NaN for less than two values."""
    if len(values) < 2:
        return math.nan, math.nan
    low, high = np.clip(mean_interval(values), 0, 1).tolist()
    return low, high
