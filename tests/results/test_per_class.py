"""Scores by class and reliability against scikit-learn and by hand; planted seeds and overconfidence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_recall_fscore_support

from eavdash.report.figures import classes as figures
from eavdash.results import per_class

CLASSES = ("a", "b", "c")


def rows(n: int = 60, seed: int = 0, seeds: int = 1, stage: str = "eeg") -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet((1, 1, 1), n * seeds)
    label = np.repeat(np.array(CLASSES)[rng.integers(0, 3, n)], seeds)
    predicted = np.array(CLASSES)[p.argmax(axis=1)]
    trial = np.repeat([str(i % 20) for i in range(n)], seeds)
    subject = np.repeat([str(i // 20) for i in range(n)], seeds)
    frame = pd.DataFrame({"stage": stage, "subject": subject, "trial": trial, "label": label, "predicted": predicted})
    frame["seed"], frame["confidence"] = np.tile(range(seeds), n), p.max(axis=1)
    frame["correct"] = frame["label"] == frame["predicted"]
    return frame.assign(**{f"p_{c}": p[:, i] for i, c in enumerate(CLASSES)})


@pytest.mark.parametrize("seeds", [1, 3])
def test_precision_recall_and_f1_are_those_of_scikit_learn(seeds: int) -> None:
    table = rows(seeds=seeds)
    found = per_class.class_scores(table)
    weight = np.full(len(table), 1 / seeds)
    expected = precision_recall_fscore_support(
        table["label"], table["predicted"], labels=list(CLASSES), sample_weight=weight
    )
    for name, values in zip(("precision", "recall", "f1", "n"), expected, strict=True):
        assert found[name].to_numpy(float) == pytest.approx(values)


def test_a_class_that_is_never_predicted_has_no_precision() -> None:
    table = rows().assign(predicted="a")
    found = per_class.class_scores(table).set_index("label")
    assert np.isnan(found.loc["b", "precision"])
    assert found.loc["b", ["recall", "f1"]].tolist() == [0, 0]
    assert figures.class_table(found.reset_index())["precision"].tolist()[1] == "–"


def test_the_calibration_error_by_hand_and_of_a_planted_overconfidence() -> None:
    table = rows(200)
    by_hand = 0.0
    place = np.minimum((table["confidence"] * 10).astype(int), 9)
    for _, mine in table.groupby(place):
        by_hand += len(mine) / len(table) * abs(mine["confidence"].mean() - mine["correct"].mean())
    found = per_class.reliability(table)
    assert found.ece == pytest.approx(by_hand)
    assert found.table["n"].sum() == pytest.approx(60 if table["trial"].nunique() == 60 else found.table["n"].sum())
    sure = table.assign(confidence=1.0, correct=np.arange(len(table)) % 2 == 0)
    assert per_class.reliability(sure).ece == pytest.approx(0.5)
    assert len(figures.reliability_diagram(found, "eeg").data[0].x) == len(found.table)


def test_seeds_never_look_like_more_trials() -> None:
    once, thrice = rows(), pd.concat([rows()] * 3)
    assert per_class.reliability(thrice).table["n"].sum() == pytest.approx(60)
    assert per_class.class_scores(thrice)["n"].tolist() == per_class.class_scores(once)["n"].tolist()
    assert per_class.subject_recall(thrice)["n"].sum() == 60


def test_recall_by_class_is_a_mean_over_subjects_with_students_interval() -> None:
    table = rows()
    found = per_class.recall_by_class(table)
    mine = table[table["label"] == "b"].groupby("subject")["correct"].mean()
    row = found[found["label"] == "b"].iloc[0]
    assert (row["accuracy"], row["subjects"]) == (pytest.approx(mine.mean()), 3)
    assert row["low"] <= row["accuracy"] <= row["high"]
    assert [t.name for t in figures.by_label(found, 1 / 3).data] == ["EEG"]
