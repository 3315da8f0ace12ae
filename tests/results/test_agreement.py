"""Shares by three measures and their rank correlations, against brute force and closed forms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from eavdash.config.choices import MODALITIES
from eavdash.results import agreement

KEYS = ["run", "subject", "trial"]


def trials(subjects: int, count: int, seed: int = 0) -> pd.DataFrame:
    """Make fused decisions with random attention, as ``tables.trials`` has them."""
    rng = np.random.default_rng(seed)
    n = subjects * count
    names = np.repeat([str(s + 1) for s in range(subjects)], count)
    frame = pd.DataFrame({"stage": "fusion", "run": [f"s{s}-fusion" for s in names], "subject": names})
    frame["trial"] = np.tile([str(t) for t in range(count)], subjects)
    frame["label"], frame["predicted"] = rng.choice(["A", "B"], n), rng.choice(["A", "B"], n)
    frame["fold"], frame["seed"] = 0, 0
    frame["correct"], frame["confidence"] = frame["label"] == frame["predicted"], rng.uniform(0.3, 1, n)
    frame[[f"attention_{m}" for m in MODALITIES]] = rng.dirichlet((4, 2, 1), n)
    return frame


def values(frame: pd.DataFrame, numbers: np.ndarray) -> pd.DataFrame:
    """Make a table of values (decision, modality) of the predicted class, and of another that must not be used."""
    parts = []
    for i, modality in enumerate(MODALITIES):
        part = frame[KEYS].assign(modality=modality)
        parts.append(part.assign(**{"class": frame["predicted"], "value": numbers[:, i]}))
        parts.append(part.assign(**{"class": "never predicted", "value": 99.0}))
    return pd.concat(parts).sample(frac=1, random_state=1).reset_index(drop=True)


def decided(frame: pd.DataFrame, numbers: np.ndarray) -> pd.DataFrame:
    return agreement.decisions(frame, values(frame, numbers), values(frame, numbers).head(0))


def shares_of(table: pd.DataFrame, measure: str) -> np.ndarray:
    return table[[f"{measure}_{m}" for m in MODALITIES]].to_numpy()


def row(table: pd.DataFrame, question: str, modality: str = "") -> pd.Series:
    (found,) = (r for _, r in table.iterrows() if (r["question"], r["modality"]) == (question, modality))
    return found


def test_shares_are_those_of_the_predicted_class_and_of_present_modalities() -> None:
    frame = trials(2, 6)
    frame.loc[3, [f"attention_{m}" for m in MODALITIES]] = (0.75, 0.0, 0.25)
    numbers = np.random.default_rng(1).normal(size=(12, 3))
    numbers[5] = 0
    table = decided(frame, numbers)
    expected = np.abs(numbers) / np.abs(numbers).sum(axis=1, keepdims=True).clip(1e-12)
    expected[5] = np.nan
    assert shares_of(table, "shapley") == pytest.approx(expected, nan_ok=True)
    assert shares_of(table, "attention")[3] == pytest.approx([0.75, np.nan, 0.25], nan_ok=True)
    assert np.isnan(shares_of(table, "attribution")).all()
    assert agreement.measures(table) == ("attention", "shapley")
    assert set(table["outcome"]) == {"right", "wrong"}
    assert [agreement.CONFIDENCES[int(np.searchsorted((0.5, 0.7, 0.9), c, "right"))] for c in frame["confidence"]] == (
        table["confidence"].tolist()
    )


def test_means_sum_to_one_and_count_an_absent_modality_as_zero() -> None:
    frame = trials(2, 6)
    frame.loc[:2, [f"attention_{m}" for m in MODALITIES]] = (0.75, 0.0, 0.25)
    table = decided(frame, np.ones((12, 3)))
    means = agreement.mean_shares(table, "subject")
    assert means.groupby(["group", "measure"])["share"].sum().to_numpy() == pytest.approx(1)
    audio = means[(means["group"] == "1") & (means["measure"] == "attention") & (means["modality"] == "audio")]
    assert audio["share"].item() == pytest.approx(frame["attention_audio"][:6].mean())
    assert audio["n"].item() == 6
    overall = agreement.mean_shares(table)
    assert overall[overall["measure"] == "shapley"]["share"].tolist() == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("subjects", [1, 3, 8])
def test_perfect_agreement_is_one(subjects: int) -> None:
    frame = trials(subjects, 20)
    attention = frame[[f"attention_{m}" for m in MODALITIES]].to_numpy()
    signs = np.random.default_rng(2).choice([-1, 1], attention.shape)
    found = agreement.agreements(decided(frame, 3 * signs * attention), "attention", "shapley")
    assert found[["rho", "low", "high"]].to_numpy() == pytest.approx(1)
    assert set(found["question"]) == ({"order", "trials", "subjects"} if subjects > 5 else {"order", "trials"})
    assert set(found["resampled"]) == {"subjects" if subjects > 5 else "trials"}
    assert set(found["subjects"]) == {subjects}
    assert set(found["trials"]) == {20 * subjects}


@pytest.mark.parametrize("subjects", [2, 8])
def test_independent_measures_have_intervals_over_zero(subjects: int) -> None:
    frame = trials(subjects, 100)
    # Of the same distribution for each modality: a common order of the means would be agreement.
    frame[[f"attention_{m}" for m in MODALITIES]] = np.random.default_rng(3).dirichlet((2, 2, 2), len(frame))
    numbers = np.random.default_rng(4).dirichlet((2, 2, 2), len(frame))
    found = agreement.agreements(decided(frame, numbers), "attention", "shapley")
    within = found[found["question"] != "subjects"]
    assert (within["rho"].abs() < 0.12).all()
    assert ((found["low"] < 0) & (found["high"] > 0)).all()


def test_one_planted_reversal_is_found() -> None:
    frame, rng = trials(8, 50), np.random.default_rng(9)
    vision, audio = rng.uniform(0.3, 0.6, len(frame)), rng.uniform(0.05, 0.15, len(frame))
    frame[[f"attention_{m}" for m in MODALITIES]] = np.stack([vision, audio, 1 - vision - audio], axis=1)
    reversed_audio = 0.2 - audio  # audio counts less where it is attended to more
    numbers = np.stack([vision, reversed_audio, 1 - vision - reversed_audio], axis=1)
    found = agreement.agreements(decided(frame, numbers), "attention", "shapley")
    assert row(found, "trials", "audio")["high"] == pytest.approx(-1)
    assert row(found, "trials", "vision")["low"] == pytest.approx(1)
    assert row(found, "order")["low"] > 0.9  # the order hides it


def test_every_correlation_equals_brute_force() -> None:
    frame = trials(6, 15)
    rng = np.random.default_rng(5)
    numbers = rng.integers(0, 4, (90, 3)) + 0.0  # with ties
    numbers[:, 0] += 1
    table = decided(frame, numbers)
    found = agreement.agreements(table, "attention", "shapley")
    x, y = shares_of(table, "attention"), shares_of(table, "shapley")
    people = [table["subject"] == s for s in table["subject"].unique()]
    orders = np.array([spearmanr(a, b).statistic if np.ptp(b) > 0 else np.nan for a, b in zip(x, y, strict=True)])
    assert row(found, "order")["rho"] == pytest.approx(np.mean([np.nanmean(orders[p]) for p in people]))
    assert row(found, "order")["trials"] == np.isfinite(orders).sum()
    for i, modality in enumerate(MODALITIES):
        each = [spearmanr(x[p, i], y[p, i]).statistic for p in people]
        assert row(found, "trials", modality)["rho"] == pytest.approx(np.mean(each))
        means = [[values[p, i].mean() for p in people] for values in (x, y)]
        assert row(found, "subjects", modality)["rho"] == pytest.approx(spearmanr(*means).statistic)
    by = agreement.orders_by(table, "label", "attention", "shapley")
    for label in ("A", "B"):
        mine = [np.nanmean(orders[p & (table["label"] == label)]) for p in people]
        assert by[by["group"] == label]["rho"].item() == pytest.approx(np.mean(mine))


def test_resampled_correlations_equal_those_of_repeated_items() -> None:
    rng = np.random.default_rng(6)
    x, y = rng.integers(0, 5, 12).astype(float), rng.normal(size=12)
    counts = agreement._counts(12)[:30]
    assert counts[0].tolist() == [1] * 12
    each = [spearmanr(*(np.repeat(v, c.astype(int)) for v in (x, y))).statistic for c in counts]
    assert agreement._spearman(x, y, counts) == pytest.approx(each)


def test_seeds_are_averaged_and_do_not_count_as_trials() -> None:
    frame, other = trials(2, 10), trials(2, 10, seed=1)
    columns = [f"attention_{m}" for m in MODALITIES]
    second = frame.assign(seed=1, run=frame["run"] + "-seed1", **{c: other[c] for c in columns})
    both = pd.concat([frame, second], ignore_index=True)
    numbers = np.random.default_rng(7).normal(size=(20, 3))
    found = agreement.agreements(decided(both, np.vstack([numbers, numbers])), "attention", "shapley")
    assert set(found["trials"]) == {20}
    mean = frame.assign(**{c: (frame[c] + other[c]) / 2 for c in columns})
    expected = agreement.agreements(decided(mean, numbers), "attention", "shapley")
    pd.testing.assert_frame_equal(found, expected)


def test_too_few_trials_have_no_interval_and_constant_shares_no_correlation() -> None:
    frame = trials(1, 4)
    found = agreement.agreements(decided(frame, np.random.default_rng(8).normal(size=(4, 3))), "attention", "shapley")
    assert found["question"].tolist() == ["order"]
    assert np.isnan(found["low"].item())
    constant = trials(1, 20)
    constant[[f"attention_{m}" for m in MODALITIES]] = 1 / 3
    assert agreement.agreements(decided(constant, np.ones((20, 3))), "attention", "shapley").empty
    nothing = agreement.decisions(frame.head(0), values(frame, np.ones((4, 3))), values(frame, np.ones((4, 3))))
    assert agreement.measures(nothing) == ()
    assert agreement.mean_shares(nothing).empty
    assert agreement.agreements(nothing, "attention", "shapley").empty
