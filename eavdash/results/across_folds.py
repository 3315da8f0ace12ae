"""The corrected resampled t-test of a study across subjects: over its folds, whose models share training data.

In: ``tables.trials`` and the study's splits. Out: a :class:`FoldTest` (Nadeau & Bengio 2003,
:func:`eavdash.results.paired.resampled_t`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from eavdash.results.metrics import scores_of
from eavdash.results.paired import resampled_t
from eavdash.text import p_value


@dataclass(frozen=True)
class FoldTest:
    """``p`` (two-sided) of the mean over ``folds``; ``ratio``: of test to training trials, the mean over the folds."""

    folds: int
    difference: float
    ratio: float
    p: float


def fold_test(trials: pd.DataFrame, splits: pd.DataFrame, a: str, b: str, metric: str = "accuracy") -> FoldTest:
    """Test two stages, in a metric of each fold, on the trials that both have been tested on; seeds share a trial.

    ``splits``: fold (number) and split. p is NaN below two folds.
    """
    keys = ["fold", "subject", "trial", "seed"]
    both = trials.loc[trials["stage"] == a, keys].merge(trials.loc[trials["stage"] == b, keys], on=keys)
    mine, other = (trials[trials["stage"] == stage].merge(both, on=keys) for stage in (a, b))
    gaps = (scores_of(mine, "fold", metric) - scores_of(other, "fold", metric)).dropna().sort_index()
    counts = splits.groupby(["fold", "split"]).size().unstack(fill_value=0).reindex(columns=["test", "train"])
    ratio = float((counts["test"] / counts["train"]).reindex(gaps.index).mean())
    p = resampled_t(gaps.tolist(), ratio) if math.isfinite(ratio) else math.nan
    return FoldTest(len(gaps), float(gaps.mean()) if len(gaps) else math.nan, ratio, p)


def sentence(found: FoldTest) -> str:
    """Return what the test says, or why it says nothing."""
    if math.isnan(found.p):
        return "The corrected resampled t-test, which allows for shared training data, needs at least two tested folds."
    return (
        f"Corrected resampled t-test over {found.folds} folds, which allows for shared training data "
        f"(test to training trials {found.ratio:.2f}): {100 * found.difference:+.1f} points, {p_value(found.p)}."
    )
