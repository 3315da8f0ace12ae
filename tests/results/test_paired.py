"""Paired tests, intervals and corrections against known values."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp, wilcoxon

from eavdash.results import paired


@pytest.mark.parametrize("n", [2, 5, 9, 12])
def test_the_sign_flip_test_enumerates_all_flips(n: int) -> None:
    gap = np.random.default_rng(n).normal(0.1, 0.2, n).round(2)
    flips = [np.round(np.mean(gap * signs), 12) for signs in itertools.product((-1, 1), repeat=n)]
    observed = abs(np.round(gap.mean(), 12))
    assert paired.sign_flip(gap) == pytest.approx(np.mean([abs(f) >= observed for f in flips]))


def test_the_sign_flip_test_of_many_subjects_is_seeded_and_near_the_t_test() -> None:
    gap = np.random.default_rng(0).normal(0.03, 0.1, 42)
    assert paired.sign_flip(gap) == paired.sign_flip(gap) == pytest.approx(ttest_1samp(gap, 0).pvalue, abs=0.01)
    assert paired.sign_flip(np.full(42, 0.01)) < 0.001
    assert paired.sign_flip(np.zeros(42)) == 1.0


def test_a_gain_in_every_subject_has_the_largest_effect() -> None:
    found = paired.compare("fusion", [0.7, 0.71, 0.72, 0.73, 0.74, 0.76], "eeg", [0.6] * 6)
    assert (found.p, found.p_wilcoxon) == pytest.approx((2 / 64, 2 / 64))
    assert found.effect == 1
    assert (found.better, found.worse) == (6, 0)
    interval = ttest_1samp([0.1, 0.11, 0.12, 0.13, 0.14, 0.16], 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_ties_are_no_difference_and_one_subject_has_no_test() -> None:
    tied = paired.compare("a", [0.5] * 8, "b", [0.5] * 8)
    assert (tied.p, tied.p_wilcoxon, tied.effect) == (1.0, 1.0, 0.0)
    assert math.isnan(paired.compare("a", [1.0], "b", [0.0]).p)
    assert math.isnan(paired.compare("a", [], "b", []).difference)


@pytest.mark.parametrize("family", [1, 7, 20])
def test_the_least_number_of_subjects_follows_from_the_test(family: int) -> None:
    least = paired.least_subjects(family)
    assert (
        paired.sign_flip(np.linspace(0.1, 0.2, least)) <= 0.05 / family < paired.sign_flip(np.linspace(1, 2, least - 1))
    )


def test_holm() -> None:
    assert paired.holm([0.01, 0.04, math.nan, 0.03])[:2] == pytest.approx([0.03, 0.06])
    assert math.isnan(paired.holm([math.nan])[0])


def test_the_resampled_t_test_is_wider_than_students() -> None:
    gap = [0.02, 0.05, 0.01, 0.04, 0.03]
    plain = ttest_1samp(gap, 0).pvalue
    assert paired.resampled_t(gap, 0.0) == pytest.approx(plain)
    # Nadeau & Bengio: the variance grows by 1 + folds * ratio.
    t = np.mean(gap) / math.sqrt(np.var(gap, ddof=1) * (1 / 5 + 1 / 4))
    from scipy.stats import t as student

    assert paired.resampled_t(gap, 1 / 4) == pytest.approx(2 * student.sf(t, 4))
    assert math.isnan(paired.resampled_t([0.1], 0.25))


def test_ties_of_thirteen_subjects_take_no_seconds() -> None:
    import time

    gap = [0.05] * 6 + [-0.05] * 4 + [0.1] * 3
    started = time.process_time()
    for _ in range(5):
        paired.compare("a", gap, "b", [0.0] * 13)
    assert time.process_time() - started < 5  # seven seconds each by enumeration of tied ranks


@pytest.mark.slow
@pytest.mark.parametrize("subjects", [7, 12, 42])
@pytest.mark.parametrize("ties", [False, True])
def test_p_is_uniform_without_a_difference_and_intervals_cover(subjects: int, ties: bool) -> None:
    random, runs = np.random.default_rng(subjects), 1500
    found = []
    for _ in range(runs):
        ability = random.uniform(0.3, 0.9, subjects)
        trials = 20 if ties else 997
        x, y = (random.binomial(trials, ability) / trials for _ in range(2))
        found.append(paired.compare("a", x.tolist(), "b", y.tolist()))
    rejected = np.mean([c.p <= 0.05 for c in found])
    error = 3 * math.sqrt(0.05 * 0.95 / runs)
    # The exact test is conservative where its p has few values, never the other way.
    assert rejected <= 0.05 + error
    assert rejected >= (0.01 if subjects == 7 else 0.05 - error - (0.01 if ties else 0))
    covered = np.mean([c.low <= 0 <= c.high for c in found])
    assert abs(covered - 0.95) <= 0.02


def test_the_signed_rank_test_of_many_subjects_is_scipys_normal_one() -> None:
    gap = np.random.default_rng(3).integers(-4, 6, 300) / 20  # with ties and zeros
    found = paired.compare("a", gap.tolist(), "b", [0.0] * 300)
    assert found.p_wilcoxon == pytest.approx(wilcoxon(gap, method="approx").pvalue, rel=1e-9)
