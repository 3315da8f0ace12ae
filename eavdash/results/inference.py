"""Numbers that a paper prints about one paired comparison: intervals, effect size, counts, Bayesian probabilities.

In: differences of the same subjects on the same trials, as fractions. Out: an :class:`Inference`.

* Interval of the mean difference: bias-corrected and accelerated bootstrap over subjects (Efron 1987, J. Am. Stat.
  Assoc. 82:171; ``scipy.stats.bootstrap``); Student's where it does not exist (all differences alike), and from 200
  subjects, where both agree.
* Effect size: Cohen's d of paired differences with Hedges' correction (Hedges & Olkin 1985), its interval from the
  noncentral t distribution (Cumming & Finch 2001, Educ. Psychol. Meas. 61:532).
* Bayesian signed-rank test (Benavoli et al. 2014; ``baycomp``): probabilities that the difference lies below, within
  and above a region of practical equivalence of ±1 point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eavdash.results.paired import mean_interval

ROPE = 0.01  # differences up to this are equivalent in practice
RESAMPLES = 9_999
_STUDENT = 200  # subjects from which Student's interval is used, and no posterior is sampled
_SAMPLES, _QUICK = 10_000, 60  # of the posterior, up to this many subjects; fewer above, since each takes n² steps


@dataclass(frozen=True)
class Inference:
    """One comparison; what needs more subjects is NaN."""

    subjects: int
    difference: float
    low: float  # 95 % interval of the mean difference
    high: float
    how: str  # "BCa bootstrap" or "Student's t"
    effect: float  # Hedges' g of paired differences
    effect_low: float
    effect_high: float
    gained: int
    lost: int
    tied: int
    below: float  # probability that the difference is below -ROPE
    equal: float
    above: float


def infer(gap: Sequence[float] | np.ndarray, bayes: bool = True) -> Inference:
    """Return the inference on differences, one per subject; ``bayes``: sample the posterior too."""
    gap = np.round(np.asarray(gap, float), 12)
    low, high, how = interval(gap)
    effect = hedges(gap)
    probabilities = posterior(gap) if bayes else (math.nan,) * 3
    counts = int((gap > 0).sum()), int((gap < 0).sum()), int((gap == 0).sum())
    mean = float(gap.mean()) if len(gap) else math.nan
    return Inference(len(gap), mean, low, high, how, *effect, *counts, *probabilities)


def interval(gap: np.ndarray) -> tuple[float, float, str]:
    """Return the 95 % interval of a mean over subjects (subject,), and how it was computed; NaN below two subjects."""
    if len(gap) < 2:
        return math.nan, math.nan, ""
    if len(gap) < _STUDENT and len(np.unique(gap)) > 1:
        from scipy.stats import bootstrap

        rng = np.random.default_rng(0)
        found = bootstrap((gap,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=rng, vectorized=True)
        low, high = map(float, found.confidence_interval)
        if math.isfinite(low) and math.isfinite(high):
            return low, high, "BCa bootstrap"
    return *mean_interval(gap), "Student's t"


def hedges(gap: np.ndarray) -> tuple[float, float, float]:
    """Return Hedges' g of paired differences (subject,) and its 95 % interval; NaN where they do not vary."""
    n = len(gap)
    spread = float(gap.std(ddof=1)) if n > 1 else 0.0
    if spread == 0:
        g = 0.0 if n > 1 and not gap.any() else math.nan
        return g, g, g
    from scipy.special import gammaln, nctdtrinc

    freedom = n - 1
    correction = math.exp(gammaln(freedom / 2) - gammaln((freedom - 1) / 2)) * math.sqrt(2 / freedom) if n > 2 else 1.0
    t = float(gap.mean()) / spread * math.sqrt(n)
    low, high = (float(nctdtrinc(freedom, p, t)) / math.sqrt(n) * correction for p in (0.975, 0.025))
    return t / math.sqrt(n) * correction, low, high


def posterior(gap: np.ndarray, rope: float = ROPE) -> tuple[float, float, float]:
    """Return the probabilities of a difference below, within and above the region; NaN if they are not sampled."""
    n = len(gap)
    if not 2 <= n < _STUDENT:
        return (math.nan,) * 3
    from baycomp import SignedRankTest

    samples = int(_SAMPLES * min(1.0, (_QUICK / n) ** 2))
    found = SignedRankTest.probs(np.zeros(n), gap, rope, nsamples=samples, random_state=0)
    below, equal, above = map(float, found)
    return below, equal, above
