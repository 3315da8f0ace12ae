"""Means over subjects, gains, orders, and what is missing: never averaged in silence."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from eavdash.report.figures import answer
from eavdash.results import subjects
from eavdash.results.comparisons import ask
from eavdash.results.paired import mean_interval


def scores(**stages: list[float | None]) -> pd.DataFrame:
    rows = [
        ("s", str(n + 1), stage, "trial", 20, value, value / 2, value / 4)
        for stage, values in stages.items()
        for n, value in enumerate(values)
        if value is not None
    ]
    columns = ["study", "subject", "stage", "level", "n", "accuracy", "balanced_accuracy", "macro_f1"]
    return pd.DataFrame(rows, columns=columns)


def test_a_mean_has_the_interval_of_students_t_over_its_subjects() -> None:
    table = scores(eeg=[0.4, 0.6, 0.8], fusion=[0.9, None, None])
    eeg, fusion = subjects.standings(table)
    low, high = mean_interval([0.4, 0.6, 0.8])
    assert (eeg.mean, eeg.subjects, eeg.n) == (pytest.approx(0.6), 3, 60)
    assert (eeg.low, eeg.high) == (pytest.approx(max(0, low)), pytest.approx(min(1, high)))
    assert math.isnan(fusion.low)
    assert "no interval" in answer.interval(fusion)
    assert subjects.standings(table, "macro_f1")[0].mean == pytest.approx(0.15)


def test_subjects_are_sorted_by_name_stage_or_gain_and_those_without_come_last() -> None:
    table = scores(eeg=[0.5, 0.2, 0.6, 0.9], fusion=[0.6, 0.6, 0.5, None])
    names = ["10", "4", "3", "2", "1"]
    assert subjects.order(table, "subject", "accuracy", names) == ["1", "2", "3", "4", "10"]
    assert subjects.order(table, "eeg", "accuracy", names) == ["4", "3", "1", "2", "10"]
    assert subjects.order(table, "gain", "accuracy", names, "eeg") == ["2", "1", "3", "4", "10"]
    assert subjects.gains(table, "accuracy", "eeg") == pytest.approx({"1": 0.1, "2": 0.4, "3": -0.1})
    assert subjects.gains(table, "accuracy", "audio") == {}
    assert subjects.reference(["vision", "eeg", "fusion"], "eeg") == "eeg"
    assert subjects.reference(["vision", "eeg", "fusion"]) == "vision"
    assert subjects.reference(["vision", "eeg"]) == ""


def test_what_is_missing_has_its_state_and_its_run() -> None:
    runs = [
        ("s01-eeg", "1", "eeg", 0, "done", ""),
        ("s01-fusion", "1", "fusion", 0, "failed", "no sound"),
        ("s02-eeg-fold0", "2", "eeg", 0, "done", ""),
        ("s02-eeg-fold1", "2", "eeg", 1, "running", ""),
        ("s02-fusion", "2", "fusion", 0, "done", ""),
        ("s03-eeg", "3", "eeg", 0, "done", ""),
    ]
    states = pd.DataFrame(runs, columns=["run", "subject", "stage", "fold", "shown", "reason"])
    table = scores(eeg=[0.5, 0.5, 0.5], fusion=[None, None, None])
    found = subjects.holes(states, {}, table, {"s02-fusion": "s02-fusion: damaged"})
    rows = [tuple(row) for row in found.itertuples(index=False)]
    assert rows == [
        ("1", "fusion", "failed", "no sound", "s01-fusion", 0, 1),
        ("2", "eeg", "running", "", "s02-eeg-fold1", 1, 2),
        ("2", "fusion", "damaged", "s02-fusion: damaged", "s02-fusion", 0, 1),
        ("3", "fusion", "not planned", "", "", 0, 0),
    ]
    sentence = subjects.holes_sentence(found, table)
    assert "fusion lacks 3 subjects (1 failed, 1 damaged, 1 not planned)" in sentence
    assert "eeg has only a part of the runs of 1 subject" in sentence
    assert subjects.holes_sentence(found[:0], table) == ""


def test_a_run_across_subjects_is_missing_for_those_whom_its_fold_tests() -> None:
    states = pd.DataFrame(
        [("all-eeg-fold0", "", "eeg", 0, "done", ""), ("all-eeg-fold1", "", "eeg", 1, "queued", "")],
        columns=["run", "subject", "stage", "fold", "shown", "reason"],
    )
    tested = {("1", 0): 5, ("2", 1): 5, ("", 0): 5, ("", 1): 5}
    found = subjects.holes(states, tested, scores(eeg=[0.5]), {})
    assert [(r.subject, r.state, r.run) for r in found.itertuples()] == [("2", "queued", "all-eeg-fold1")]


def test_the_answer_says_what_can_be_told() -> None:
    rows = [
        (stage, subject, str(t), 0, 0, "a", "a" if t < right else "b")
        for stage, right in (("eeg", 4), ("fusion", 7), ("fusion:mean", 8))
        for subject in "12345678"
        for t in range(10)
    ]
    columns = ["stage", "subject", "trial", "fold", "seed", "label", "predicted"]
    trials = pd.DataFrame(rows, columns=columns)
    table = subjects.standings(scores(eeg=[0.4] * 8, fusion=[0.7] * 8))
    told = answer.answer(table, ask(trials, pd.Series({"eeg": 0.5})))
    assert told.startswith(
        "Fusion 70.0\xa0%, 30.0 points above EEG, the modality chosen by validation, 10.0 points below the"
    )
    assert "mean of softmaxes; fusion is better (p" in told
    few = ask(trials[trials["subject"] < "4"], pd.Series({"eeg": 0.5}))
    assert "too few subjects to tell (3 of at least 6)" in answer.answer(table, few)
    assert "no verdict: not all runs" in answer.answer(table, ask(trials, pd.Series({"eeg": 0.5}), "Not done yet: 1."))
    assert "no verdict without validation" in answer.answer(table, ask(trials, pd.Series(dtype=float)))
    alone = answer.answer(subjects.standings(scores(audio=[0.5], eeg=[0.4])), ask(trials[:0], pd.Series(dtype=float)))
    assert alone == "Audio 50.0\xa0%, the highest of 2 stages; there is nothing to compare it with."
