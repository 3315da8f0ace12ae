"""Intervals, the chance line and paired comparisons against known values."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from eavdash.results import statistics as st
from eavdash.results.paper import CAVEATS, table1


def test_wilson_against_published_values() -> None:
    # Newcombe 1998, Stat. Med. 17:857, table I, method 3 (score).
    assert st.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert st.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert st.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert st.wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)
    assert st.wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("n", "line"), [(120, 31 / 120), (30, 10 / 30), (100, 0.27)])
def test_chance_line_of_five_classes(n: int, line: float) -> None:
    assert st.chance_line(n, 5) == pytest.approx(line)


def test_chance_line_rises_with_an_unbalanced_class() -> None:
    assert st.chance_line(100, 2, majority=0.7) > st.chance_line(100, 2)
    assert st.chance_line(0, 5) == 1.0


def test_too_few_names_the_numbers() -> None:
    assert st.too_few(trials=20) == st.too_few(subjects=6) == ""
    assert "5 of at least 6" in st.too_few(subjects=5)
    assert "19 of at least 20" in st.too_few(trials=19)
    # The constants match their comments.
    low, high = st.wilson(st.MIN_TRIALS // 2, st.MIN_TRIALS)
    assert high - low == pytest.approx(0.4, abs=0.01)
    assert 2 / 2 ** (st.MIN_SUBJECTS - 1) > 0.05 > 2 / 2**st.MIN_SUBJECTS


def test_a_gain_in_every_subject_has_the_largest_effect() -> None:
    found = st.compare("fusion", [0.7, 0.71, 0.72, 0.73, 0.74, 0.76], "eeg", [0.6, 0.6, 0.6, 0.6, 0.6, 0.6])
    assert found.p == pytest.approx(2 / 64)
    assert found.effect == 1
    assert (found.better, found.worse) == (6, 0)


def test_no_p_below_six_subjects_and_ties_are_no_difference() -> None:
    assert math.isnan(st.compare("a", [1.0] * 5, "b", [0.0] * 5).p)
    tied = st.compare("a", [0.5] * 8, "b", [0.5] * 8)
    assert (tied.p, tied.effect) == (1.0, 0.0)


def test_holm() -> None:
    assert st.holm([0.01, 0.04, math.nan, 0.03])[:2] == pytest.approx([0.03, 0.06])
    assert math.isnan(st.holm([math.nan])[0])


def test_fusion_is_compared_over_subjects_that_have_both() -> None:
    scores = pd.DataFrame(
        [(str(s), stage, 0.5 + 0.01 * s * (stage == "fusion"), "x") for s in range(8) for stage in ("eeg", "fusion")],
        columns=["subject", "stage", "accuracy", "study"],
    )
    best, own = st.fusion_comparisons(scores[~((scores["subject"] == "7") & (scores["stage"] == "fusion"))])
    assert (best.b, best.subjects, own.b) == ("eeg", 7, "each subject's best")
    assert best.p_holm >= best.p
    assert st.fusion_comparisons(scores[scores["stage"] == "eeg"]) == []
    lucky = pd.concat([scores, pd.DataFrame([("0", "audio", 1.0, "x")], columns=scores.columns)])
    assert st.fusion_comparisons(lucky)[0].b == "eeg"  # not the modality of one subject in eight


def test_the_papers_table() -> None:
    table = table1()
    assert table["subject"].nunique() == 42
    means = table.groupby("stage")["accuracy"].mean() * 100
    assert means.round(2).to_dict() == {"audio": 58.17, "eeg": 53.51, "fusion": 70.86, "vision": 67.22}
    assert set(table[table["stage"] == "fusion"]["level"]) == {"frame"}
    assert CAVEATS


def beside(encoder: list[float], **baselines: list[float]) -> pd.DataFrame:
    """Make scores of the EEG encoder and its baselines, one accuracy per subject."""
    stages = {"eeg": encoder, **{f"eeg:{name}": values for name, values in baselines.items()}}
    rows = [(str(n), stage, value) for stage, values in stages.items() for n, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["subject", "stage", "accuracy"])


def test_an_encoder_is_compared_with_its_own_baselines() -> None:
    scores = beside([0.5] * 7, bandpower=[0.6] * 7, tangent=[0.7, 0.72, 0.74, 0.7, 0.72, 0.74, 0.7], majority=[0.2] * 7)
    other = scores[scores["stage"] == "eeg:tangent"].assign(stage="audio:logmel")  # of an encoder that is not there
    found = st.encoder_comparisons(pd.concat([scores, other]))
    assert [(c.a, c.b) for c in found] == [("eeg", "eeg:tangent"), ("eeg", "eeg:bandpower"), ("eeg", "eeg:majority")]
    assert [round(c.difference, 2) for c in found] == [-0.22, -0.1, 0.3]
    assert all(c.p_holm >= c.p for c in found)
    from scipy.stats import ttest_1samp

    gap = [0.5 - x for x in (0.7, 0.72, 0.74, 0.7, 0.72, 0.74, 0.7)]
    interval = ttest_1samp(gap, 0).confidence_interval(0.95)
    assert (found[0].low, found[0].high) == pytest.approx((interval.low, interval.high))
    assert st.encoder_comparisons(scores[scores["stage"] == "eeg"]) == []
    tied = st.encoder_comparisons(beside([0.5], linear=[1.0], bandpower=[1.0], time=[0.5]))
    assert [c.b for c in tied] == ["eeg:bandpower", "eeg:linear", "eeg:time"]


def test_an_encoder_behind_its_best_baseline_is_named_once() -> None:
    losing = beside([0.5, 0.52] * 4, bandpower=[0.6] * 8, tangent=[0.7] * 8)
    (sentence,) = st.behind(losing)
    assert "eeg encoder (51.0 %) does not beat" in sentence
    assert "eeg:tangent (70.0 %)" in sentence
    assert "8 subjects, 95 % interval" in sentence
    (sentence,) = st.behind(beside([0.5], tangent=[0.7]))
    assert "1 subject, too few for an interval" in sentence
    (sentence,) = st.behind(beside([0.9, 0.5] * 4, tangent=[0.65, 0.7] * 4))  # better on average, by luck
    assert "not clearly better" in sentence
    assert "-" in sentence.split("interval")[1].split(" to ")[0]
    (sentence,) = st.behind(beside([0.5] * 8, tangent=[0.5] * 8))
    assert "does not beat" in sentence


def test_an_encoder_ahead_of_its_baselines_and_one_without_any_are_not_named() -> None:
    assert st.behind(beside([0.8, 0.82] * 4, tangent=[0.6] * 8)) == []
    assert st.behind(beside([0.8, 0.82], tangent=[0.6] * 2)) == []  # too few to say more
    assert st.behind(beside([0.8] * 8)) == []
    assert st.behind(beside([0.8, 0.82] * 4, linear=[0.8, 0.82] * 4, tangent=[0.6] * 8)) == []  # a linear fit itself
    assert st.behind(beside([0.8, 0.82] * 4, tangent=[0.6] * 8, time=[1.0] * 8)) == []  # the probe has its own sentence
    assert st.behind(pd.DataFrame(columns=["subject", "stage", "accuracy"])) == []
