"""Regularised linear classification of features: the last layer of a frozen encoder, and the baselines beside it.

In: one row of features per window, class indices, and which rows train and validate. Out: weight and bias for the
features as given. Delegated to scikit-learn: multinomial logistic regression (L-BFGS) and stratified grouped folds.

The features are standardised on the training rows. The strength of the L2 penalty, scikit-learn's 1/C, is the one of
:data:`STRENGTHS` with the lowest cross-entropy on the validation rows; without any, on held-out groups of the training
rows. No other row has any influence. With more features than rows the fit is made in the space that the training rows
span, where its solution lies: exact, and as fast as with few features.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits

from eavdash.errors import TrainingError

#: Strengths of the penalty to choose from, the strongest first; of equal ones the strongest is taken.
STRENGTHS = (10_000.0, 1000.0, 100.0, 10.0, 1.0, 0.1)
#: Strength if neither validation rows nor groups of training rows can choose one.
FIXED = 100.0
#: Folds inside the training rows.
FOLDS = 5
#: Logit of a class without training rows; those of the other classes add up to 0, so it is never the highest.
ABSENT = -30.0
_ITERATIONS = 1000


@dataclass(frozen=True)
class LinearFit:
    """A linear classifier of K classes from D features, and how its penalty was chosen."""

    weight: np.ndarray  # (K, D) float64
    bias: np.ndarray  # (K,) float64
    strength: float  # of the L2 penalty on standardised features, in units of the summed cross-entropy
    chosen_by: str  # "validation windows", "folds of the training windows" or "nothing"

    def probabilities(self, features: ArrayLike) -> np.ndarray:
        """Return the class probabilities (N, K) of features (N, D)."""
        logits = np.asarray(features, dtype=np.float64) @ self.weight.T + self.bias
        return np.asarray(np.exp(_log_softmax(logits)))


def fit_linear(
    features: ArrayLike,
    labels: ArrayLike,
    train: Sequence[int],
    validation: Sequence[int],
    classes: int,
    groups: ArrayLike | None = None,
) -> LinearFit:
    """Fit a multinomial logistic regression; the same input gives the same result with any number of threads.

    Args:
        features: (N, D) numbers. labels: (N,) class indices below ``classes``.
        train, validation: rows of ``features``, which may repeat none.
        groups: (N,) names of what must not be split where no validation row chooses the penalty, such as trials.

    Raises:
        TrainingError: there is no training row, or a feature of the rows used is not a finite number.
    """
    x = np.asarray(features)
    y = np.asarray(labels, dtype=np.int64)
    fitted, held = np.asarray(train, dtype=np.int64), np.asarray(validation, dtype=np.int64)
    _check(x, fitted, held)
    with threadpool_limits(1), warnings.catch_warnings():
        # A weak penalty on separable rows never converges; its cross-entropy on other rows rarely wins.
        warnings.filterwarnings("ignore", "lbfgs failed to converge")
        path = _Path(x[fitted], y[fitted], classes)
        if len(held):
            losses = path.losses(x[held], y[held])
            chosen_by = "validation windows"
        else:
            losses = _held_out(x[fitted], y[fitted], classes, None if groups is None else np.asarray(groups)[fitted])
            chosen_by = "folds of the training windows"
        if losses is None:
            return LinearFit(*path.at(FIXED), FIXED, "nothing")
        # Differences below the solver's tolerance are no reason for a weaker penalty.
        best = STRENGTHS[int(np.argmin(np.round(losses, 6)))]
        return LinearFit(*path.at(best), best, chosen_by)


class _Path:
    """The fits of one set of training rows, from the strongest penalty to the weakest, each starting from the last."""

    def __init__(self, x: np.ndarray, y: np.ndarray, classes: int) -> None:
        self.classes, self.y, self.present = classes, y, np.unique(y)
        x = x.astype(np.float64)
        self.shift, scale = x.mean(axis=0), x.std(axis=0)
        # Rounding leaves a constant feature a tiny spread, which must not become its scale.
        varies = scale > 1e-9 * np.maximum(1e-30, np.abs(self.shift))
        self.scale = np.where(varies, scale, 1.0)
        self.x = np.where(varies, (x - self.shift) / self.scale, 0.0)
        self.basis: np.ndarray | None = None
        if self.x.shape[1] > len(self.x):
            left, spread, self.basis = np.linalg.svd(self.x, full_matrices=False)
            self.x = left * spread
        self.found: dict[float, tuple[np.ndarray, np.ndarray]] = {}

    def at(self, strength: float) -> tuple[np.ndarray, np.ndarray]:
        """Return weight (K, D) and bias (K,) for the features as given."""
        if strength not in self.found:
            self._fit()
        return self.found[strength]

    def losses(self, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        """Return the summed cross-entropy of other rows at each strength; None if the training rows lack choice.

        Rows of a class without training rows say nothing about the penalty and are left out.
        """
        known = np.isin(y, self.present)
        if not known.any() or len(self.present) < 2:
            return None
        x, y = x[known].astype(np.float64), y[known]
        out = []
        for strength in STRENGTHS:
            weight, bias = self.at(strength)
            out.append(-_log_softmax(x @ weight.T + bias)[np.arange(len(y)), y].mean())
        return np.array(out)

    def _fit(self) -> None:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(max_iter=_ITERATIONS, tol=1e-5, warm_start=True)
        for strength in STRENGTHS:
            coefficients, intercepts = np.zeros((1, self.x.shape[1])), np.zeros(1)
            if len(self.present) > 1:
                model.set_params(C=1 / strength).fit(self.x, self.y)
                coefficients, intercepts = model.coef_, model.intercept_
            if len(self.present) == 2:  # scikit-learn gives only the difference to the first class
                coefficients = np.concatenate([-coefficients, coefficients]) / 2
                intercepts = np.concatenate([-intercepts, intercepts]) / 2
            weight, bias = np.zeros((self.classes, len(self.scale))), np.full(self.classes, ABSENT)
            own = coefficients if self.basis is None else coefficients @ self.basis
            weight[self.present] = (own - own.mean(axis=0)) / self.scale
            bias[self.present] = intercepts - intercepts.mean() - weight[self.present] @ self.shift
            self.found[strength] = weight, bias


def _held_out(x: np.ndarray, y: np.ndarray, classes: int, groups: np.ndarray | None) -> np.ndarray | None:
    """Return the cross-entropy at each strength on held-out groups of the training rows; None if folds are impossible.

    Every fold must be able to have each class in both of its parts, so that the smallest class limits their number.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    names = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    folds = min(FOLDS, *(len(np.unique(names[y == k])) for k in np.unique(y)))
    if folds < 2:
        return None
    parts = StratifiedGroupKFold(folds).split(x, y, names)
    losses = [_Path(x[kept], y[kept], classes).losses(x[held], y[held]) for kept, held in parts]
    counted = [loss for loss in losses if loss is not None]
    return np.mean(counted, axis=0) if counted else None


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


def _check(x: np.ndarray, train: np.ndarray, validation: np.ndarray) -> None:
    where = "linear classifier"
    if not len(train):
        raise TrainingError.at(where, expected="training windows", found="none", remedy="choose another protocol")
    if not np.isfinite(x[np.concatenate([train, validation])]).all():
        remedy = "check the recordings of this dataset: eavdash check"
        raise TrainingError.at(where, expected="finite features", found="NaN or infinity", remedy=remedy)
