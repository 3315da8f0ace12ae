"""Statistics for conclusions about accuracies, and the rule for when there are too few data for one.

In: counts or per-subject accuracies (fractions). Out: intervals, the chance line, paired comparisons. Sources: Wilson's
interval from Wilson 1927 (J. Am. Stat. Assoc. 22:209), the binomial chance line from Combrisson & Jerbi 2015 (J.
Neurosci. Methods 250:126), the matched-pairs rank-biserial correlation as effect size from Kerby 2014, the signed-rank
test from scipy. The unit of every comparison is the subject.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from eavdash.config.choices import MODALITIES
from eavdash.results.tables import BESIDE
from eavdash.text import plural

#: With five pairs the smallest two-sided p of the signed-rank test is 2/32 = 0.0625: it can never pass 5 %.
MIN_SUBJECTS = 6
#: With fewer test trials the 95 % interval around an accuracy of 50 % extends more than 20 points to each side.
MIN_TRIALS = 20
_Z95 = 1.959963984540054


def wilson(k: float, n: int, z: float = _Z95) -> tuple[float, float]:
    """Return Wilson's score interval (95 % by default) of ``k`` hits among ``n`` independent items.

    ``k`` may be fractional: a count averaged over seeds. No items: (0, 1).
    """
    if n <= 0:
        return 0.0, 1.0
    share = k / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def chance_line(n: int, classes: int, alpha: float = 0.05, majority: float = 0.0) -> float:
    """Return the accuracy that must be *exceeded* to reject guessing at ``alpha``: the binomial quantile over n.

    ``n`` counts independent items: trials, not windows. Guessing is right with probability 1/classes, or ``majority``
    (the share of the most frequent class among the items) if that is larger. 30 trials of 5 classes: 0.333; 100: 0.27.
    """
    if n <= 0 or classes <= 0:
        return 1.0
    from scipy.special import bdtr

    below = bdtr(np.arange(n + 1), n, min(max(1 / classes, majority), 1.0))
    return min(int(np.searchsorted(below, 1 - alpha)), n) / n


def too_few(*, trials: int | None = None, subjects: int | None = None) -> str:
    """Return a sentence beginning with "Too few" if there are too few data for a conclusion; otherwise empty."""
    if subjects is not None and subjects < MIN_SUBJECTS:
        return (
            f"Too few subjects for a conclusion ({subjects} of at least {MIN_SUBJECTS}): with fewer, a paired test "
            "over subjects can never reach p < 0.05."
        )
    if trials is not None and trials < MIN_TRIALS:
        return (
            f"Too few test trials for a conclusion ({trials} of at least {MIN_TRIALS}): the 95 % interval of an "
            "accuracy extends more than 20 points to each side."
        )
    return ""


@dataclass(frozen=True)
class Comparison:
    """Comparison of ``a`` with ``b`` over the same subjects. Differences are a - b, fractions; p is two-sided."""

    a: str
    b: str
    subjects: int
    mean_a: float
    mean_b: float
    difference: float
    better: int
    worse: int
    p: float  # NaN: too few subjects
    effect: float  # rank-biserial, -1..1; NaN: too few subjects
    low: float  # 95 % interval of the mean difference (Student's t over subjects); NaN: too few subjects
    high: float
    p_holm: float = math.nan


def compare(a: str, first: Sequence[float], b: str, second: Sequence[float]) -> Comparison:
    """Compare paired accuracies by Wilcoxon's signed-rank test; no p below :data:`MIN_SUBJECTS` pairs."""
    x, y = np.asarray(first, float), np.asarray(second, float)
    gap = np.round(x - y, 12)  # equal scores must remain ties despite rounding errors
    p = effect = low = high = math.nan
    if len(gap) >= MIN_SUBJECTS:
        p, effect = _signed_rank(gap)
        low, high = mean_interval(gap)
    mean = (float(x.mean()), float(y.mean()), float(gap.mean())) if len(gap) else (math.nan,) * 3
    return Comparison(a, b, len(gap), *mean, int((gap > 0).sum()), int((gap < 0).sum()), p, effect, low, high)


