"""The linear classifier: what it learns, what chooses its penalty, and which rows it never sees."""

import numpy as np
import pytest
from failing import fails
from threadpoolctl import threadpool_limits

from eavdash.errors import TrainingError
from eavdash.training.linear import ABSENT, FIXED, STRENGTHS, fit_linear


def clouds(rows: int, features: int, classes: int, apart: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Make ``rows`` points (rows, features) around one random centre per class, and their classes."""
    random = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    centres = apart * random.standard_normal((classes, features))
    return centres[labels] + random.standard_normal((rows, features)), labels


def accuracy(fit, x: np.ndarray, labels: np.ndarray) -> float:
    return float((fit.probabilities(x).argmax(axis=1) == labels).mean())


@pytest.mark.parametrize("classes", [2, 5])
def test_it_learns_separable_classes_in_the_units_of_the_features(classes: int) -> None:
    x, labels = clouds(200, 8, classes, 3)
    scaled = 1e4 + 1e-3 * x  # large offset, small spread
    fit = fit_linear(scaled, labels, range(100), range(100, 150), classes)
    assert fit.weight.shape == (classes, 8)
    assert fit.bias.shape == (classes,)
    assert fit.chosen_by == "validation windows"
    assert accuracy(fit, scaled[150:], labels[150:]) > 0.95
    assert np.allclose(fit.probabilities(scaled).sum(axis=1), 1)
    # Logits with the features' own units are those of the standardised features.
    plain = fit_linear(x, labels, range(100), range(100, 150), classes)
    assert fit.probabilities(scaled[150:]) == pytest.approx(plain.probabilities(x[150:]), abs=1e-4)


def test_a_class_without_training_rows_is_never_predicted() -> None:
    x, labels = clouds(120, 4, 3, 2)
    train = [row for row in range(90) if labels[row] != 1]
    fit = fit_linear(x, labels, train, range(90, 105), 3)  # validation has rows of the class
    assert (fit.weight[1] == 0).all()
    assert fit.bias[1] == ABSENT
    probabilities = fit.probabilities(100 * x)
    assert (probabilities.argmax(axis=1) != 1).all()
    assert np.isfinite(fit.bias).all()
    # The rows of that class do not choose the penalty: without them it is the same.
    held = [row for row in range(90, 105) if labels[row] != 1]
    assert fit.strength == fit_linear(x, labels, train, held, 3).strength


def test_a_single_class_is_always_predicted() -> None:
    x, labels = clouds(20, 4, 2, 2)
    train = np.flatnonzero(labels == 1)
    for validation in ([], range(4)):
        fit = fit_linear(x, labels, train, validation, 2, np.arange(20))
        assert (fit.strength, fit.chosen_by) == (FIXED, "nothing")
        assert (fit.probabilities(x).argmax(axis=1) == 1).all()


def test_constant_features_do_not_matter() -> None:
    x, labels = clouds(100, 4, 2, 1)
    more = np.column_stack([x, np.full(100, 0.1), np.zeros(100), np.full(100, 1e8)])
    fit = fit_linear(more, labels, range(60), range(60, 80), 2)
    assert (fit.weight[:, 4:] == 0).all()
    plain = fit_linear(x, labels, range(60), range(60, 80), 2)
    assert fit.probabilities(more) == pytest.approx(plain.probabilities(x), abs=1e-6)


def test_without_validation_held_out_groups_choose_the_penalty() -> None:
    """Windows of one trial resemble each other: split between folds, they would ask for no penalty at all."""
    random = np.random.default_rng(1)
    trials = np.repeat(np.arange(40), 5)
    labels = trials % 2
    own = 5 * random.standard_normal((40, 60))[trials]  # what tells the trial, not its class
    x = own + 0.1 * random.standard_normal((200, 60))
    x[:, 0] += labels
    grouped = fit_linear(x, labels, range(200), [], 2, trials)
    alone = fit_linear(x, labels, range(200), [], 2)
    assert grouped.chosen_by == alone.chosen_by == "folds of the training windows"
    assert grouped.strength >= 100 * alone.strength


def test_one_group_per_class_leaves_the_penalty_as_it_is() -> None:
    x, labels = clouds(20, 4, 2, 2)
    fit = fit_linear(x, labels, range(20), [], 2, labels)
    assert (fit.strength, fit.chosen_by) == (FIXED, "nothing")
    assert accuracy(fit, x, labels) > 0.9


def test_more_features_than_rows_is_the_same_fit() -> None:
    """Columns on which no row differs leave everything as it was, also where the fit is made in a smaller space."""
    x, labels = clouds(60, 10, 3, 1)
    wide = np.concatenate([x, np.zeros((60, 200))], axis=1)
    fit = fit_linear(wide, labels, range(40), range(40, 50), 3)
    plain = fit_linear(x, labels, range(40), range(40, 50), 3)
    assert fit.strength == plain.strength
    assert fit.weight[:, :10] == pytest.approx(plain.weight, abs=2e-3)
    noisy, labels = clouds(30, 500, 3, 1)
    assert accuracy(fit_linear(noisy, labels, range(20), range(20, 30), 3), noisy, labels) > 0.9


def test_the_validation_rows_choose_the_strongest_of_equal_penalties() -> None:
    x, labels = np.zeros((40, 3)), np.arange(40) % 2
    fit = fit_linear(x, labels, range(20), range(20, 40), 2)
    assert fit.strength == STRENGTHS[0]
    noise, labels = clouds(60, 40, 2, 0)
    easy, known = clouds(60, 40, 2, 3)
    strengths = [fit_linear(a, b, range(30), range(30, 60), 2).strength for a, b in ((noise, labels), (easy, known))]
    assert strengths[0] > strengths[1]


def test_other_rows_have_no_influence() -> None:
    x, labels = clouds(100, 6, 3, 1)
    fit = fit_linear(x, labels, range(60), range(60, 80), 3)
    changed, other = x.copy(), labels.copy()
    changed[80:], other[80:] = np.nan, 0
    again = fit_linear(changed, other, range(60), range(60, 80), 3)
    assert (fit.weight == again.weight).all()
    assert (fit.bias == again.bias).all()
    leaking = fit_linear(x, labels, range(100), range(60, 80), 3)
    assert not np.allclose(fit.weight, leaking.weight)


def test_the_number_of_threads_changes_nothing() -> None:
    x, labels = clouds(300, 50, 5, 0.5)
    fits = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            fits.append(fit_linear(x.astype(np.float32), labels, range(200), range(200, 250), 5))
    assert (fits[0].weight == fits[1].weight).all()
    assert (fits[0].bias == fits[1].bias).all()


def test_bad_features_are_refused() -> None:
    x, labels = clouds(20, 4, 2, 2)
    x[3, 1] = np.nan
    with fails(TrainingError, found="NaN"):
        fit_linear(x, labels, range(10), range(10, 20), 2)
    with fails(TrainingError, found="none"):
        fit_linear(x, labels, [], range(10, 20), 2)
