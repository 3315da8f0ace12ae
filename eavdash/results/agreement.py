"""Agreement of attention shares with Shapley values and attributions, over the fused decisions of a study.

In: tables of :mod:`eavdash.results.tables` and :mod:`eavdash.results.shapley`, and the sums of stored attributions.
Out: one row per decision with each measure's shares, their means, and rank correlations between two measures.

A modality's share of one decision is its absolute value for the predicted class, divided by the sum over modalities.
Two measures are compared by Spearman's rank correlation in three ways; the first two are computed within each subject
and averaged over subjects:

- ``order``: of the modalities' ranks within one decision, averaged over decisions. With three modalities a single
  decision says little (without ties its correlation is -1, -0.5, 0.5 or 1); the mean over many does.
- ``trials``: of one modality's share, over the trials of a subject.
- ``subjects``: of one modality's mean share, over subjects.

Intervals are percentile bootstraps over subjects; with fewer than :data:`ENOUGH`, over the trials within each subject,
which says nothing about other subjects. ``trials`` needs that many trials in a subject, ``subjects`` that many
subjects. Shares of several seeds are averaged before, so that n counts distinct trials.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from eavdash.config.choices import MODALITIES

MEASURES = ("attention", "shapley", "attribution")
ENOUGH = 5
DRAWS = 1000
#: Columns of :func:`agreements`; ``resampled`` is subjects or trials.
COLUMNS = ("question", "modality", "rho", "low", "high", "subjects", "trials", "resampled")
CONFIDENCES = ("below 50 %", "50 to 70 %", "70 to 90 %", "90 % and above")
_EDGES = (0.5, 0.7, 0.9)
_KEYS = ["run", "subject", "trial"]  # a run has one fold and one seed
_MEANS = ("measure", "modality", "share", "n")
_SMALLEST = 1e-9  # a decision whose values are all smaller has no shares

#: rho, ends of its interval, subjects, trials, what was resampled
Found = tuple[float, float, float, int, int, str]


def decisions(trials: pd.DataFrame, shapley: pd.DataFrame, sums: pd.DataFrame) -> pd.DataFrame:
    """Return one row per fused decision of ``tables.trials`` with the shares that each measure gives the modalities.

    Columns: run, subject, trial, label, predicted, fold, seed, outcome (right, wrong), confidence (of
    :data:`CONFIDENCES`), then ``<measure>_<modality>``, which sum to 1 over modalities and are NaN where a modality is
    absent or the measure was not computed.

    Args:
        trials: ``tables.trials``; rows of other stages are not used.
        shapley: run, subject, trial, class, modality, value: Shapley values, means over the windows.
        sums: the same of attributions.
    """
    rows = trials[trials["stage"] == "fusion"].reset_index(drop=True)
    out = rows[[*_KEYS, "label", "predicted", "fold", "seed"]].copy()
    out["outcome"] = np.where(rows["correct"].astype(bool), "right", "wrong")
    bins = np.digitize(rows["confidence"].to_numpy(float), _EDGES)
    out["confidence"] = np.array(CONFIDENCES, dtype=object)[bins]
    attended = rows.reindex(columns=[f"attention_{m}" for m in MODALITIES]).to_numpy(float)
    values = {"attention": np.where(attended > 0, attended, np.nan)}
    values |= {"shapley": _of_predicted(out, shapley), "attribution": _of_predicted(out, sums)}
    for measure, found in values.items():
        sizes = np.abs(found)
        total = np.nansum(sizes, axis=1, keepdims=True)
        shares = np.divide(sizes, total, out=np.full_like(sizes, np.nan), where=total > _SMALLEST)
        out[[f"{measure}_{m}" for m in MODALITIES]] = shares
    return out


def measures(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the measures of which :func:`decisions` has shares."""
    return tuple(measure for measure in MEASURES if np.isfinite(_shares(table, measure)).any())


def mean_shares(table: pd.DataFrame, by: str = "") -> pd.DataFrame:
    """Return mean shares over decisions: group, measure, modality, share, n (decisions that have the measure).

    ``by``: a column whose values are the groups; empty for one group "". An absent modality counts as 0, so that the
    shares of a group and measure sum to 1.
    """
    groups, names = pd.factorize(table[by]) if by else (np.zeros(len(table), int), [""])
    parts = []
    for measure in measures(table):
        shares = _shares(table, measure)
        has = np.isfinite(shares).any(axis=1)
        n = np.bincount(groups[has], minlength=len(names))
        for modality, column in zip(MODALITIES, shares.T, strict=True):
            if np.isfinite(column).any():
                total = np.bincount(groups[has], np.nan_to_num(column[has]), len(names))
                share = np.divide(total, n, out=np.full(len(names), np.nan), where=n > 0)
                part = {"group": names, "measure": measure, "modality": modality, "share": share, "n": n}
                parts.append(pd.DataFrame(part))
    out = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["group", *_MEANS])
    return out[out["n"] > 0].reset_index(drop=True)


