"""The corrected resampled t-test over folds, by hand; it is more careful than the plain one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from eavdash.results import across_folds


def study(folds: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(0)
    rows = [
        (fold, f"s{fold}", str(trial), seed, stage, rng.random() < skill)
        for fold in range(folds)
        for trial in range(20)
        for seed in (0, 1)
        for stage, skill in (("fusion", 0.8), ("eeg", 0.5))
    ]
    trials = pd.DataFrame(rows, columns=["fold", "subject", "trial", "seed", "stage", "correct"])
    trials = trials.assign(label="a", predicted=np.where(trials["correct"], "a", "b"))
    splits = [
        (f, s) for f in range(folds) for s, n in (("test", 20), ("train", 80), ("validation", 5)) for _ in range(n)
    ]
    return trials, pd.DataFrame(splits, columns=["fold", "split"])


def test_the_variance_grows_by_the_ratio_of_test_to_training_trials() -> None:
    trials, splits = study(5)
    found = across_folds.fold_test(trials, splits, "fusion", "eeg")
    means = trials.groupby(["stage", "fold"])["correct"].mean()
    gaps = (means["fusion"] - means["eeg"]).to_numpy(float)
    t = gaps.mean() / np.sqrt(gaps.var(ddof=1) * (1 / 5 + 20 / 80))
    assert found.p == pytest.approx(2 * student.sf(abs(t), 4))
    assert (found.folds, found.difference, found.ratio) == (5, pytest.approx(gaps.mean()), pytest.approx(0.25))
    assert found.p > ttest_1samp(gaps, 0).pvalue
    assert "over 5 folds" in across_folds.sentence(found)


def test_one_fold_says_nothing() -> None:
    found = across_folds.fold_test(*study(1), "fusion", "eeg")
    assert "at least two tested folds" in across_folds.sentence(found)


def test_the_test_of_accuracy_is_that_of_a_metric_too() -> None:
    trials, splits = study(4)
    trials["label"] = np.where(trials["trial"].astype(int) < 15, "a", "b")  # unbalanced classes
    wrong = np.where(trials["label"] == "a", "b", "a")
    trials["predicted"] = np.where(trials["correct"], trials["label"], wrong)
    found = across_folds.fold_test(trials, splits, "fusion", "eeg", "balanced_accuracy")
    recall = trials.groupby(["stage", "fold", "label"])["correct"].mean().groupby(["stage", "fold"]).mean()
    assert found.difference == pytest.approx((recall["fusion"] - recall["eeg"]).mean())
    assert found.difference != pytest.approx(across_folds.fold_test(trials, splits, "fusion", "eeg").difference)
