"""Who or what separates points: planted subjects, planted labels, both, neither, and too few."""

from __future__ import annotations

import numpy as np
import pytest

from eavdash.results import separation as module
from eavdash.results.separation import Separation, separation, verdict


@pytest.fixture(autouse=True)
def few_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PERMUTATIONS", 199)


def points(who: float, what: float, seed: int = 0, subjects: int = 6) -> tuple[np.ndarray, list[str], list[str]]:
    """Return points of ``subjects`` people and 4 labels, 4 trials each, whose centres lie that far apart."""
    random = np.random.default_rng(seed)
    people, labels = np.repeat(np.arange(subjects), 16), np.tile(np.repeat(np.arange(4), 4), subjects)
    made = random.normal(size=(len(people), 10))
    made += who * random.normal(size=(subjects, 10))[people] + what * random.normal(size=(4, 10))[labels]
    return made, [str(s) for s in people], [f"label {c}" for c in labels]


@pytest.mark.parametrize(
    ("who", "what", "said"),
    [
        (2.0, 0.0, "What separates these points is who, not what: subject explains"),
        (0.0, 2.0, "What separates these points is what, not who: subject explains"),
        (2.0, 0.5, "What separates these points is more who than what"),
        (0.4, 2.0, "What separates these points is more what than who"),
        (0.0, 0.0, "Neither who nor what separates these points"),
    ],
)
def test_the_verdict_names_what_was_planted(who: float, what: float, said: str) -> None:
    found = separation(*points(who, what, seed=1))
    assert verdict(found, "emotion").startswith(said)
    assert "emotion explains" in verdict(found, "emotion")
    assert (found.trials, found.subjects, found.labels) == (96, 6, 4)
    for name, planted in (("subject", who), ("label", what)):
        assert (getattr(found, f"{name}_p") < 0.05) == bool(planted)


def test_eta_squared_is_that_of_the_sums_of_squares() -> None:
    made, who, what = points(1.0, 1.0)
    found = separation(made, who, what)
    centred = made - made.mean(axis=0)
    # The design is balanced: what a factor explains is the variance of its means.
    explained = {}
    for name, values in (("subject", who), ("label", what)):
        means = np.stack([centred[np.array(values) == v].mean(axis=0) for v in values])
        explained[name] = (means**2).sum()
    left = (centred**2).sum() - explained["subject"] - explained["label"]
    for name, sum_ in explained.items():
        assert getattr(found, name) == pytest.approx(sum_ / (sum_ + left))


def test_random_points_have_p_of_any_size_and_the_eta_of_chance() -> None:
    found = [separation(*points(0, 0, seed)) for seed in range(20)]
    for name in ("label", "subject"):
        p = [getattr(each, f"{name}_p") for each in found]
        assert sum(value < 0.05 for value in p) <= 4
        assert 0.3 < np.mean(p) < 0.7
        assert np.mean([getattr(each, name) - getattr(each, f"{name}_chance") for each in found]) == pytest.approx(
            0, abs=0.02
        )


def test_one_subject_says_nothing_about_who() -> None:
    made, who, what = points(0, 2.0, subjects=1)
    found = separation(made, who, what)
    assert np.isnan(found.subject)
    assert verdict(found, "emotion").startswith("The emotions are apart: emotion explains")
    assert "nothing can be said about who" in verdict(found)
    flat = separation(np.ones_like(made), who, what)
    assert (flat.label, flat.label_p) == (0.0, 1.0)
    assert verdict(flat).startswith("The labels are not apart")


def test_too_few_trials_are_said_to_be_too_few() -> None:
    made, who, what = points(2.0, 2.0)
    found = separation(made[:9], who[:9], what[:9])
    assert verdict(found) == "Too few trials to tell what separates them (9 of at least 10)."
    assert Separation.model_validate_json(found.model_dump_json()).too_few == found.too_few