def agreements(table: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Return the rank correlations of two measures with 95 % intervals: :data:`COLUMNS`, a row per correlation.

    ``table``: of :func:`decisions`. Questions without a value are left out; ``subjects`` and ``trials`` count those
    that have one.
    """
    subjects, x, y = _paired(table, first, second)
    out = [("order", "", *_order(subjects, x, y))]
    for question, correlate in (("trials", _trials), ("subjects", _subjects)):
        out += [(question, m, *correlate(subjects, x[:, i], y[:, i])) for i, m in enumerate(MODALITIES)]
    found = pd.DataFrame(out, columns=list(COLUMNS))
    return found[found["rho"].notna()].reset_index(drop=True)


def orders_by(table: pd.DataFrame, column: str, first: str, second: str) -> pd.DataFrame:
    """Return the row ``order`` of :func:`agreements` for each value of ``column``, named in a column ``group``."""
    parts = []
    for group, rows in table.groupby(column, sort=False):
        subjects, x, y = _paired(rows, first, second)
        parts.append((group, "order", "", *_order(subjects, x, y)))
    return pd.DataFrame(parts, columns=["group", *COLUMNS])


def _of_predicted(rows: pd.DataFrame, values: pd.DataFrame) -> np.ndarray:
    """Return the values (decision, modality) of the predicted class; NaN where there is none."""
    out = np.full((len(rows), len(MODALITIES)), np.nan)
    if len(values):
        wanted = rows[[*_KEYS, "predicted"]].assign(row=np.arange(len(rows)))
        found = wanted.merge(values.rename(columns={"class": "predicted"}), on=[*_KEYS, "predicted"])
        place = found["modality"].map({m: i for i, m in enumerate(MODALITIES)}).to_numpy(int)
        out[found["row"].to_numpy(), place] = found["value"].to_numpy(float)
    return out


def _shares(table: pd.DataFrame, measure: str) -> np.ndarray:
    return table[[f"{measure}_{m}" for m in MODALITIES]].to_numpy(float)


def _paired(table: pd.DataFrame, first: str, second: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return subject codes (trial,) and both measures' shares (trial, modality), means over seeds; NaN in both."""
    x, y = _shares(table, first), _shares(table, second)
    both = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(both, x, np.nan), np.where(both, y, np.nan)
    subjects, trials = pd.factorize(table["subject"])[0], pd.factorize(table["trial"])[0]
    items, row = np.unique(subjects * (trials.max(initial=0) + 1) + trials, return_inverse=True)
    if len(items) < len(row):
        n = np.maximum(_sums(row, both.astype(float), len(items)), 1e-300)
        x, y = (np.where(n >= 1, _sums(row, np.nan_to_num(v), len(items)) / n, np.nan) for v in (x, y))
        subjects = items // (trials.max() + 1)
    return subjects, x, y


def _sums(row: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    return np.stack([np.bincount(row, column, n) for column in values.T], axis=1)


def _orders(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the rank correlation over the modalities of each trial; NaN if it has fewer than two, or all are tied."""
    a, b = _centred_ranks(x), _centred_ranks(y)
    spread = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.asarray(np.divide((a * b).sum(axis=1), spread, out=np.full(len(x), np.nan), where=spread > 0))


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    """Return average ranks along the last axis minus their mean; 0 for NaN."""
    below = (values[:, None, :] < values[:, :, None]).sum(axis=2)
    equal = (values[:, None, :] == values[:, :, None]).sum(axis=2)
    has = np.isfinite(values)
    middle = (has.sum(axis=1, keepdims=True) + 1) / 2
    return np.where(has, below + (equal + 1) / 2 - middle, 0.0)


def _order(subjects: np.ndarray, x: np.ndarray, y: np.ndarray) -> Found:
    """Average the orders' correlation over each subject's trials, then over subjects."""
    values = _orders(x, y)
    groups = _by_subject(subjects, values)
    return _over_groups([(v,) for v in groups], lambda counts, v: counts @ v / len(v))


def _trials(subjects: np.ndarray, x: np.ndarray, y: np.ndarray) -> Found:
    """Correlate over each subject's trials, and average over subjects; those with too few trials are left out."""
    pairs = [p.T for p in _by_subject(subjects, np.stack([x, y], axis=1)) if len(p) >= ENOUGH]
    found = [(a, b) for a, b in pairs if np.ptp(a) > 0 and np.ptp(b) > 0]
    return _over_groups(found, lambda counts, a, b: _spearman(a, b, counts))


def _subjects(subjects: np.ndarray, x: np.ndarray, y: np.ndarray) -> Found:
    """Correlate the subjects' mean shares; NaN with too few subjects."""
    groups = _by_subject(subjects, np.stack([x, y], axis=1))
    trials = sum(map(len, groups))
    if len(groups) < ENOUGH:
        return np.nan, np.nan, np.nan, len(groups), trials, "subjects"
    a, b = np.array([group.mean(axis=0) for group in groups]).T
    return *_estimate(_spearman(a, b, _counts(len(a)))), len(groups), trials, "subjects"


def _by_subject(subjects: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    """Return the rows of ``values`` (trial, ...) without NaN, subject by subject."""
    has = np.isfinite(values if values.ndim == 1 else values.sum(axis=1))
    order = np.argsort(subjects[has], kind="stable")
    return np.split(values[has][order], np.flatnonzero(np.diff(subjects[has][order])) + 1) if has.any() else []


def _over_groups(groups: Sequence[tuple[np.ndarray, ...]], statistic: Callable[..., np.ndarray]) -> Found:
    """Average ``statistic(counts, *group)`` over the subjects' groups, with an interval."""
    sizes = [len(group[0]) for group in groups]
    if len(groups) >= ENOUGH:
        values = np.array([statistic(np.ones((1, n)), *group)[0] for n, group in zip(sizes, groups, strict=True)])
        return *_estimate(_counts(len(values)) @ values / len(values)), len(groups), sum(sizes), "subjects"
    draws = [statistic(_counts(n), *group) for n, group in zip(sizes, groups, strict=True)]
    found = _estimate(np.mean(draws, axis=0)) if draws else (np.nan,) * 3
    low, high = found[1:] if sum(sizes) >= ENOUGH else (np.nan, np.nan)
    return found[0], low, high, len(groups), sum(sizes), "trials"


def _estimate(draws: np.ndarray) -> tuple[float, float, float]:
    """Return the first draw, which is the sample itself, and the 2.5 and 97.5 % quantiles of the others.

    The quantiles are NaN if a correlation is undefined in more than 5 % of the draws.
    """
    defined = draws[1:][np.isfinite(draws[1:])]
    if len(defined) < 0.95 * DRAWS:
        return float(draws[0]), np.nan, np.nan
    low, high = np.quantile(defined, (0.025, 0.975))
    return float(draws[0]), float(low), float(high)


def _counts(n: int) -> np.ndarray:
    """Return how often each of ``n`` items occurs in the sample itself and in each resample: (1 + draw, item)."""
    rng = np.random.default_rng(0)
    return np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), DRAWS)])


def _spearman(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation of ``x`` and ``y`` (item,) in each resample ``counts`` (draw, item).

    Ties get average ranks. NaN where one of them is constant.
    """
    a, b = _ranks(x, counts), _ranks(y, counts)
    n = counts.sum(axis=1, keepdims=True)
    a -= (a * counts).sum(axis=1, keepdims=True) / n
    b -= (b * counts).sum(axis=1, keepdims=True) / n
    spread = np.sqrt((counts * a * a).sum(axis=1) * (counts * b * b).sum(axis=1))
    both = (counts * a * b).sum(axis=1)
    return np.asarray(np.divide(both, spread, out=np.full(len(counts), np.nan), where=spread > 1e-9))


def _ranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the average rank of each item among the drawn ones: (draw, item)."""
    order = np.argsort(values, kind="stable")
    tied = values[order]
    first = np.searchsorted(tied, tied, "left")
    last = np.searchsorted(tied, tied, "right") - 1
    upto = np.cumsum(counts[:, order], axis=1)
    lower = np.concatenate([np.zeros((len(counts), 1)), upto], axis=1)[:, first]
    out = np.empty_like(counts)
    out[:, order] = (lower + upto[:, last] + 1) / 2
    return out