def fusion_comparisons(scores: pd.DataFrame) -> list[Comparison]:
    """Compare fusion with the best single modality, each subject's own best, and the baselines in ``scores``.

    "Best" is chosen on the test scores, which favours the single modality: a gain over it is conservative. At least
    half of the fused subjects must have it, so that no single lucky subject determines it. The p values are corrected
    over the list by Holm's method. ``scores``: a table from ``tables.scores``.
    """
    wide = scores.pivot_table(index="subject", columns="stage", values="accuracy")
    singles = [m for m in MODALITIES if m in wide.columns]
    if "fusion" not in wide.columns or not singles:
        return []
    had = wide.loc[wide["fusion"].notna(), singles].notna().mean()
    common = [m for m in singles if had[m] >= min(0.5, had.max())]
    best = str(wide[common].mean().idxmax())
    rivals = {best: wide[best], "each subject's best": wide[singles].max(axis=1)}
    rivals |= {name: wide[name] for name in wide.columns if name.startswith("fusion:")}
    return _corrected([_paired(wide["fusion"], "fusion", column, name) for name, column in rivals.items()])


def encoder_comparisons(scores: pd.DataFrame) -> list[Comparison]:
    """Compare each encoder with the baselines beside it; those of a stage from the best to the worst.

    The p values are corrected over the list by Holm's method. ``scores``: from ``tables.scores``, with baselines.
    """
    wide = scores.pivot_table(index="subject", columns="stage", values="accuracy")
    out: list[Comparison] = []
    for stage in (m for m in MODALITIES if m in wide.columns):
        mine = [_paired(wide[stage], stage, wide[name], name) for name in BESIDE[stage] if name in wide.columns]
        # Of equal ones, first those of the recording itself, which say more than "frozen features" or a guess.
        out += sorted(mine, key=lambda c: (-round(c.mean_b, 12), c.b.endswith((":linear", ":time", ":majority"))))
    return _corrected(out)


def behind(scores: pd.DataFrame) -> list[str]:
    """Return a sentence for each encoder that is not clearly better than the best of its baselines.

    "Best" is chosen on the test scores, which favours the baseline: a gain over it is conservative. ``STAGE:time`` is
    left out, because it reads no recording and has a sentence of its own (:mod:`eavdash.results.probes`). A frozen
    encoder with a linear fit is its own ``STAGE:linear``, so a tie with that says nothing.
    """
    sentences = []
    seen: set[str] = set()
    for c in encoder_comparisons(scores):
        itself = c.b.endswith(":linear") and c.difference == 0
        if c.a in seen or not c.subjects or c.b.endswith(":time") or itself:
            continue
        seen.add(c.a)
        if c.difference > 0 and not c.low <= 0:
            continue
        how = "does not beat" if c.difference <= 0 else "is not clearly better than"
        interval = f"95 % interval {100 * c.low:+.1f} to {100 * c.high:+.1f}"
        sentences.append(
            f"The {c.a} encoder ({100 * c.mean_a:.1f} %) {how} the simple baseline {c.b} ({100 * c.mean_b:.1f} %): "
            f"{100 * c.difference:+.1f} points over {plural(c.subjects, 'subject')}, "
            f"{'too few for an interval' if math.isnan(c.low) else interval}."
        )
    return sentences


def _paired(first: pd.Series, a: str, second: pd.Series, b: str) -> Comparison:
    """Compare two columns over the subjects that have both."""
    pair = pd.DataFrame({"a": first, "b": second}).dropna()
    return compare(a, pair["a"].tolist(), b, pair["b"].tolist())


def _corrected(comparisons: list[Comparison]) -> list[Comparison]:
    corrected = holm([c.p for c in comparisons])
    return [replace(c, p_holm=p) for c, p in zip(comparisons, corrected, strict=True)]


def holm(p: Sequence[float]) -> list[float]:
    """Apply Holm's step-down correction; NaN values stay NaN and do not count."""
    order = sorted((i for i, value in enumerate(p) if not math.isnan(value)), key=lambda i: p[i])
    out, running = [math.nan] * len(p), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, p[i] * (len(order) - rank)))
        out[i] = running
    return out


def _signed_rank(gap: np.ndarray) -> tuple[float, float]:
    from scipy.stats import rankdata, wilcoxon

    gap = gap[gap != 0]
    if not len(gap):
        return 1.0, 0.0
    ranks = rankdata(np.abs(gap))
    effect = float((ranks[gap > 0].sum() - ranks[gap < 0].sum()) / ranks.sum())
    # Exact if all ranks are distinct; with ties scipy's "auto" enumerates or approximates.
    return float(wilcoxon(gap).pvalue), effect


def mean_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval (Student's t) of the mean of two values or more, one per subject."""
    from scipy.special import stdtrit

    x = np.asarray(values, float)
    half = float(stdtrit(len(x) - 1, 0.975) * x.std(ddof=1) / math.sqrt(len(x)))
    return float(x.mean()) - half, float(x.mean()) + half
