"""Distances of trials to the maps of their class: a planted stranger is found first."""

from __future__ import annotations

import numpy as np
import pytest

from eavdash.explain.maps.typical import distances


def test_a_planted_stranger_is_the_farthest_and_does_not_pull_its_mean() -> None:
    random = np.random.default_rng(0)
    pattern = random.normal(size=(4, 5))
    maps = pattern + 0.2 * random.normal(size=(12, 4, 5))
    maps[7] = -3 * pattern  # the opposite, and stronger
    found = distances(maps, ["1", "2", "3"] * 4, ["Anger"] * 12)
    assert found.argmax() == 7
    assert found[7] > 1.8
    assert np.delete(found, 7).max() < 0.8


def test_the_mean_leaves_the_trial_out_and_gives_each_subject_one_vote() -> None:
    maps = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    found = distances(maps, ["1", "1", "2", "3"], ["a"] * 4)
    mean = np.array([1.0, 4.0])  # of trial 0: subjects 1 (its other trial), 2 and 3
    assert found[0] == pytest.approx(1 - mean[0] / np.linalg.norm(mean))
    assert distances(10 * maps, ["1", "1", "2", "3"], ["a"] * 4) == pytest.approx(found)


def test_classes_with_too_few_maps_have_no_distance() -> None:
    found = distances(np.ones((5, 2)), ["1"] * 5, ["a", "a", "a", "a", "b"])
    assert found[:4] == pytest.approx(0)
    assert np.isnan(found[4])
