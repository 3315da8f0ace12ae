"""The test of one class's maps against the others: a planted cell is found, shuffled classes are not."""

from __future__ import annotations

import numpy as np
import pytest

from eavdash.explain.maps import permutation
from eavdash.explain.maps.permutation import SUBJECTS, TRIALS, compare_classes

NAMES = ("Anger", "Happiness", "Neutral")


@pytest.fixture(autouse=True)
def few_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permutation, "PERMUTATIONS", 499)


def simulated(subjects: int, each: int = 4, planted: float = 0.0, seed: int = 0) -> tuple[np.ndarray, list, list]:
    """Maps (trial, 4, 5) of noise with a map of each subject's own; Anger has more in cell (1, 2)."""
    random = np.random.default_rng(seed)
    who = [str(s) for s in range(subjects) for _ in range(each * len(NAMES))]
    what = [name for _ in range(subjects) for name in NAMES for _ in range(each)]
    maps = random.normal(size=(len(who), 4, 5)) + np.repeat(3 * random.normal(size=(subjects, 4, 5)), 3 * each, axis=0)
    maps[np.array(what) == "Anger", 1, 2] += planted
    return maps, who, what


@pytest.mark.parametrize(("subjects", "exchanged"), [(12, SUBJECTS), (3, TRIALS), (1, TRIALS)])
def test_a_planted_cell_is_found_and_no_other(subjects: int, exchanged: str) -> None:
    maps, who, what = simulated(subjects, each=8, planted=4.0)
    found = compare_classes(maps, who, what, NAMES)
    anger = found["Anger"]
    assert (anger.exchanged, anger.subjects, anger.trials) == (exchanged, subjects, 8 * subjects)
    assert np.argwhere(anger.p < 0.05).tolist() == [[1, 2]]
    assert anger.difference[1, 2] == pytest.approx(4.0, abs=1.2)
    assert anger.least_p == anger.p[1, 2]


@pytest.mark.parametrize("subjects", [10, 2])
def test_without_any_difference_p_is_not_small(subjects: int) -> None:
    drawn = []
    for seed in range(40):
        maps, who, what = simulated(subjects, seed=seed)
        found = compare_classes(maps, who, what, ["Anger"])  # one class: not multiplied
        drawn.append(found["Anger"].least_p)
    # About uniform: of 40, two on average are below 0.05, and their mean is 0.5.
    assert sum(p < 0.05 for p in drawn) <= 6
    assert 0.3 < np.mean(drawn) < 0.7


def test_subjects_with_maps_of_their_own_are_no_difference_of_classes() -> None:
    """Classes that occur in different subjects only cannot be told from the subjects, and are not tested."""
    maps = np.concatenate([np.zeros((5, 3)), np.ones((5, 3))])
    found = compare_classes(maps, ["1"] * 5 + ["2"] * 5, ["Anger"] * 5 + ["Neutral"] * 5, ["Anger", "Neutral"])
    assert [each.exchanged for each in found.values()] == ["", ""]
    assert "0 and 0 of at least 3" in found["Anger"].too_few
    assert np.isnan(found["Anger"].least_p)


def test_too_few_trials_to_exchange_are_not_tested() -> None:
    maps = np.random.default_rng(0).normal(size=(6, 3))
    found = compare_classes(maps, ["1"] * 6, ["Anger"] * 3 + ["Neutral"] * 3, ["Anger"])
    assert found["Anger"].exchanged == TRIALS  # 20 ways
    few = compare_classes(maps[:5], ["1"] * 5, ["Anger"] * 3 + ["Neutral"] * 2, ["Anger"])
    assert few["Anger"].too_few


def test_cells_without_any_variation_have_p_one() -> None:
    maps, who, what = simulated(9)
    maps[:, 0] = 0
    assert (compare_classes(maps, who, what, NAMES)["Anger"].p[0] == 1).all()


def test_every_class_multiplies_p() -> None:
    maps, who, what = simulated(3, planted=1.0)
    one, all_ = (compare_classes(maps, who, what, names)["Anger"].p for names in (["Anger"], NAMES))
    assert all_ == pytest.approx(np.minimum(1, 3 * one))
