"""What is concluded from a study: same trials on both sides, one declared question, and when there is no verdict."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_study import make_study

from eavdash.results import comparisons as cs
from eavdash.results import tables
from eavdash.results.timeonly import time_scores


def decisions(**stages: list[float]) -> pd.DataFrame:
    """Make the trials of stages with these accuracies, one per subject, of 100 trials in one fold."""
    rows = []
    for stage, values in stages.items():
        for subject, value in enumerate(values):
            right = round(100 * value)
            rows += [(stage.replace("__", ":"), str(subject), str(t), 0, 0, t < right) for t in range(100)]
    return decided(rows)


def decided(rows: list[tuple[str, str, str, int, int, bool]]) -> pd.DataFrame:
    """Make a table of trials that all have one label; rows: stage, subject, trial, fold, seed, correct."""
    table = pd.DataFrame(rows, columns=["stage", "subject", "trial", "fold", "seed", "correct"])
    return table.assign(label="right", predicted=["right" if c else "wrong" for c in table["correct"]])


def on(**accuracies: float) -> pd.Series:
    return pd.Series(accuracies, dtype=float)


def test_only_common_trials_are_compared() -> None:
    # Encoders done on five folds, fusion on one: in its fold fusion gains 5 points, over all folds it seems to gain
    # more.
    rows = []
    for subject in range(8):
        for fold in range(5):
            for trial in range(20):
                easy = fold == 0
                rows.append(("eeg", str(subject), f"{fold}-{trial}", fold, 0, trial < (14 if easy else 8)))
                if easy:
                    rows.append(("fusion", str(subject), f"{fold}-{trial}", fold, 0, trial < 15))
    table = decided(rows)
    found = cs.paired(cs.by_stage(table), "fusion", "eeg")
    assert found.difference == pytest.approx(0.05)
    assert (found.trials, found.trials_left_out, found.subjects_left_out) == (160, 640, 0)
    wrong = table.groupby(["stage", "subject"])["correct"].mean().groupby("stage").mean()
    assert wrong["fusion"] - wrong["eeg"] == pytest.approx(0.29)  # the planted fault
    assert "different trials (eeg 800, fusion 160)" in cs.uneven(table)
    assert cs.uneven(table[table["fold"] == 0]) == ""


def test_a_trial_is_averaged_over_its_seeds_first() -> None:
    # One trial with nine seeds, all right; three trials with one seed each, all wrong.
    rows = [("eeg", "1", "a", 0, seed, True) for seed in range(9)]
    rows += [("eeg", "1", name, 0, 0, False) for name in "bcd"]
    rows += [("fusion", *row[1:]) for row in rows]
    table = decided(rows)
    assert cs.paired(cs.by_stage(table), "fusion", "eeg").mean_a == pytest.approx(0.25)


def test_a_metric_is_that_of_the_common_trials_of_each_subject() -> None:
    # Nine trials of a and one of b; fusion always says a, eeg is right about b and wrong about two of a.
    rows = []
    for subject in "1234":
        for trial in range(10):
            label = "b" if trial == 9 else "a"
            rows.append(("fusion", subject, str(trial), label, "a"))
            rows.append(("eeg", subject, str(trial), label, "b" if trial >= 7 else "a"))
        rows.append(("eeg", subject, "alone", "a", "b"))  # not tested by fusion
    table = pd.DataFrame(rows, columns=["stage", "subject", "trial", "label", "predicted"]).assign(fold=0, seed=0)
    made = cs.by_stage(table)
    assert cs.paired(made, "fusion", "eeg").difference == pytest.approx(0.9 - 0.8)
    balanced = cs.paired(made, "fusion", "eeg", "balanced_accuracy")
    assert (balanced.mean_a, balanced.mean_b) == (pytest.approx(0.5), pytest.approx((7 / 9 + 1) / 2))
    f1 = cs.paired(made, "fusion", "eeg", "macro_f1")
    assert (f1.mean_a, f1.mean_b) == (pytest.approx(18 / 19 / 2), pytest.approx((14 / 16 + 2 / 4) / 2))
    asked = cs.ask(table, on(eeg=0.5), metric="macro_f1")
    assert asked.primary is not None
    assert (asked.metric, asked.primary.difference) == ("macro_f1", pytest.approx(f1.difference))


def test_the_modality_is_chosen_by_validation_and_its_p_is_not_corrected() -> None:
    random = np.random.default_rng(0)
    eeg = random.uniform(0.4, 0.6, 10).round(2)
    table = decisions(
        fusion=(eeg + 0.1).tolist(), eeg=eeg.tolist(), audio=(eeg + 0.05).tolist(), fusion__mean=(eeg + 0.02).tolist()
    )
    asked = cs.ask(table, on(eeg=0.6, audio=0.5))
    assert asked.primary is not None
    assert (asked.primary.b, asked.primary.subjects, asked.why_not) == ("eeg", 10, "")  # though audio tests better
    assert asked.primary.p == pytest.approx(2 / 2**10)
    assert math.isnan(asked.primary.p_holm)
    assert {(c.a, c.b) for c in asked.secondary} == {("fusion", "audio"), ("fusion", "fusion:mean")}
    assert all(c.p_holm >= c.p for c in asked.secondary)


def test_there_is_no_verdict_without_validation_with_missing_runs_or_with_few_subjects() -> None:
    table = decisions(fusion=[0.8] * 10, eeg=[0.5] * 10)
    none = cs.ask(table, on())
    assert none.primary is None
    assert "no validation trials" in none.why_not
    assert cs.ask(table, on(eeg=0.5), "Not done yet: 1 of 5 runs of fusion.").why_not.startswith("Not done yet")
    few = cs.ask(decisions(fusion=[0.9] * 5, eeg=[0.2] * 5), on(eeg=0.5))
    assert "5 of at least 6" in few.why_not
    assert cs.ask(decisions(eeg=[0.5] * 10), on(eeg=0.5)).primary is None


def test_each_subjects_best_is_described_and_never_tested() -> None:
    # Under a true null, the best of three by the test trials beats fusion: it must not become a verdict.
    random = np.random.default_rng(1)
    table = decisions(**{s: random.binomial(100, 0.5, 40) / 100 for s in ("fusion", "eeg", "audio", "vision")})
    asked = cs.ask(table, on(eeg=0.5, audio=0.4, vision=0.4))
    assert asked.oracle is not None
    assert asked.oracle.difference < -0.01
    assert math.isnan(asked.oracle.p)
    assert cs.BEST_OF_EACH not in {c.b for c in asked.secondary}


def test_a_modality_of_one_subject_is_not_chosen() -> None:
    table = pd.concat([decisions(fusion=[0.6] * 8, eeg=[0.5] * 8), decisions(audio=[1.0])])
    asked = cs.ask(table, on(eeg=0.5, audio=1.0))
    assert asked.primary is not None
    assert asked.primary.b == "eeg"


def test_an_encoder_is_compared_with_its_own_baselines() -> None:
    tangent = [0.7, 0.72, 0.74, 0.7, 0.72, 0.74, 0.7]
    table = decisions(eeg=[0.5] * 7, eeg__bandpower=[0.6] * 7, eeg__tangent=tangent, eeg__majority=[0.2] * 7)
    other = table[table["stage"] == "eeg:tangent"].assign(stage="audio:logmel")  # of an encoder that is not there
    found = cs.encoder_comparisons(cs.by_stage(pd.concat([table, other])))
    assert [(c.a, c.b) for c in found] == [("eeg", "eeg:tangent"), ("eeg", "eeg:bandpower"), ("eeg", "eeg:majority")]
    assert [round(c.difference, 2) for c in found] == [-0.22, -0.1, 0.3]
    assert all(c.p_holm >= c.p for c in found)
    assert cs.encoder_comparisons(cs.by_stage(table[table["stage"] == "eeg"])) == []
    tied = cs.encoder_comparisons(
        cs.by_stage(decisions(eeg=[0.5], eeg__linear=[1.0], eeg__bandpower=[1.0], eeg__time=[0.5]))
    )
    assert [c.b for c in tied] == ["eeg:bandpower", "eeg:linear", "eeg:time"]


def test_an_encoder_behind_its_best_baseline_is_named_once() -> None:
    (sentence,) = cs.behind(decisions(eeg=[0.5, 0.52] * 4, eeg__bandpower=[0.6] * 8, eeg__tangent=[0.7] * 8))
    assert "EEG encoder (51.0 %) does not beat" in sentence
    assert "eeg:tangent (70.0 %)" in sentence
    assert "8 subjects, 95 % interval" in sentence
    (sentence,) = cs.behind(decisions(eeg=[0.5], eeg__tangent=[0.7]))
    assert "1 subject, too few for an interval" in sentence
    (sentence,) = cs.behind(decisions(eeg=[0.9, 0.5] * 4, eeg__tangent=[0.65, 0.7] * 4))  # better on average, by luck
    assert "not clearly better" in sentence
    assert "-" in sentence.split("interval")[1].split(" to ")[0]
    (sentence,) = cs.behind(decisions(eeg=[0.5] * 8, eeg__tangent=[0.5] * 8))
    assert "does not beat" in sentence


def test_an_encoder_ahead_of_its_baselines_and_one_without_any_are_not_named() -> None:
    ahead = [0.8, 0.82] * 4
    assert cs.behind(decisions(eeg=ahead, eeg__tangent=[0.6] * 8)) == []
    assert cs.behind(decisions(eeg=[0.8, 0.82], eeg__tangent=[0.6] * 2)) == []  # too few to say more
    assert cs.behind(decisions(eeg=[0.8] * 8)) == []
    assert cs.behind(decisions(eeg=ahead, eeg__linear=ahead, eeg__tangent=[0.6] * 8)) == []  # a linear fit itself
    assert cs.behind(decisions(eeg=ahead, eeg__tangent=[0.6] * 8, eeg__time=[1.0] * 8)) == []  # has its own sentence
    assert cs.behind(decided([])) == []


def test_a_study_with_a_missing_run_has_no_verdict(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=[str(n) for n in range(1, 8)], states={"s03-fusion": "running"})
    asked = cs.question_of(study)
    assert "1 of 7 runs of fusion" in asked.why_not
    whole = cs.question_of(make_study(tmp_path, "whole", subjects=[str(n) for n in range(1, 8)]))
    assert whole.why_not == ""
    assert whole.primary is not None
    accuracies = tables.scores(make_study(tmp_path, "again", subjects=[str(n) for n in range(1, 8)]))
    wide = accuracies.pivot(index="subject", columns="stage", values="accuracy")
    assert whole.primary.difference == pytest.approx((wide["fusion"] - wide[whole.primary.b]).mean())


def test_the_time_only_score_is_of_the_same_trials() -> None:
    rows = [("1", str(t), fold, "test" if t % 5 == fold else "train") for fold in range(5) for t in range(50)]
    splits = pd.DataFrame(rows, columns=["subject", "trial", "fold", "split"])
    labels = pd.DataFrame({"subject": "1", "trial": [str(t) for t in range(50)], "label": ["a", "b"] * 25})
    whole = time_scores(splits, labels, across=False)
    one = time_scores(splits[(splits["fold"] == 0) | (splits["split"] == "train")], labels, across=False)
    assert (int(whole["n"].iloc[0]), int(one["n"].iloc[0])) == (50, 10)


@pytest.mark.slow
def test_a_verdict_under_the_null_is_wrong_in_five_per_cent() -> None:
    random, wrong, oracle, chosen_on_test = np.random.default_rng(2), [], [], []
    for _ in range(400):
        ability = random.uniform(0.3, 0.8, 12)
        table = decisions(**{s: random.binomial(100, ability) / 100 for s in ("fusion", "eeg", "audio", "vision")})
        asked = cs.ask(table, on(**dict(zip(("eeg", "audio", "vision"), random.random(3), strict=True))))
        assert asked.primary is not None
        wrong.append(asked.primary.p <= 0.05)
        people = table.pivot_table(index="subject", columns="stage", values="correct", aggfunc="mean")
        singles = ["eeg", "audio", "vision"]
        oracle.append(
            cs.compare("fusion", people["fusion"].tolist(), "best", people[singles].max(axis=1).tolist()).p <= 0.05
        )
        best = people[singles].mean().idxmax()
        pair = cs.compare("fusion", people["fusion"].tolist(), str(best), people[best].tolist())
        chosen_on_test.append(pair.p <= 0.05 and pair.difference < 0)
    assert 0.02 <= np.mean(wrong) <= 0.085
    assert np.mean(oracle) > 0.5  # the wrong ways fail
    assert np.mean(chosen_on_test) > np.mean(wrong) / 2
