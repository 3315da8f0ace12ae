"""Trials of one conversation that are decided alike: effective numbers of trials, and coverage with them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from eavdash.results.groups import decided_alike, effective_trials
from eavdash.results.statistics import chance_line, wilson


def decided(
    random: np.random.Generator, subjects: int, groups: int, size: int, alike: float, right: float
) -> pd.DataFrame:
    """Simulate decisions of one stage: a group's trials copy the group's decision with a probability ``alike``**0.5."""
    rows = []
    for subject in range(subjects):
        for group in range(groups):
            common = random.random() < right
            for number in range(size):
                own = random.random() < right
                copies = random.random() < alike**0.5
                rows.append((str(subject), f"{group}-{number}", str(group), common if copies else own))
    return pd.DataFrame(rows, columns=["subject", "trial", "group", "correct"]).assign(stage="eeg", fold=0, seed=0)


@pytest.mark.parametrize("alike", [0.0, 0.3, 1.0])
def test_the_correlation_is_found(alike: float) -> None:
    rows = decided(np.random.default_rng(1), 40, 20, 5, alike, 0.6)
    assert decided_alike(rows) == pytest.approx(alike, abs=0.05)
    assert effective_trials(rows)["0", "eeg"] == pytest.approx(100 / (1 + 4 * alike), rel=0.15)


def test_groups_of_one_trial_change_nothing() -> None:
    rows = decided(np.random.default_rng(2), 3, 30, 1, 0.0, 0.5)
    assert decided_alike(rows) == 0
    assert effective_trials(rows) == {(str(s), "eeg"): 30 for s in range(3)}


def test_one_group_per_subject_cannot_tell() -> None:
    assert decided_alike(decided(np.random.default_rng(3), 3, 1, 10, 1.0, 0.5)) == 0


def test_seeds_of_a_trial_are_averaged_and_add_nothing() -> None:
    rows = decided(np.random.default_rng(4), 10, 10, 4, 0.5, 0.6)
    doubled = pd.concat([rows, rows.assign(seed=1)])
    assert effective_trials(doubled) == pytest.approx(effective_trials(rows))


@pytest.mark.slow
@pytest.mark.parametrize("alike", [0.0, 0.3, 1.0])
def test_intervals_and_the_chance_line_hold_with_the_effective_number(alike: float) -> None:
    random, runs = np.random.default_rng(5), 300
    covered = {"effective": [], "plain": []}
    above = {"effective": [], "plain": []}
    for _ in range(runs):
        rows = decided(random, 5, 20, 5, alike, 0.6)
        guessed = decided(random, 5, 20, 5, alike, 0.2)
        for table, n in ((rows, effective_trials(rows)), (guessed, effective_trials(guessed))):
            for subject, own in table.groupby("subject"):
                share, counted = own["correct"].mean(), n[subject, "eeg"]
                if table is rows:
                    for name, size in (("effective", counted), ("plain", 100.0)):
                        low, high = wilson(share * size, size)
                        covered[name].append(low <= 0.6 <= high)
                else:
                    for name, size in (("effective", counted), ("plain", 100.0)):
                        above[name].append(share > chance_line(size, 5) + 1e-9)
    assert np.mean(covered["effective"]) >= 0.92
    assert np.mean(above["effective"]) <= 0.07
    if alike == 1.0:  # what it would be without: the planted fault
        assert np.mean(covered["plain"]) < 0.75
        assert np.mean(above["plain"]) > 0.12
